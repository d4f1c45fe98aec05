/// ISO 7064 mod 97-10 over letters (A is 10) and digits, as IBANs use it: the remainder with the first four characters
/// moved to the end. `None` where there is another character.
pub(crate) fn mod97_10(characters: &str) -> Option<u32> {
    let values: Vec<u32> = characters.chars().map(|c| c.to_digit(36)).collect::<Option<_>>()?;
    let (head, tail) = values.split_at_checked(4)?;
    Some(tail.iter().chain(head).fold(0, |sum, digit| {
        let shift = if *digit > 9 { 100 } else { 10 };
        (sum * shift + digit) % 97
    }))
}

/// ISO 7064 mod 11,10: hybrid, over digits.
pub(crate) fn mod11_10(digits: &[u32]) -> bool {
    let Some((last, head)) = digits.split_last() else { return false };
    let product = head.iter().fold(10, |product, digit| {
        let sum = (digit + product) % 10;
        (if sum == 0 { 10 } else { sum }) * 2 % 11
    });
    (product + last) % 10 == 1
}

/// ISO 7064 mod 11-2: pure, over digits with a last one that may be `X`.
pub(crate) fn mod11_2(text: &str) -> bool {
    let sum = text.chars().fold(0, |sum, c| {
        let value = if c.eq_ignore_ascii_case(&'x') { 10 } else { c.to_digit(10).unwrap_or_default() };
        (sum * 2 + value) % 11
    });
    sum == 1
}

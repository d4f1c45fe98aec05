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

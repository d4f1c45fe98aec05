use super::{Detector, Hit, outside_words, rest, word_ends};

pub(super) const CREDIT_CARD: Detector = Detector {
    gate: r"[2-6]\d{2}[\d -]",
    begins_behind: outside_words,
    decide: card,
    #[cfg(test)]
    examples: &[
        "4111 1111 1111 1111",
        "5500-0055-5555-5559",
        "378282246310005",
        "6011000990139424",
        "2223003122003222",
        "4222222222222",
    ],
    #[cfg(test)]
    counter_examples: &[
        "4111 1111 1111 1112",
        "1795374808302",
        "41111111111111111111111",
        "9999 9999 9999 9995",
        "4111",
    ],
};

/// The longest prefix of digits (each behind at most one space or hyphen) that is a card number.
fn card(window: &str) -> Option<Hit> {
    let mut digits = Vec::with_capacity(19);
    let mut best = None;
    let mut separated = true;
    for (at, c) in window.char_indices() {
        match c {
            '0'..='9' if digits.len() < 19 => {
                digits.push(u32::from(c).wrapping_sub(u32::from('0')));
                separated = false;
                let end = at + 1;
                if digits.len() >= 12 && word_ends(window, end) && issuer(&digits) && luhn(&digits) {
                    best = Some(Hit::of(end));
                }
            }
            ' ' | '-' if !separated => separated = true,
            _ => break,
        }
    }
    best
}

/// Issuer ranges (ISO/IEC 7812) with the lengths they use.
fn issuer(digits: &[u32]) -> bool {
    let head = |n: usize| digits.iter().take(n).fold(0, |sum, d| sum * 10 + d);
    let (two, three, four, six, len) = (head(2), head(3), head(4), head(6), digits.len());
    match two / 10 {
        4 => matches!(len, 13 | 16 | 19),
        _ if (51..=55).contains(&two) || (2221..=2720).contains(&four) => len == 16,
        _ if matches!(two, 34 | 37) => len == 15,
        _ if (3528..=3589).contains(&four) => (16..=19).contains(&len),
        _ if (300..=305).contains(&three) || matches!(two, 36 | 38 | 39) => (14..=19).contains(&len),
        _ if four == 6011
            || two == 65
            || (644..=649).contains(&three)
            || (622_126..=622_925).contains(&six) =>
        {
            (16..=19).contains(&len)
        }
        _ if two == 62 => (16..=19).contains(&len),
        _ if two == 50 || (56..=69).contains(&two) => (12..=19).contains(&len),
        _ => false,
    }
}

fn luhn(digits: &[u32]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, digit * 2) {
            (0, _) => *digit,
            (_, double) if double > 9 => double - 9,
            (_, double) => double,
        })
        .sum();
    sum.is_multiple_of(10)
}

pub(super) const IBAN: Detector = Detector {
    gate: r"[A-Za-z]{2}\d{2} ?[A-Za-z0-9]",
    begins_behind: outside_words,
    decide: iban,
    #[cfg(test)]
    examples: &[
        "DE89370400440532013000",
        "DE89 3704 0044 0532 0130 00",
        "GB82 WEST 1234 5698 7654 32",
        "NO9386011117947",
        "gb82west12345698765432",
    ],
    #[cfg(test)]
    counter_examples: &[
        "DE88370400440532013000",
        "DE8937040044053201300",
        "XX89370400440532013000",
        "AB12 3456",
    ],
};

/// Lengths by country (SWIFT IBAN registry).
const IBAN_LENGTHS: &[(&str, usize)] = &[
    ("AD", 24),
    ("AE", 23),
    ("AL", 28),
    ("AT", 20),
    ("AZ", 28),
    ("BA", 20),
    ("BE", 16),
    ("BG", 22),
    ("BH", 22),
    ("BI", 27),
    ("BR", 29),
    ("BY", 28),
    ("CH", 21),
    ("CR", 22),
    ("CY", 28),
    ("CZ", 24),
    ("DE", 22),
    ("DJ", 27),
    ("DK", 18),
    ("DO", 28),
    ("EE", 20),
    ("EG", 29),
    ("ES", 24),
    ("FI", 18),
    ("FK", 18),
    ("FO", 18),
    ("FR", 27),
    ("GB", 22),
    ("GE", 22),
    ("GI", 23),
    ("GL", 18),
    ("GR", 27),
    ("GT", 28),
    ("HR", 21),
    ("HU", 28),
    ("IE", 22),
    ("IL", 23),
    ("IQ", 23),
    ("IS", 26),
    ("IT", 27),
    ("JO", 30),
    ("KW", 30),
    ("KZ", 20),
    ("LB", 28),
    ("LC", 32),
    ("LI", 21),
    ("LT", 20),
    ("LU", 20),
    ("LV", 21),
    ("LY", 25),
    ("MC", 27),
    ("MD", 24),
    ("ME", 22),
    ("MK", 19),
    ("MN", 20),
    ("MR", 27),
    ("MT", 31),
    ("MU", 30),
    ("NI", 28),
    ("NL", 18),
    ("NO", 15),
    ("OM", 23),
    ("PK", 24),
    ("PL", 28),
    ("PS", 29),
    ("PT", 25),
    ("QA", 29),
    ("RO", 24),
    ("RS", 22),
    ("RU", 33),
    ("SA", 24),
    ("SC", 31),
    ("SD", 18),
    ("SE", 24),
    ("SI", 19),
    ("SK", 24),
    ("SM", 27),
    ("SO", 23),
    ("ST", 25),
    ("SV", 28),
    ("TL", 23),
    ("TN", 24),
    ("TR", 26),
    ("UA", 29),
    ("VA", 22),
    ("VG", 24),
    ("XK", 20),
    ("YE", 30),
];

fn iban(window: &str) -> Option<Hit> {
    let country = window.get(..2)?.to_ascii_uppercase();
    if !window.get(2..4)?.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let length = IBAN_LENGTHS.iter().find(|(code, _)| *code == country)?.1;
    let (mut characters, mut spaced, mut end) = (Vec::with_capacity(length), false, 0);
    for (at, c) in window.char_indices() {
        match c {
            _ if characters.len() == length => break,
            ' ' if !spaced => spaced = true,
            c if c.is_ascii_alphanumeric() => {
                spaced = false;
                characters.push(c.to_digit(36)?);
                end = at + 1;
            }
            _ => break,
        }
    }
    if characters.len() != length || !word_ends(window, end) {
        return None;
    }
    // ISO 7064 mod 97-10 over the text with its first four characters at the end.
    let (head, tail) = characters.split_at_checked(4)?;
    let remainder = tail.iter().chain(head).fold(0_u32, |sum, digit| {
        let shift = if *digit > 9 { 100 } else { 10 };
        (sum * shift + digit) % 97
    });
    (remainder == 1).then(|| Hit::of(end))
}

pub(super) const US_SSN: Detector = Detector {
    gate: r"\d{3}[- ]\d{2}[- ]\d{4}",
    begins_behind: outside_words,
    decide: |window| {
        let text = window.get(..11)?;
        let separator = text.get(3..4)?;
        let number = |range: std::ops::Range<usize>| {
            let digits = text.get(range)?;
            if digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse::<u32>().ok() } else { None }
        };
        let (area, group, serial) = (number(0..3)?, number(4..6)?, number(7..11)?);
        let issued = area != 0
            && area != 666
            && area < 900
            && group != 0
            && serial != 0
            && matches!(separator, "-" | " ")
            && text.get(6..7)? == separator;
        let longer = rest(window, 11).starts_with(['-', '.'])
            && rest(window, 12).starts_with(|c: char| c.is_ascii_digit());
        (issued && word_ends(window, 11) && !longer).then(|| Hit::of(11))
    },
    #[cfg(test)]
    examples: &["536-90-4399", "219-09-9999", "536 90 4399"],
    #[cfg(test)]
    counter_examples: &[
        "000-12-3456",
        "666-12-3456",
        "912-12-3456",
        "536-00-4399",
        "536-90-0000",
        "536904399",
        "536-90 4399",
    ],
};

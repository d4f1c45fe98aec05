use super::{
    Anchor, Detector, Entity, Match, Tail,
    boundary::{outside_words, word_start},
    check::{Digits, luhn, mod97_10},
};

pub(super) const TABLE: &[Detector] = &[CREDIT_CARD, IBAN];

const CREDIT_CARD: Detector = Detector {
    name: "credit-card",
    entity: Entity::CreditCard,
    anchor: Anchor::Digits(12),
    pattern: r"[2-6][0-9](?:[ -]?[0-9]){10,17}",
    begins_behind: word_start,
    validate: |found| {
        let digits = Digits::of(found.text);
        if issuer(&digits) && luhn(digits.all()) { found.whole_word() } else { None }
    },
    tail: Tail::None,
    context: &[],
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

/// Issuer ranges (ISO/IEC 7812) with the lengths they use.
fn issuer(digits: &Digits) -> bool {
    let (two, three, four, six) = (digits.head(2), digits.head(3), digits.head(4), digits.head(6));
    let len = digits.len();
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

const IBAN: Detector = Detector {
    name: "iban",
    entity: Entity::Iban,
    anchor: Anchor::Alnum(8),
    pattern: r"[A-Za-z]{2}[0-9]{2}(?: ?[A-Za-z0-9]){11,30}",
    begins_behind: word_start,
    validate: iban,
    tail: Tail::None,
    context: &[],
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

/// As many characters as the country has, with a word ending behind them.
fn iban(found: &Match<'_>) -> Option<usize> {
    let country = found.text.get(..2)?.to_ascii_uppercase();
    let length = IBAN_LENGTHS.iter().find(|(code, _)| *code == country)?.1;
    let last = found.text.char_indices().filter(|(_, c)| *c != ' ').nth(length - 1)?.0;
    let (iban, rest) = found.text.split_at_checked(last + 1)?;
    let ends = rest.chars().next().or(found.next).is_none_or(outside_words);
    (ends && mod97_10(&iban.replace(' ', "")) == Some(1)).then_some(iban.len())
}

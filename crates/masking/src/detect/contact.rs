use super::{
    Anchor, Detector, Entity, Match, Tail,
    boundary::{anywhere, word_start},
    check::Digits,
};

pub(super) const TABLE: &[Detector] = &[EMAIL, PHONE];

const EMAIL: Detector = Detector {
    name: "email",
    entity: Entity::Email,
    anchor: Anchor::At,
    pattern: r"[\pL\pN._%+'-]+@[\pL\pN.-]+",
    // A local part longer than the window must not carry its address past us.
    begins_behind: anywhere,
    validate: email,
    tail: Tail::None,
    context: &[],
    #[cfg(test)]
    examples: &[
        "maria.keller@example.com",
        "o'brien+x@mail.example.co.uk",
        "jörg@bücher.example",
        "a@b.museum",
    ],
    #[cfg(test)]
    counter_examples: &["user@localhost", "@example.com", "a@b.c", "at example.com", "1@2.3"],
};

/// RFC 5321 section 4.1.2, with internationalised names (RFC 6531).
fn email(found: &Match<'_>) -> Option<usize> {
    let (local, domain) = found.text.split_once('@')?;
    if local.chars().count() > 64 || local.starts_with(['.', '\'', '-', '%']) {
        return None;
    }
    // Labels up to the last one that can be a top-level domain: a full stop behind it ends a sentence.
    let (mut at, mut best) = (0, None);
    for (index, label) in domain.split('.').enumerate() {
        if label.is_empty() || label.len() > 63 || label.starts_with('-') || label.ends_with('-') {
            break;
        }
        at += label.len();
        if index > 0 && label.chars().count() >= 2 && label.chars().next().is_some_and(char::is_alphabetic) {
            best = Some(at);
        }
        at += 1;
    }
    best.map(|end| local.len() + 1 + end)
}

const PHONE: Detector = Detector {
    name: "phone",
    entity: Entity::Phone,
    anchor: Anchor::Digits(8),
    // +49 30 901820, +1 (212) 555-0199; (212) 555-0199; 212-555-0199, 1-212-555-0199; 030 901820, 020 7946 0958
    pattern: r"\+[0-9]{1,3}(?:[ .-]?\([0-9]{1,4}\)|[ ./-]?[0-9]{1,5}){1,7}|\([0-9]{3}\) ?[0-9]{3}[ .-][0-9]{4}|(?:1[ .-])?[2-9][0-9]{2}[.-][2-9][0-9]{2}[.-][0-9]{4}|0[0-9]{1,4}[ /-][0-9]{3,8}(?:[ -]?[0-9]{2,5}){0,2}",
    begins_behind: word_start,
    validate: |found| {
        // ITU-T E.164: at most fifteen digits; below eight it could be any number.
        (8..=15).contains(&Digits::of(found.text).len()).then(|| found.whole_word()).flatten()
    },
    tail: Tail::None,
    context: &[],
    #[cfg(test)]
    examples: &[
        "+49 30 901820",
        "+1 (212) 555-0199",
        "(212) 555-0199",
        "212-555-0199",
        "1-800-555-0199",
        "020 7946 0958",
        "+442079460958",
    ],
    #[cfg(test)]
    counter_examples: &[
        "1795374808",
        "2026-11-22",
        "1.10.2",
        "12 of 34",
        "555-0199",
        "10.20.30.40",
        "2,124 555",
        "+5",
        "v0.12-345",
    ],
};

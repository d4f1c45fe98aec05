use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::LazyLock,
};

use regex::Regex;

use super::{Detector, Hit, outside_words, rest, word_ends};

pub(super) const EMAIL: Detector = Detector {
    gate: r#"[^\s@"<>,;\[\]{}\\|!?\#$^&*]{1,64}@[^\s@]"#,
    // A local part longer than the window must not carry its address past us.
    begins_behind: |_| true,
    decide: email,
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

/// RFC 5321 section 4.1.2 without quoted local parts, with internationalised names (RFC 6531).
fn email(window: &str) -> Option<Hit> {
    let (local, domain) = window.split_once('@')?;
    let first = local.chars().next()?;
    let local_fits =
        local.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '%' | '+' | '\'' | '-'));
    if !local_fits || local.chars().count() > 64 || matches!(first, '.' | '\'' | '-') {
        return None;
    }
    let end = domain.find(|c: char| !(c.is_alphanumeric() || matches!(c, '.' | '-'))).unwrap_or(domain.len());
    // Labels up to the last one that can be a top-level domain: a full stop behind it ends a sentence.
    let (mut at, mut best) = (0, None);
    for (index, label) in domain.get(..end)?.split('.').enumerate() {
        if label.is_empty() || label.len() > 63 || label.starts_with('-') || label.ends_with('-') {
            break;
        }
        at += label.len();
        if index > 0 && label.chars().count() >= 2 && label.chars().next().is_some_and(char::is_alphabetic) {
            best = Some(at);
        }
        at += 1;
    }
    best.map(|end| Hit::of(local.len() + 1 + end))
}

#[expect(clippy::expect_used, reason = "constant patterns that a test compiles")]
static PHONE_SHAPES: LazyLock<[Regex; 4]> = LazyLock::new(|| {
    [
        // +49 30 901820, +1 (212) 555-0199
        r"^\+\d{1,3}(?:[ .-]?\(\d{1,4}\)|[ ./-]?\d{1,5}){1,7}",
        // (212) 555-0199
        r"^\(\d{3}\) ?\d{3}[ .-]\d{4}",
        // 212-555-0199, 1-212-555-0199
        r"^(?:1[ .-])?[2-9]\d{2}[.-][2-9]\d{2}[.-]\d{4}",
        // 030 901820, 020 7946 0958, 0171/1234567
        r"^0\d{1,4}[ /-]\d{3,8}(?:[ -]?\d{2,5}){0,2}",
    ]
    .map(|shape| Regex::new(shape).expect("valid"))
});

pub(super) const PHONE: Detector = Detector {
    gate: r"\+\d|\(\d{3}\)|\d{1,5}[ ./-]\d{3}",
    begins_behind: outside_words,
    decide: |window| PHONE_SHAPES.iter().filter_map(|shape| phone(window, shape)).max_by_key(|hit| hit.len),
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

fn phone(window: &str, shape: &Regex) -> Option<Hit> {
    let end = shape.find(window)?.end();
    let digits = window.get(..end)?.bytes().filter(u8::is_ascii_digit).count();
    // ITU-T E.164: at most fifteen digits; below eight it could be any number.
    ((8..=15).contains(&digits) && word_ends(window, end)).then(|| Hit::of(end))
}

pub(super) const IP_ADDRESS: Detector = Detector {
    gate: r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d|[0-9A-Fa-f]{1,4}:[0-9A-Fa-f:]|::[0-9A-Fa-f]",
    // `1.2.3.4.5` holds no address
    begins_behind: |before| outside_words(before) && !matches!(before, '.' | ':'),
    decide: |window| {
        let end =
            window.find(|c: char| !(c.is_ascii_hexdigit() || c == ':' || c == '.')).unwrap_or(window.len());
        // A full stop or colon behind the address ends a sentence, not the address.
        let text = window.get(..end)?.trim_end_matches(['.', ':']);
        let address = match text.parse::<Ipv4Addr>() {
            Ok(v4) => IpAddr::V4(v4),
            Err(_) => IpAddr::V6(text.parse::<Ipv6Addr>().ok()?),
        };
        let private_to_nobody = address.is_loopback() || address.is_unspecified() || address.is_multicast();
        (!private_to_nobody && word_ends(window, text.len()) && !rest(window, text.len()).starts_with("::"))
            .then(|| Hit::of(text.len()))
    },
    #[cfg(test)]
    examples: &["203.0.113.7", "10.20.30.40", "2001:db8::7", "fe80::1:2:3:4"],
    #[cfg(test)]
    counter_examples: &[
        "127.0.0.1",
        "1.2.3",
        "1.2.3.4.5",
        "12:30:45",
        "256.1.1.1",
        "::1",
        "0.0.0.0",
        "a::b::c",
    ],
};

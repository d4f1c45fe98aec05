//! What is looked for, as a table. A detector decides at one position of a text whether a hit begins there, from the
//! position on and at most [`WINDOW`] bytes far; so the decision does not depend on how the text arrived.

mod contact;
mod payment;
mod secret;

use std::fmt;

/// A detector sees at most this many bytes from the position it is asked about. The longest bounded hit is an e-mail
/// address: 64 + 1 + 255 bytes (RFC 5321 section 4.5.3.1).
pub(crate) const WINDOW: usize = 384;

/// What a hit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Entity {
    /// An API key by its published prefix and shape.
    ApiKey,
    /// `Bearer …` or `Basic …` credentials.
    Bearer,
    /// A payment card number: issuer range, length and Luhn check.
    CreditCard,
    /// An e-mail address.
    Email,
    /// An IBAN: the country's length and the mod-97 check (ISO 13616).
    Iban,
    /// An IPv4 or IPv6 address that is neither loopback, unspecified nor multicast.
    IpAddress,
    /// A JSON Web Token.
    Jwt,
    /// A secret the masker was told to the letter; see [`Masker::also`](crate::Masker::also).
    KnownSecret,
    /// A telephone number in a shape only telephone numbers have.
    Phone,
    /// A PEM private key, its body included.
    PrivateKey,
    /// A US Social Security number with separators, in a range that is issued.
    UsSsn,
}

impl Entity {
    /// All that are found by their shape.
    pub const ALL: [Self; 10] = [
        Self::ApiKey,
        Self::Bearer,
        Self::CreditCard,
        Self::Email,
        Self::Iban,
        Self::IpAddress,
        Self::Jwt,
        Self::Phone,
        Self::PrivateKey,
        Self::UsSsn,
    ];

    /// The name that stands in masked text and on the record.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ApiKey => "API_KEY",
            Self::Bearer => "BEARER",
            Self::CreditCard => "CREDIT_CARD",
            Self::Email => "EMAIL",
            Self::Iban => "IBAN",
            Self::IpAddress => "IP_ADDRESS",
            Self::Jwt => "JWT",
            Self::KnownSecret => "KNOWN_SECRET",
            Self::Phone => "PHONE",
            Self::PrivateKey => "PRIVATE_KEY",
            Self::UsSsn => "US_SSN",
        }
    }

    /// `None` for what has no shape.
    pub(crate) const fn detector(self) -> Option<&'static Detector> {
        Some(match self {
            Self::ApiKey => &secret::API_KEY,
            Self::Bearer => &secret::BEARER,
            Self::CreditCard => &payment::CREDIT_CARD,
            Self::Email => &contact::EMAIL,
            Self::Iban => &payment::IBAN,
            Self::IpAddress => &contact::IP_ADDRESS,
            Self::Jwt => &secret::JWT,
            Self::Phone => &contact::PHONE,
            Self::PrivateKey => &secret::PRIVATE_KEY,
            Self::UsSsn => &payment::US_SSN,
            Self::KnownSecret => return None,
        })
    }
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What follows a hit whose length is not bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    /// Nothing.
    None,
    /// Everything up to the line that ends a PEM block, or to the end of the text.
    Pem,
    /// Every further character of a token.
    Token,
}

/// A hit at the start of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hit {
    /// Bytes of the bounded part.
    pub(crate) len: usize,
    pub(crate) tail: Tail,
}

impl Hit {
    const fn of(len: usize) -> Self {
        Self { len, tail: Tail::None }
    }
}

/// One row of the table.
pub(crate) struct Detector {
    /// A regular expression that matches wherever a hit may begin: finds candidates fast, decides nothing.
    pub(crate) gate: &'static str,
    /// Whether a hit may begin right behind this character.
    pub(crate) begins_behind: fn(char) -> bool,
    /// Decides on a window that begins at a candidate. It must say no wherever its own gate would not have matched:
    /// windows also come from other detectors' candidates.
    pub(crate) decide: fn(&str) -> Option<Hit>,
    /// Texts whose whole length is one hit.
    #[cfg(test)]
    pub(crate) examples: &'static [&'static str],
    /// Texts without any hit.
    #[cfg(test)]
    pub(crate) counter_examples: &'static [&'static str],
}

/// Whether a character can stand inside a bounded hit; everything else ends one.
pub(crate) fn may_join(c: char) -> bool {
    c.is_alphanumeric()
        || matches!(c, '@' | '.' | '_' | '%' | '+' | '-' | '=' | '/' | ':' | '(' | ')' | '\'' | '~')
}

/// Whether a hit may lie across a space between these characters: groups of a number, an opening parenthesis.
pub(crate) fn may_join_over_space(before: char, after: char) -> bool {
    let group_end = before.is_ascii_digit() || before.is_ascii_uppercase() || before == ')';
    let group_start = after.is_ascii_digit() || after.is_ascii_uppercase() || after == '(';
    group_end && group_start
}

/// Words that belong to the token behind their space.
pub(crate) const SCHEMES: [&str; 2] = ["bearer", "basic"];

/// Characters of tokens and keys (RFC 6750 `b64token`).
pub(crate) fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~' | '+' | '/' | '=')
}

/// Not in the middle of a word.
fn outside_words(before: char) -> bool {
    !(before.is_alphanumeric() || before == '_')
}

/// The bytes behind `len`, none beyond the window's end.
fn rest(window: &str, len: usize) -> &str {
    window.get(len..).unwrap_or_default()
}

/// Whether a word ends at `len`.
fn word_ends(window: &str, len: usize) -> bool {
    !rest(window, len).chars().next().is_some_and(|c| c.is_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Masker;

    #[test]
    fn every_detector_finds_its_examples_whole_and_leaves_its_counter_examples() {
        for entity in Entity::ALL {
            let masker = Masker::of([entity]);
            let detector = entity.detector().unwrap();
            assert!(!detector.examples.is_empty() && !detector.counter_examples.is_empty(), "{entity}");
            for example in detector.examples {
                for text in
                    [(*example).to_owned(), format!("see {example}, please"), format!("x=\"{example}\"")]
                {
                    let masked = masker.mask_text(&text);
                    assert_eq!(
                        masked.text,
                        text.replace(example, &format!("<{entity}>")),
                        "{entity}: {text}"
                    );
                }
            }
            for text in detector.counter_examples {
                assert_eq!(masker.mask_text(text).text, *text, "{entity}");
            }
        }
    }
}

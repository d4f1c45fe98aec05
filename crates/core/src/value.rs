use std::fmt;

use serde::{Deserialize, Serialize};

/// The source text of a JSON number, kept as the caller wrote it (`1.10`, `1e400`, a 30-digit id).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Number(String);

impl Number {
    /// From text that matches the JSON number grammar (RFC 8259 section 6).
    ///
    /// # Errors
    ///
    /// Gives the text back when it is not a JSON number.
    pub fn parse(text: impl Into<String>) -> Result<Self, String> {
        let text = text.into();
        if is_json_number(text.as_bytes()) { Ok(Self(text)) } else { Err(text) }
    }

    /// The source text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value as a 64-bit integer when it is written as one (`3`, not `3.0` and not `3e0`).
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        self.0.parse().ok()
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A JSON value as it will be sent: numbers keep their source text, members keep their order and have unique names
/// (the parser that makes it refuses duplicates), and ids stand as references to an operation's
/// [`IdSlot`](crate::IdSlot)s so that an own id can never be sent where the upstream's belongs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "JSON has no other kinds of value")]
pub enum Value {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A number in its source text.
    Number(Number),
    /// A string, decoded.
    String(String),
    /// An array.
    Array(Vec<Value>),
    /// An object; names are unique.
    Object(Vec<(String, Value)>),
    /// The upstream id of the operation's id slot with this index; rendering fails while it is not known.
    Id(usize),
}

impl Value {
    /// The member of this name, when this is an object that has it.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Object(members) => members.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The text, when this is a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }
}

fn is_json_number(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let digits = |t: &[u8]| t.iter().take_while(|b| b.is_ascii_digit()).count();
    let whole = digits(text);
    let Some((integer, mut rest)) = text.split_at_checked(whole) else { return false };
    if integer.is_empty() || (integer.len() > 1 && integer.first() == Some(&b'0')) {
        return false;
    }
    if let Some(fraction) = rest.strip_prefix(b".") {
        let n = digits(fraction);
        if n == 0 {
            return false;
        }
        rest = fraction.get(n..).unwrap_or_default();
    }
    if let Some(exponent) = rest.strip_prefix(b"e").or_else(|| rest.strip_prefix(b"E")) {
        let exponent =
            exponent.strip_prefix(b"+").or_else(|| exponent.strip_prefix(b"-")).unwrap_or(exponent);
        let n = digits(exponent);
        if n == 0 {
            return false;
        }
        rest = exponent.get(n..).unwrap_or_default();
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_the_json_grammar() {
        for good in ["0", "-0", "12", "1.10", "1e9", "1E+9", "-3.5e-2", "123456789012345678901234567890"] {
            assert!(Number::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-", "01", "1.", ".5", "1e", "1e+", "+1", "0x1", "NaN", "1 ", "1a"] {
            assert!(Number::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_integers_written_as_such_are_integers() {
        assert_eq!(Number::parse("42").unwrap().as_i64(), Some(42));
        assert_eq!(Number::parse("42.0").unwrap().as_i64(), None);
        assert_eq!(Number::parse("99999999999999999999").unwrap().as_i64(), None);
    }
}

use memchr::memchr2;

use super::{MaskError, path::Path};

/// Containers inside each other; the deepest recorded answer of a crew has 9.
const MAX_DEPTH: usize = 256;

/// Bytes of a number or literal.
pub(super) const MAX_SCALAR: usize = 512;

/// Bytes of a member name that are remembered for a path.
pub(super) const MAX_NAME: usize = 128;

/// What stands next in JSON text. Positions are bytes of the text it was asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// The text is over, between two tokens.
    End,
    /// A number or literal that ended.
    Scalar { from: usize, to: usize },
    /// A number or literal that lasts to the end of the text, and may go on.
    ScalarOpen { from: usize },
    /// A string, without its quotes. `from..to` may hold escapes.
    String { name: bool, from: usize, to: usize, escaped: bool },
    /// A string that begins here, behind its quote, and has not ended.
    StringOpen { name: bool, from: usize },
    /// An object or array began at `at`.
    Enter { at: usize },
    /// An object or array ended before `to`.
    Leave { to: usize },
}

/// What may stand next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Expect {
    /// A value; at the top, also nothing.
    #[default]
    Value,
    /// A value or the end of an array that has just begun.
    ValueOrEnd,
    /// A name or the end of an object that has just begun.
    NameOrEnd,
    Name,
    Colon,
    CommaOrEnd,
}

/// Reads JSON (RFC 8259), one value behind the other, as it arrives: it refuses what is none, and knows where it is.
#[derive(Debug, Default)]
pub(super) struct Lexer {
    pub(super) path: Path,
    pub(super) expect: Expect,
}

impl Lexer {
    /// The next token of `text` from `at` on, which is moved behind it; to what is wrong, when something is.
    pub(super) fn next(&mut self, text: &str, at: &mut usize) -> Result<Token, MaskError> {
        let bytes = text.as_bytes();
        while let Some(byte) = bytes.get(*at) {
            let from = *at;
            *at += 1;
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => {}
                b'"' => return self.string(text, at).inspect_err(|_| *at = from),
                b'{' | b'[' => {
                    self.enter(*byte == b'{').inspect_err(|_| *at = from)?;
                    return Ok(Token::Enter { at: from });
                }
                b'}' | b']' => {
                    self.leave(*byte == b'}').inspect_err(|_| *at = from)?;
                    return Ok(Token::Leave { to: *at });
                }
                b':' if self.expect == Expect::Colon => self.expect = Expect::Value,
                b',' if self.expect == Expect::CommaOrEnd && self.path.depth() > 0 => {
                    self.path.next();
                    let object = self.path.in_object() == Some(true);
                    self.expect = if object { Expect::Name } else { Expect::Value };
                }
                b if is_scalar(*b) && self.expects_value() => {
                    let rest = bytes.get(from..).unwrap_or_default();
                    let Some(len) = rest.iter().position(|b| !is_scalar(*b)) else {
                        *at = from;
                        return Ok(Token::ScalarOpen { from });
                    };
                    *at = from + len;
                    self.value_ended();
                    return Ok(Token::Scalar { from, to: *at });
                }
                _ => {
                    *at = from;
                    return Err(MaskError::NotJson);
                }
            }
        }
        Ok(Token::End)
    }

    /// Whether the text may end here.
    pub(super) fn is_whole(&self) -> bool {
        self.path.depth() == 0 && matches!(self.expect, Expect::Value | Expect::CommaOrEnd)
    }

    /// A value that was told open has ended.
    pub(super) fn value_ended(&mut self) {
        // At the top one value follows the other (NDJSON).
        self.expect = if self.path.depth() == 0 { Expect::Value } else { Expect::CommaOrEnd };
    }

    /// A string that was told open has ended.
    pub(super) fn string_ended(&mut self, name: bool) {
        if name {
            self.expect = Expect::Colon;
        } else {
            self.value_ended();
        }
    }

    fn expects_value(&self) -> bool {
        matches!(self.expect, Expect::Value | Expect::ValueOrEnd)
    }

    fn enter(&mut self, object: bool) -> Result<(), MaskError> {
        if !self.expects_value() {
            return Err(MaskError::NotJson);
        }
        if self.path.depth() >= MAX_DEPTH {
            return Err(MaskError::TooDeep);
        }
        self.path.enter(object);
        self.expect = if object { Expect::NameOrEnd } else { Expect::ValueOrEnd };
        Ok(())
    }

    fn leave(&mut self, object: bool) -> Result<(), MaskError> {
        let begun = if object { Expect::NameOrEnd } else { Expect::ValueOrEnd };
        if self.path.in_object() != Some(object)
            || (self.expect != begun && self.expect != Expect::CommaOrEnd)
        {
            return Err(MaskError::NotJson);
        }
        self.path.leave();
        self.value_ended();
        Ok(())
    }

    fn string(&mut self, text: &str, at: &mut usize) -> Result<Token, MaskError> {
        let name = matches!(self.expect, Expect::Name | Expect::NameOrEnd);
        if !name && !self.expects_value() {
            return Err(MaskError::NotJson);
        }
        let (from, mut escaped) = (*at, false);
        let mut end = from;
        loop {
            let rest = text.as_bytes().get(end..).unwrap_or_default();
            match memchr2(b'"', b'\\', rest) {
                None => return Ok(Token::StringOpen { name, from }),
                Some(len) if rest.get(len) == Some(&b'"') => {
                    end += len;
                    break;
                }
                // What is escaped is no quote, whatever it is.
                Some(len) => {
                    escaped = true;
                    end += len + 2;
                }
            }
        }
        *at = end + 1;
        self.string_ended(name);
        Ok(Token::String { name, from, to: end, escaped })
    }
}

fn is_scalar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.')
}

/// Whether this is a literal or a number of JSON.
pub(super) fn is_scalar_text(text: &str) -> bool {
    matches!(text, "true" | "false" | "null") || crewgate_core::Number::parse(text).is_ok()
}

/// Whether there is a character that must be escaped in a JSON string and is not.
pub(super) fn has_control(text: &str) -> bool {
    // No early end: this way it is vectorised.
    text.bytes().fold(false, |found, byte| found | (byte < b' '))
}

/// The character an escape at the start of `text` stands for and the bytes it has; `None` when more must come to tell. A
/// surrogate without its other half cannot be written as UTF-8: it counts as U+FFFD.
///
/// # Errors
///
/// [`MaskError::NotJson`] when it is no escape of JSON.
pub(super) fn unescape(text: &str) -> Result<Option<(char, usize)>, MaskError> {
    let bytes = text.as_bytes();
    let simple = match bytes.get(1) {
        None => return Ok(None),
        Some(b'u') => return unicode(bytes),
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b @ (b'"' | b'\\' | b'/')) => char::from(*b),
        Some(_) => return Err(MaskError::NotJson),
    };
    Ok(Some((simple, 2)))
}

fn unicode(bytes: &[u8]) -> Result<Option<(char, usize)>, MaskError> {
    let Some(first) = unit(bytes, 2)? else { return Ok(None) };
    if let Some(c) = char::from_u32(u32::from(first)) {
        return Ok(Some((c, 6)));
    }
    let lone = Ok(Some((char::REPLACEMENT_CHARACTER, 6)));
    match (bytes.get(6), bytes.get(7)) {
        _ if first >= 0xDC00 => lone,
        (None, _) | (Some(b'\\'), None) => Ok(None),
        (Some(b'\\'), Some(b'u')) => match unit(bytes, 8) {
            Ok(None) => Ok(None),
            Ok(Some(second)) => match char::decode_utf16([first, second]).next() {
                Some(Ok(c)) => Ok(Some((c, 12))),
                _ => lone,
            },
            Err(_) => lone,
        },
        _ => lone,
    }
}

/// Four hexadecimal digits.
fn unit(bytes: &[u8], from: usize) -> Result<Option<u16>, MaskError> {
    let mut unit = 0;
    for at in from..from + 4 {
        let Some(byte) = bytes.get(at) else { return Ok(None) };
        let digit = char::from(*byte).to_digit(16).and_then(|digit| u16::try_from(digit).ok());
        unit = unit << 4 | digit.ok_or(MaskError::NotJson)?;
    }
    Ok(Some(unit))
}

/// Writes text as the inside of a JSON string (RFC 8259 section 7).
pub(crate) fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escape_is_read_or_waits_for_its_rest() {
        assert_eq!(unescape(r"\n"), Ok(Some(('\n', 2))));
        assert_eq!(unescape(r"\u0040x"), Ok(Some(('@', 6))));
        assert_eq!(unescape(r"\ud83d\ude00"), Ok(Some(('😀', 12))));
        for lone in [r"\ud83dx", r"\ud83d\n", r"\ud83d\u0040", r"\ude00", r"\ud83d\ux"] {
            assert_eq!(unescape(lone), Ok(Some((char::REPLACEMENT_CHARACTER, 6))), "{lone}");
        }
        for part in [r"\", r"\u", r"\u004", r"\ud83d", r"\ud83d\", r"\ud83d\u", r"\ud83d\ude0"] {
            assert_eq!(unescape(part), Ok(None), "{part}");
        }
        for wrong in [r"\x", r"\u00g0", "\\\n"] {
            assert_eq!(unescape(wrong), Err(MaskError::NotJson), "{wrong}");
        }
    }

    #[test]
    fn tokens_come_in_order_and_what_is_no_json_is_an_error() {
        let (mut lexer, text, mut at) = (Lexer::default(), r#"{"a":[1,"b\"c"],"d":tr"#, 0);
        let mut tokens = Vec::new();
        loop {
            tokens.push(lexer.next(text, &mut at).unwrap());
            if matches!(tokens.last(), Some(Token::End | Token::ScalarOpen { .. })) {
                break;
            }
        }
        let string = |name, from, to, escaped| Token::String { name, from, to, escaped };
        assert_eq!(
            tokens,
            [
                Token::Enter { at: 0 },
                string(true, 2, 3, false),
                Token::Enter { at: 5 },
                Token::Scalar { from: 6, to: 7 },
                string(false, 9, 13, true),
                Token::Leave { to: 15 },
                string(true, 17, 18, false),
                Token::ScalarOpen { from: 20 },
            ]
        );
        for wrong in
            ["{1}", "{\"a\" 1}", "[1 2]", "{,}", "[,]", "[1,]", "{\"a\":1,}", "]", "[}", ",", ":", "'a'"]
        {
            let (mut lexer, mut at) = (Lexer::default(), 0);
            let result = loop {
                match lexer.next(wrong, &mut at) {
                    Ok(Token::End) => break lexer.is_whole(),
                    Ok(_) => {}
                    Err(_) => break false,
                }
            };
            assert!(!result, "{wrong}");
        }
    }
}

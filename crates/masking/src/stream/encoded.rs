use memchr::memchr3_iter;

use super::lexer::unescape;

/// Longest entity of HTML that is read: `&#x0010ffff;`.
const MAX_ENTITY: usize = 12;

/// What stands at the start of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// An encoded or disguised character of so many bytes, and what it stands for.
    Is {
        len: usize,
        c: Option<char>,
    },
    /// More must come to tell.
    More,
    Not,
}

/// First bytes of what may be encoded or disguised.
pub(super) const BEGINS: [bool; 256] = {
    let mut begins = [false; 256];
    let bytes = b"\\%&\xC2\xE2\xE3\xEF";
    let mut at = 0;
    #[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
    while at < bytes.len() {
        begins[bytes[at] as usize] = true;
        at += 1;
    }
    begins
};

/// Where the first of them may begin.
pub(super) fn first(text: &str) -> Option<usize> {
    let may = |at: &usize| read(text.get(*at..).unwrap_or_default()) != Read::Not;
    let encoded = memchr3_iter(b'\\', b'%', b'&', text.as_bytes()).find(may);
    if text.is_ascii() {
        return encoded;
    }
    let disguised = text.char_indices().find(|(_, c)| !c.is_ascii() && undisguise(*c).is_some());
    encoded.into_iter().chain(disguised.map(|(at, _)| at)).min()
}

pub(super) fn read(text: &str) -> Read {
    match text.as_bytes().first() {
        Some(b'\\') => escape(text),
        Some(b'%') => percent(text.as_bytes()),
        Some(b'&') => entity(text),
        _ => match text.chars().next().and_then(|c| Some((c, undisguise(c)?))) {
            Some((c, shown)) => Read::Is { len: c.len_utf8(), c: shown },
            None => Read::Not,
        },
    }
}

/// Escapes of JSON, and of languages like it.
fn escape(text: &str) -> Read {
    match text.as_bytes().get(1..) {
        Some([b'\'', ..]) => Read::Is { len: 2, c: Some('\'') },
        Some([b'x', digits @ ..]) => match digits {
            [high, low, ..] => {
                hex(*high, *low).map_or(Read::Not, |byte| Read::Is { len: 4, c: Some(char::from(byte)) })
            }
            _ => Read::More,
        },
        _ => match unescape(text) {
            Ok(Some((c, len))) => Read::Is { len, c: Some(c) },
            Ok(None) => Read::More,
            Err(_) => Read::Not,
        },
    }
}

/// RFC 3986 section 2.1, with characters in UTF-8.
fn percent(bytes: &[u8]) -> Read {
    let mut utf8 = Vec::with_capacity(4);
    let mut rest = bytes;
    loop {
        match rest {
            [b'%', high, low, behind @ ..] => {
                let Some(byte) = hex(*high, *low) else { return Read::Not };
                utf8.push(byte);
                rest = behind;
            }
            [] | [b'%'] => return Read::More,
            [b'%', digit] if digit.is_ascii_hexdigit() => return Read::More,
            _ => return Read::Not,
        }
        match std::str::from_utf8(&utf8) {
            Ok(c) => return Read::Is { len: 3 * utf8.len(), c: c.chars().next() },
            Err(error) if error.error_len().is_some() => return Read::Not,
            Err(_) => {}
        }
    }
}

/// Numeric references and the names of characters that numbers and addresses have.
fn entity(text: &str) -> Read {
    let inner = text.get(1..).unwrap_or_default();
    let Some(len) = inner.bytes().take(MAX_ENTITY).position(|b| !(b.is_ascii_alphanumeric() || b == b'#'))
    else {
        return if inner.len() < MAX_ENTITY { Read::More } else { Read::Not };
    };
    let (name, behind) = inner.split_at_checked(len).unwrap_or_default();
    if !behind.starts_with(';') {
        return Read::Not;
    }
    let number = name.strip_prefix('#').and_then(|digits| match digits.strip_prefix(['x', 'X']) {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => digits.parse().ok(),
    });
    let named = || {
        Some(match name {
            "amp" => '&',
            "apos" => '\'',
            "colon" => ':',
            "commat" => '@',
            "dash" | "hyphen" => '-',
            "equals" => '=',
            "gt" => '>',
            "lowbar" => '_',
            "lpar" => '(',
            "lt" => '<',
            "nbsp" => ' ',
            "num" => '#',
            "percnt" => '%',
            "period" => '.',
            "plus" => '+',
            "quot" => '"',
            "rpar" => ')',
            "sol" => '/',
            _ => return None,
        })
    };
    match number.and_then(char::from_u32).or_else(named) {
        Some(c) => Read::Is { len: len + 2, c: undisguise(c).unwrap_or(Some(c)) },
        None => Read::Not,
    }
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |byte| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// What a reader takes a character for: nothing, or another one. `None` when it is no disguise.
fn undisguise(c: char) -> Option<Option<char>> {
    match c {
        // Soft hyphen, zero-width spaces and joiners, marks of direction, word joiner, byte order mark.
        '\u{AD}' | '\u{200B}'..='\u{200F}' | '\u{2060}' | '\u{FEFF}' => Some(None),
        '\u{A0}' | '\u{2000}'..='\u{200A}' | '\u{202F}' | '\u{3000}' => Some(Some(' ')),
        '\u{2010}'..='\u{2012}' => Some(Some('-')),
        '\u{FF01}'..='\u{FF5E}' => Some(char::from_u32(u32::from(c) - 0xFEE0)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_characters_are_read_and_others_are_not() {
        let is = |len, c| Read::Is { len, c: Some(c) };
        for (text, expected) in [
            (r"\u0040x", is(6, '@')),
            (r"\x40x", is(4, '@')),
            (r"\n", is(2, '\n')),
            (r"\q", Read::Not),
            (r"\x4", Read::More),
            ("%40x", is(3, '@')),
            ("%C3%A9", is(6, 'é')),
            ("%C3", Read::More),
            ("%C3x", Read::Not),
            ("% 4", Read::Not),
            ("%4", Read::More),
            ("&#64;", is(5, '@')),
            ("&#x40;", is(6, '@')),
            ("&commat;", is(8, '@')),
            ("&comm", Read::More),
            ("&what is", Read::Not),
            ("＠", is(3, '@')),
            ("\u{200B}", Read::Is { len: 3, c: None }),
            ("é", Read::Not),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }
}

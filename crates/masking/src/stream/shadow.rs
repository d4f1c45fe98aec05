use std::collections::VecDeque;

use memchr::memchr3_iter;

use super::{channel::Hit, channel::View, lexer::unescape};
use crate::Masker;

/// Characters nobody sees that are passed over in one place. More of them part words, as they are.
const MAX_INVISIBLE: u8 = 16;

/// Longest entity of HTML that is read: `&#x0010ffff;`.
const MAX_ENTITY: usize = 12;

/// A text with its escapes (`\u0040`), percent (`%40`) and entity (`&#64;`) encodings undone, one level deep, characters
/// that nobody sees left out and full-width ones narrowed.
#[derive(Debug)]
pub(super) struct Shadow {
    view: View,
    /// The beginning of what may be an encoded character.
    pending: String,
    /// How far it is, in its own bytes and in those of the text.
    own: usize,
    source: usize,
    /// Where both differ, in their order.
    pieces: VecDeque<Piece>,
    /// Behind the last piece that was forgotten.
    base: (usize, usize),
    invisible: u8,
}

#[derive(Debug)]
struct Piece {
    own: usize,
    own_len: usize,
    source: usize,
    source_len: usize,
}

impl Shadow {
    /// Whether an encoded or disguised character is in this whole text.
    pub(super) fn may_begin(text: &str) -> bool {
        first(text).is_some_and(|at| {
            let rest = text.get(at..).unwrap_or_default();
            // One that is not ended is none.
            matches!(read(rest), Read::Is { .. }) || rest.get(1..).is_some_and(Self::may_begin)
        })
    }

    /// Splits a text before the first character that is encoded or disguised, or may be.
    pub(super) fn split(text: &str) -> Option<(&str, &str)> {
        text.split_at_checked(first(text)?)
    }

    /// Begins at this position of a text, with what a plain view has seen of it.
    pub(super) fn new(view: View, at: usize) -> Self {
        let (pending, pieces) = (String::new(), VecDeque::new());
        Self { view, pending, own: at, source: at, pieces, base: (at, at), invisible: 0 }
    }

    pub(super) fn push(&mut self, text: &str, masker: &Masker, hits: &mut Vec<Hit>) {
        self.decode(text, false, masker, hits);
    }

    pub(super) fn finish(&mut self, masker: &Masker, hits: &mut Vec<Hit>) {
        self.decode("", true, masker, hits);
        self.look(None, masker, hits);
    }

    /// The position of the text before which all is decided.
    pub(super) fn decided(&self) -> usize {
        if self.view.told == self.own { self.source } else { self.position(self.view.told, false).0 }
    }

    /// The position of the text before which encoded characters are told from others.
    pub(super) fn known(&self) -> usize {
        self.source
    }

    /// A hit of the text as it is takes encoded characters whole; one it would begin with is none of its own: the `n`
    /// of `\n`.
    pub(super) fn snap(&self, hit: &mut Hit) {
        if let Some(end) = self.inside(hit.start) {
            hit.start = end;
        }
        if let Some(end) = self.inside(hit.end) {
            hit.end = end;
        }
    }

    /// What lies before this position of the text is not asked about again.
    pub(super) fn forget(&mut self, told: usize) {
        while let Some(piece) = self.pieces.pop_front_if(|piece| piece.source + piece.source_len <= told) {
            self.base = (piece.own + piece.own_len, piece.source + piece.source_len);
        }
    }

    fn decode(&mut self, text: &str, ended: bool, masker: &Masker, hits: &mut Vec<Hit>) {
        let joined = std::mem::take(&mut self.pending) + text;
        let (mut out, mut rest) = (String::with_capacity(joined.len()), joined.as_str());
        while let Some(byte) = rest.bytes().next() {
            let plain = rest
                .bytes()
                .position(|byte| BEGINS.get(usize::from(byte)) == Some(&true))
                .unwrap_or(rest.len());
            if plain > 0 {
                let (plain, behind) = rest.split_at_checked(plain).unwrap_or((rest, ""));
                out.push_str(plain);
                (self.own, self.source, self.invisible) =
                    (self.own + plain.len(), self.source + plain.len(), 0);
                rest = behind;
                continue;
            }
            let len = match read(rest) {
                Read::Not => None,
                Read::More if ended => None,
                Read::More => break,
                Read::Is { len, c: None } => {
                    self.invisible = self.invisible.saturating_add(1);
                    (self.invisible <= MAX_INVISIBLE).then_some((len, 0))
                }
                Read::Is { len, c: Some(c) } => {
                    self.invisible = 0;
                    out.push(c);
                    Some((len, c.len_utf8()))
                }
            };
            let source_len = if let Some((source_len, own_len)) = len {
                self.pieces.push_back(Piece { own: self.own, own_len, source: self.source, source_len });
                self.own += own_len;
                source_len
            } else {
                let one = rest.chars().next().map_or(usize::from(byte > 0), char::len_utf8);
                out.push_str(rest.get(..one).unwrap_or_default());
                self.own += one;
                one
            };
            self.source += source_len;
            rest = rest.get(source_len..).unwrap_or_default();
        }
        self.pending = rest.to_owned();
        self.look(Some(&out), masker, hits);
    }

    fn look(&mut self, text: Option<&str>, masker: &Masker, hits: &mut Vec<Hit>) {
        let mut own = Vec::new();
        self.view.look(text, masker, &mut own);
        hits.extend(own.into_iter().map(|hit| Hit {
            start: self.position(hit.start, true).0,
            end: self.position(hit.end, false).1,
            told: hit.told,
        }));
    }

    /// Where a position of the decoded text is in the text: before and behind the piece it lies in. Characters that
    /// were left out there count as before it when `behind_invisible`.
    fn position(&self, own: usize, behind_invisible: bool) -> (usize, usize) {
        let before = self.pieces.partition_point(|piece| {
            piece.own < own || (behind_invisible && piece.own == own && piece.own_len == 0)
        });
        let last = before.checked_sub(1).and_then(|last| self.pieces.get(last));
        match last {
            Some(piece) if own < piece.own + piece.own_len => (piece.source, piece.source + piece.source_len),
            _ => {
                let (base, source) = last
                    .map_or(self.base, |piece| (piece.own + piece.own_len, piece.source + piece.source_len));
                let at = (source + own).saturating_sub(base);
                (at, at)
            }
        }
    }

    /// The end of the piece this position of the text lies inside of.
    fn inside(&self, at: usize) -> Option<usize> {
        let before = self.pieces.partition_point(|piece| piece.source < at);
        let piece = self.pieces.get(before.checked_sub(1)?)?;
        let end = piece.source + piece.source_len;
        (at < end).then_some(end)
    }
}

/// What stands at the start of a text.
#[derive(Debug, PartialEq, Eq)]
enum Read {
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
const BEGINS: [bool; 256] = {
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
fn first(text: &str) -> Option<usize> {
    let may = |at: &usize| read(text.get(*at..).unwrap_or_default()) != Read::Not;
    let encoded = memchr3_iter(b'\\', b'%', b'&', text.as_bytes()).find(may);
    if text.is_ascii() {
        return encoded;
    }
    let disguised = text.char_indices().find(|(_, c)| !c.is_ascii() && undisguise(*c).is_some());
    encoded.into_iter().chain(disguised.map(|(at, _)| at)).min()
}

fn read(text: &str) -> Read {
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
        assert!(!Shadow::may_begin("50 % of R&D, ’quoted’ – and C:"));
        assert!(Shadow::may_begin("50 % of a%40b"));
    }
}

//! Where words, tokens and hits begin and end.

/// Characters of tokens and keys (RFC 6750 `b64token`).
pub(crate) const fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~' | '+' | '/' | '=')
}

/// Whether a character belongs to a word that digits or Latin letters may be part of. Scripts that write no spaces
/// between words (Chinese, Japanese, Korean, Thai) end such a word.
pub(crate) fn in_word(c: char) -> bool {
    let unspaced = matches!(c, '\u{e00}'..='\u{e7f}' | '\u{1100}'..='\u{11ff}' | '\u{2e80}'..='\u{d7ff}' | '\u{20000}'..);
    c == '_' || (c.is_alphanumeric() && !unspaced)
}

/// Whether a character stands outside words.
pub(crate) fn outside_words(c: char) -> bool {
    !in_word(c)
}

/// A hit may begin here: not in the middle of a word.
pub(crate) fn word_start(before: Option<char>) -> bool {
    before.is_none_or(outside_words)
}

/// A hit may begin anywhere.
pub(crate) const fn anywhere(_: Option<char>) -> bool {
    true
}

/// Neither in the middle of a word nor of a number with groups (`1.2.3`, `12-34`).
pub(crate) fn number_start(before: Option<char>) -> bool {
    before.is_none_or(|c| outside_words(c) && !matches!(c, '.' | '-' | '+' | '/'))
}

/// Whether a text ends in an escape of JSON (`\n`, `\u0040`) or of an address (`%0A`): its last letter is no letter of a
/// word. Answers carry JSON inside strings, and one decoding has been done already.
pub(crate) fn ends_in_escape(text: &str) -> bool {
    let hex = |digits: &str| digits.bytes().all(|b| b.is_ascii_hexdigit());
    let tail = |n: usize| text.len().checked_sub(n).and_then(|at| text.get(at..));
    tail(2).is_some_and(|two| two.starts_with('\\') && two.ends_with(['b', 'f', 'n', 'r', 't']))
        || tail(6).and_then(|six| six.strip_prefix("\\u")).is_some_and(hex)
        || tail(3).and_then(|three| three.strip_prefix('%')).is_some_and(hex)
}

/// The words of a text, to be asked for many others: what stands before a place is looked at by every rule that
/// matches there.
#[derive(Debug)]
pub(crate) struct Words {
    plain: String,
    /// Which first two letters the words have, by [`pair`].
    pairs: [u64; 16],
}

impl Words {
    /// Those of the text's last paragraph.
    pub(crate) fn of(text: &str) -> Self {
        let plain = plain(text.rsplit("\n\n").next().unwrap_or_default());
        let mut pairs = [0; 16];
        for start in plain.as_bytes().windows(3).filter(|bytes| bytes.starts_with(b" ")) {
            let (slot, bit) = pair(start.get(1..).unwrap_or_default());
            if let Some(bits) = pairs.get_mut(slot) {
                *bits |= bit;
            }
        }
        Self { plain, pairs }
    }

    /// Whether one of these (lower case) begins a word; one that ends in a space is the whole word. Names are taken
    /// apart: `accountNumber` and `account_number` both say `account number`.
    pub(crate) fn mention(&self, words: &[&str]) -> bool {
        // Every word begins behind a space.
        let mut starts = words.iter().filter(|word| {
            let (slot, bit) = pair(word.as_bytes());
            word.len() < 2 || self.pairs.get(slot).is_some_and(|bits| bits & bit != 0)
        });
        starts.any(|word| {
            self.plain
                .match_indices(' ')
                .any(|(at, _)| self.plain.get(at + 1..).is_some_and(|rest| rest.starts_with(word)))
        })
    }
}

/// Where two letters stand among 1024 bits. Different ones may share a bit.
fn pair(letters: &[u8]) -> (usize, u64) {
    let [first, second] = letters.first_chunk::<2>().copied().unwrap_or_default();
    let sum = usize::from(first) * 31 + usize::from(second);
    (sum / 64 % 16, 1 << (sum % 64))
}

/// Lower case, and one space for each run of anything that is no letter or digit and for each hump of camel case.
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    out.push(' ');
    let mut last = ' ';
    for c in text.chars() {
        if !c.is_alphanumeric() {
            if !out.ends_with(' ') {
                out.push(' ');
            }
        } else {
            if c.is_uppercase() && last.is_lowercase() {
                out.push(' ');
            }
            if c.is_ascii() {
                out.push(c.to_ascii_lowercase());
            } else {
                out.extend(c.to_lowercase());
            }
        }
        last = c;
    }
    if !out.ends_with(' ') {
        out.push(' ');
    }
    out
}

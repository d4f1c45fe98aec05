use super::channel::{Hit, View};
use crate::Masker;

/// Shortest run of base64 characters that is decoded.
const MIN_RUN: usize = 24;

/// Characters of a run that say nothing yet.
const SAYING: usize = 8;

/// Decoded bytes of a run that are held to mask it as a whole. Of a longer one, only what follows a hit is masked.
const MAX_HELD: usize = 3 << 10;

/// Decoded bytes of a longer run that are looked at together.
const STEP: usize = 192;

/// Bytes that are remembered before a run, to see whether it is an image's.
const BEFORE: usize = 48;

/// Looks into the base64 (RFC 4648, both alphabets) of a text: a run that is text in disguise, with a hit in it, is a
/// hit. A run is followed from its first character as long as it decodes to text; words do not for long.
#[derive(Debug, Default)]
pub(super) struct Runs {
    at: usize,
    state: State,
    before: String,
}

#[derive(Debug, Default)]
enum State {
    /// Between runs.
    #[default]
    Outside,
    /// In a run that is no text.
    Dead,
    Live(Box<Live>),
    /// Behind a hit, in the same run.
    Hit,
    /// Behind a hit, in what fills its last group up: the next character is another run's.
    Filled,
}

/// A run that has been text so far.
#[derive(Debug)]
struct Live {
    start: usize,
    chars: usize,
    bits: u32,
    /// The beginning of a character.
    partial: Vec<u8>,
    /// Decoded and not yet looked at.
    text: String,
    /// There once the run is longer than what is held.
    view: Option<View>,
}

impl Runs {
    /// Whether a run that may be text is in this whole text.
    pub(super) fn may_be_in(text: &str) -> bool {
        let bytes = text.as_bytes();
        let mut last = MIN_RUN - 1;
        while last < bytes.len() {
            let run = |bytes: &[u8]| bytes.iter().rev().take_while(|byte| value(**byte).is_some()).count();
            let behind = run(bytes.get(..=last).unwrap_or_default());
            if behind < MIN_RUN {
                last += MIN_RUN - behind;
                continue;
            }
            let begun = (last + 1).saturating_sub(behind);
            let mut live = Live::new(begun);
            if bytes.iter().skip(begun).take(12).all(|byte| live.feed(value(*byte).unwrap_or_default())) {
                return true;
            }
            last += run_len(bytes.get(last..).unwrap_or_default()) + MIN_RUN;
        }
        false
    }

    pub(super) fn push(&mut self, text: &str, masker: &Masker, hits: &mut Vec<Hit>) {
        let (begun, bytes, mut index) = (self.at, text.as_bytes(), 0);
        let mut hidden = matches!(self.state, State::Hit | State::Filled).then_some(begun);
        loop {
            index += self.skip(bytes.get(index..).unwrap_or_default());
            let Some(&byte) = bytes.get(index) else { break };
            self.at = begun + index;
            let digit = value(byte);
            if let (None, State::Live(_)) = (digit, &self.state)
                && let State::Live(live) = std::mem::take(&mut self.state)
                && live.end(self.at, masker, hits)
                && byte == b'='
            {
                // What fills the last group up belongs to it.
                self.state = State::Filled;
                hidden = Some(self.at);
            }
            if let (State::Filled, Some(_)) = (&self.state, digit) {
                hide(&mut hidden, self.at, hits);
                self.state = State::Outside;
            }
            match (&mut self.state, digit) {
                (State::Outside, Some(digit)) => {
                    let mut live = Live::new(self.at);
                    live.feed(digit);
                    let image = self.behind_image(text.get(..index).unwrap_or_default());
                    self.state = if image { State::Dead } else { State::Live(Box::new(live)) };
                }
                (State::Outside, None) => {}
                (State::Dead, Some(_)) => {}
                (State::Live(live), Some(digit)) => {
                    if !live.feed(digit) {
                        self.state = State::Dead;
                    } else if live.look(self.at + 1, masker, hits) {
                        self.state = State::Hit;
                        hidden = Some(self.at + 1);
                    }
                }
                (State::Hit | State::Filled, Some(_)) => {}
                (State::Hit | State::Filled, None) if byte == b'=' => self.state = State::Filled,
                (State::Dead | State::Hit | State::Filled | State::Live(_), None) => {
                    hide(&mut hidden, self.at, hits);
                    self.state = State::Outside;
                }
            }
            index += 1;
        }
        self.at = begun + text.len();
        hide(&mut hidden, self.at, hits);
        self.before.push_str(text);
        let keep = self.before.floor_char_boundary(self.before.len().saturating_sub(BEFORE));
        self.before.drain(..keep);
    }

    /// How many bytes need no closer look: they are in no run, or in one that is no text or too short to tell.
    fn skip(&mut self, bytes: &[u8]) -> usize {
        let digits = |at: usize| run_len(bytes.get(at..).unwrap_or_default());
        let mut at = 0;
        loop {
            match self.state {
                State::Dead => at += digits(at),
                State::Outside => {}
                State::Live(_) | State::Hit | State::Filled => return at,
            }
            if at >= bytes.len() {
                return at;
            }
            self.state = State::Outside;
            at += bytes.iter().skip(at).take_while(|byte| value(**byte).is_none()).count();
            let Some(group) = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()) else { return at };
            match group.map(value) {
                [Some(a), Some(b), Some(c), Some(d)] => {
                    if begins_text([a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d]) {
                        return at;
                    }
                    self.state = State::Dead;
                }
                _ => at += digits(at),
            }
        }
    }

    pub(super) fn finish(&mut self, masker: &Masker, hits: &mut Vec<Hit>) {
        if let State::Live(live) = std::mem::take(&mut self.state) {
            live.end(self.at, masker, hits);
        }
    }

    /// The position of the text before which all is decided.
    pub(super) fn decided(&self) -> usize {
        match &self.state {
            State::Live(live) => live.start + live.view.as_ref().map_or(0, |view| view.told / 3 * 4),
            State::Outside | State::Dead | State::Hit | State::Filled => self.at,
        }
    }

    /// Whether a run has come so far that it may say something.
    pub(super) fn tells(&self) -> bool {
        matches!(&self.state, State::Live(live) if live.chars >= SAYING)
    }

    /// Whether a run behind this is the data of an image, a sound or a film (RFC 2397).
    fn behind_image(&self, text: &str) -> bool {
        if !(text.ends_with(',') || text.is_empty() && self.before.ends_with(',')) {
            return false;
        }
        let seen = text.floor_char_boundary(text.len().saturating_sub(BEFORE));
        let before = format!("{}{}", self.before, text.get(seen..).unwrap_or_default());
        let Some((_, url)) = before.rsplit_once("data:") else { return false };
        url.ends_with(";base64,") && ["image/", "audio/", "video/"].iter().any(|kind| url.starts_with(kind))
    }
}

impl Live {
    fn new(start: usize) -> Self {
        Self { start, chars: 0, bits: 0, partial: Vec::new(), text: String::new(), view: None }
    }

    /// Takes one more character; `false` when it is no text.
    fn feed(&mut self, digit: u8) -> bool {
        self.chars += 1;
        self.bits = self.bits << 6 | u32::from(digit);
        if !self.chars.is_multiple_of(4) {
            return true;
        }
        let [_, group @ ..] = self.bits.to_be_bytes();
        self.bits = 0;
        self.decode(&group)
    }

    fn decode(&mut self, bytes: &[u8]) -> bool {
        self.partial.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.partial) {
            Ok(text) => text.len(),
            Err(error) if error.error_len().is_some() => return false,
            Err(error) => error.valid_up_to(),
        };
        let rest = self.partial.split_off(whole);
        let Ok(text) = String::from_utf8(std::mem::replace(&mut self.partial, rest)) else { return false };
        self.text.push_str(&text);
        !text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
    }

    /// Looks into a run that is too long to be held.
    fn look(&mut self, at: usize, masker: &Masker, hits: &mut Vec<Hit>) -> bool {
        let (enough, first) = match self.view {
            None => (MAX_HELD, true),
            Some(_) => (STEP, false),
        };
        if self.text.len() < enough {
            return false;
        }
        let (view, mut own) = (self.view.get_or_insert_default(), Vec::new());
        view.look(Some(&self.text), masker, &mut own);
        self.text.clear();
        self.tell(own, first, at, hits)
    }

    fn end(mut self, at: usize, masker: &Masker, hits: &mut Vec<Hit>) -> bool {
        if self.chars < MIN_RUN {
            return false;
        }
        let bits = self.bits.to_be_bytes();
        let group = match (self.chars % 4, bits) {
            (2, _) => vec![(self.bits >> 4).to_be_bytes()],
            (3, _) => vec![(self.bits >> 10).to_be_bytes(), (self.bits >> 2).to_be_bytes()],
            _ => Vec::new(),
        };
        let group: Vec<u8> = group.into_iter().map(|[.., last]| last).collect();
        self.decode(&group);
        let first = self.view.is_none();
        let (mut view, mut own) = (self.view.take().unwrap_or_default(), Vec::new());
        view.look(Some(&self.text), masker, &mut own);
        view.look(None, masker, &mut own);
        self.tell(own, first, at, hits)
    }

    /// Tells a hit in what was decoded as one of the run up to `at`: all of it, when none of it has left.
    fn tell(&self, own: Vec<Hit>, first: bool, at: usize, hits: &mut Vec<Hit>) -> bool {
        let Some((hit, told)) = own.into_iter().find_map(|mut hit| Some((hit.start, hit.told.take()?)))
        else {
            return false;
        };
        let start = if first { self.start } else { self.start + hit / 3 * 4 };
        hits.push(Hit { start, end: at, told: Some(told) });
        true
    }
}

/// How many characters of base64 stand at the start.
fn run_len(bytes: &[u8]) -> usize {
    let digit = |byte: &u8| byte.is_ascii_alphanumeric() | matches!(byte, b'+' | b'/' | b'-' | b'_');
    // No early end within a chunk: this way it is vectorised.
    let whole = |chunk: &&[u8; 32]| chunk.iter().fold(true, |all, byte| all & digit(byte));
    let (chunks, _) = bytes.as_chunks::<32>();
    let len = 32 * chunks.iter().take_while(whole).count();
    len + bytes.iter().skip(len).take_while(|byte| digit(byte)).count()
}

fn hide(hidden: &mut Option<usize>, to: usize, hits: &mut Vec<Hit>) {
    if let Some(from) = hidden.take().filter(|from| *from < to) {
        hits.push(Hit { start: from, end: to, told: None });
    }
}

/// Whether text can begin with these bytes. Of characters that are not ASCII only the first byte is looked at.
fn begins_text(bytes: [u8; 3]) -> bool {
    for byte in bytes {
        match byte {
            b' '..=b'~' | b'\t' | b'\n' | b'\r' => {}
            0xC2..=0xF4 => return true,
            _ => return false,
        }
    }
    true
}

/// What a character stands for; 64 for those that are none.
#[expect(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "evaluated when compiled")]
const VALUES: [u8; 256] = {
    let (mut values, mut at) = ([64; 256], 0);
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    while at < alphabet.len() {
        values[alphabet[at] as usize] = at as u8;
        at += 1;
    }
    values[b'-' as usize] = 62;
    values[b'_' as usize] = 63;
    values
};

fn value(byte: u8) -> Option<u8> {
    VALUES.get(usize::from(byte)).copied().filter(|value| *value < 64)
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};

    use super::*;

    #[test]
    fn a_run_that_is_text_is_told_from_words_and_digests() {
        assert!(Runs::may_be_in(&format!("see {}", STANDARD.encode("to maria.keller@example.com"))));
        for text in [
            "antidisestablishmentarianism and more of these words, with nothing between",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "/usr/local/share/applications/something/else",
            "short",
        ] {
            assert!(!Runs::may_be_in(text), "{text}");
        }
    }
}

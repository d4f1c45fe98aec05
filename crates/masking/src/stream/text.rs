use crate::{
    Entity, Masked, Masker,
    detect::{SCHEMES, Tail, WINDOW, is_token, may_join, may_join_over_space},
};

/// Bytes that are remembered of what has passed: the longest escape is `\u0040`.
const REMEMBERED: usize = 8;

/// Masks one text while it arrives.
#[derive(Debug, Default)]
pub(crate) struct TextStream {
    /// What has come and is not decided.
    held: String,
    /// The last characters before `held`: enough to see an escape.
    before: String,
    /// Set behind a hit whose end has not come.
    swallowing: Option<Swallow>,
}

#[derive(Debug)]
enum Swallow {
    Pem { in_end_line: bool, last: String },
    Token,
}

impl TextStream {
    pub(crate) fn push(&mut self, text: &str, masker: &Masker, out: &mut Masked) {
        self.held.push_str(text);
        let decided = self.decided();
        self.scan(decided, masker, out);
    }

    pub(crate) fn finish(&mut self, masker: &Masker, out: &mut Masked) {
        let end = self.held.len();
        self.scan(end, masker, out);
        *self = Self::default();
    }

    pub(crate) fn holds_nothing(&self) -> bool {
        self.held.is_empty()
    }

    /// Positions before this one can be decided: their window is there, or a character has come that no hit spans.
    fn decided(&self) -> usize {
        let full_window = self.held.floor_char_boundary(self.held.len().saturating_sub(WINDOW));
        let tail = self.held.get(full_window..).unwrap_or_default();
        let mut after = None;
        for (at, c) in tail.char_indices().rev() {
            if cuts(tail.get(..at).unwrap_or_default(), c, after) {
                return full_window + at + c.len_utf8();
            }
            after = Some(c);
        }
        full_window
    }

    fn scan(&mut self, decided: usize, masker: &Masker, out: &mut Masked) {
        let held = std::mem::take(&mut self.held);
        let mut at = self.swallow(&held, 0, out);
        let mut run_end = 0;
        while self.swallowing.is_none() && at < decided {
            let start = match masker.candidate(&held, at) {
                Some(start) if start < decided => start,
                _ => {
                    at = self.emit(&held, at, decided, out);
                    break;
                }
            };
            self.emit(&held, at, start, out);
            if start >= run_end {
                run_end = next_cut(&held, start);
            }
            match masker.decide(window(&held, start, run_end), self.character_before()) {
                Some((entity, hit)) => {
                    at = self.replace(&held, start, hit.len, entity, masker, out);
                    self.swallowing = match hit.tail {
                        Tail::None => None,
                        Tail::Pem => Some(Swallow::Pem { in_end_line: false, last: String::new() }),
                        Tail::Token => Some(Swallow::Token),
                    };
                    at = self.swallow(&held, at, out);
                }
                None => {
                    let next =
                        held.get(start..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8);
                    at = self.emit(&held, start, start + next, out);
                }
            }
        }
        self.held = held.get(at..).unwrap_or_default().to_owned();
    }

    fn emit(&mut self, held: &str, from: usize, to: usize, out: &mut Masked) -> usize {
        let text = held.get(from..to).unwrap_or_default();
        out.text.push_str(text);
        self.remember(text);
        to.max(from)
    }

    fn replace(
        &mut self,
        held: &str,
        start: usize,
        len: usize,
        entity: Entity,
        masker: &Masker,
        out: &mut Masked,
    ) -> usize {
        let end = start + len;
        let value = held.get(start..end).unwrap_or_default();
        masker.replace(&entity, value, out);
        self.remember(value);
        end
    }

    /// The character a hit would begin behind; none behind an escape.
    fn character_before(&self) -> Option<char> {
        if ends_in_escape(&self.before) { None } else { self.before.chars().next_back() }
    }

    fn remember(&mut self, passed: &str) {
        self.before.push_str(passed);
        let keep = self.before.floor_char_boundary(self.before.len().saturating_sub(REMEMBERED));
        self.before.drain(..keep);
    }

    /// Passes over the rest of an unbounded hit; returns the first position behind it.
    fn swallow(&mut self, held: &str, from: usize, out: &mut Masked) -> usize {
        let rest = held.get(from..).unwrap_or_default();
        let mut length = 0;
        for c in rest.chars() {
            match &mut self.swallowing {
                None => break,
                Some(Swallow::Token) if is_token(c) => {}
                Some(Swallow::Token) => {
                    self.swallowing = None;
                    break;
                }
                Some(Swallow::Pem { in_end_line, last }) => {
                    last.push(c);
                    if *in_end_line && last.ends_with("-----") {
                        self.swallowing = None;
                    } else if !*in_end_line && last.ends_with("-----END") {
                        *in_end_line = true;
                        last.clear();
                    } else if last.len() > 64 {
                        last.drain(..last.floor_char_boundary(last.len() - 8));
                    }
                }
            }
            length += c.len_utf8();
        }
        self.remember(rest.get(..length).unwrap_or_default());
        if let Some(span) = out.spans.last_mut() {
            span.len += length;
        }
        from + length
    }
}

/// Whether no hit can lie across this character. A space needs to know what follows it: `None` is "not yet here".
fn cuts(before: &str, c: char, after: Option<char>) -> bool {
    if c != ' ' {
        return !may_join(c);
    }
    let Some(after) = after else { return false };
    let Some(last) = before.chars().next_back() else { return false };
    let word = before.rsplit(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    let scheme = SCHEMES.iter().any(|scheme| word.eq_ignore_ascii_case(scheme));
    !scheme && !may_join_over_space(last, after)
}

/// The first position at or behind `from` that no hit beginning at `from` can go beyond; the end where there is none.
fn next_cut(held: &str, from: usize) -> usize {
    let mut characters = held.get(from..).unwrap_or_default().char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        let before = held.get(..from + at).unwrap_or_default();
        if cuts(before, c, characters.peek().map(|(_, c)| *c)) {
            return from + at + c.len_utf8();
        }
    }
    held.len()
}

/// What a detector sees of a position: up to the window's length, and not beyond what cuts.
fn window(held: &str, start: usize, run_end: usize) -> &str {
    let end = held.floor_char_boundary((start + WINDOW).min(run_end));
    held.get(start..end).unwrap_or_default()
}

/// Whether a text ends in an escape of JSON (`\n`, `\u0040`) or of an address (`%0A`): its last letter is no letter of a
/// word. Answers carry JSON inside strings, and one decoding has been done already.
fn ends_in_escape(text: &str) -> bool {
    let hex = |digits: &str| digits.bytes().all(|b| b.is_ascii_hexdigit());
    let tail = |n: usize| text.len().checked_sub(n).and_then(|at| text.get(at..));
    tail(2).is_some_and(|two| two.starts_with('\\') && two.ends_with(['b', 'f', 'n', 'r', 't']))
        || tail(6).and_then(|six| six.strip_prefix("\\u")).is_some_and(hex)
        || tail(3).and_then(|three| three.strip_prefix('%')).is_some_and(hex)
}

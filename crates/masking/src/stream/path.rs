use std::fmt;

/// Longest member name a place repeats.
const MAX_SHOWN: usize = 40;

/// Where a value stands in a JSON document.
#[derive(Debug, Clone, Default)]
pub(crate) struct Path {
    /// All names, one behind the other.
    names: String,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// A member; its name begins here and lasts to the next name, or to the end.
    Member { from: usize },
    /// An item of an array.
    Item { index: usize },
}

impl Path {
    /// Goes into an object or an array.
    pub(crate) fn enter(&mut self, object: bool) {
        let from = self.names.len();
        self.steps.push(if object { Step::Member { from } } else { Step::Item { index: 0 } });
    }

    /// Goes out again.
    pub(crate) fn leave(&mut self) {
        if let Some(Step::Member { from }) = self.steps.pop() {
            self.names.truncate(from);
        }
    }

    pub(crate) fn depth(&self) -> usize {
        self.steps.len()
    }

    /// Whether the innermost container is an object; `None` outside of all.
    pub(crate) fn in_object(&self) -> Option<bool> {
        self.steps.last().map(|step| matches!(step, Step::Member { .. }))
    }

    /// The next member or item of the innermost container. A member gets its name by [`Path::name_more`].
    pub(crate) fn next(&mut self) {
        match self.steps.last_mut() {
            Some(Step::Member { from }) => self.names.truncate(*from),
            Some(Step::Item { index }) => *index += 1,
            None => {}
        }
    }

    /// More of the member's name.
    pub(crate) fn name_more(&mut self, piece: &str, longest: usize) {
        let from = match self.steps.last() {
            Some(Step::Member { from }) => *from,
            _ => return,
        };
        let free = longest.saturating_sub(self.names.len() - from);
        self.names.push_str(piece.get(..piece.floor_char_boundary(free)).unwrap_or_default());
    }

    /// The name of the member this is, or of the one around the array this is in.
    pub(crate) fn name(&self) -> Option<&str> {
        self.steps.iter().rev().find_map(|step| match step {
            Step::Member { from } => self.names.get(*from..),
            Step::Item { .. } => None,
        })
    }

    /// The name of the member whose value the innermost container is; nothing stands in it yet.
    pub(crate) fn container_name(&self) -> Option<&str> {
        match self.steps.iter().rev().nth(1) {
            Some(Step::Member { from }) => self.names.get(*from..),
            _ => None,
        }
    }

    /// As a JSON pointer (RFC 6901, nothing escaped): `/choices/0/text`.
    pub(crate) fn pointer(&self) -> String {
        let mut pointer = String::new();
        self.each(|step| {
            pointer.push('/');
            match step {
                Ok(name) => pointer.push_str(name),
                Err(index) => pointer.push_str(&index.to_string()),
            }
        });
        pointer
    }

    fn each<'a>(&'a self, mut visit: impl FnMut(Result<&'a str, usize>)) {
        let mut end = self.names.len();
        let mut ends: Vec<usize> = Vec::with_capacity(self.steps.len());
        for step in self.steps.iter().rev() {
            ends.push(end);
            if let Step::Member { from } = step {
                end = *from;
            }
        }
        for (step, end) in self.steps.iter().zip(ends.into_iter().rev()) {
            visit(match step {
                Step::Member { from } => Ok(self.names.get(*from..end).unwrap_or_default()),
                Step::Item { index } => Err(*index),
            });
        }
    }
}

/// As a pattern that says no value: `choices[].text`. Names that may be data are `*`.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.each(|step| match step {
            Ok(name) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(if is_word(name) { name } else { "*" });
            }
            Err(_) => text.push_str("[]"),
        });
        f.write_str(&text)
    }
}

/// A name somebody gave to a member, not one that is data: no digits, which ids and numbers have.
fn is_word(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_SHOWN && name.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_tells_where_and_no_value() {
        let mut path = Path::default();
        assert_eq!((path.to_string(), path.pointer(), path.name()), (String::new(), String::new(), None));
        path.enter(true);
        path.name_more("choi", 9);
        path.name_more("ces", 9);
        path.enter(false);
        path.next();
        assert_eq!(path.name(), Some("choices"));
        path.enter(true);
        path.name_more("a@example.com", 99);
        assert_eq!(path.to_string(), "choices[].*");
        assert_eq!(path.pointer(), "/choices/1/a@example.com");
        path.next();
        path.name_more("content", 99);
        assert_eq!(path.to_string(), "choices[].content");
        path.leave();
        path.leave();
        assert_eq!((path.to_string(), path.depth(), path.in_object()), ("choices".to_owned(), 1, Some(true)));
        path.next();
        path.name_more("long", 2);
        assert_eq!(path.pointer(), "/lo");
    }
}

use super::boundary::is_token;

/// What follows a hit whose length is not bounded: it is swallowed to its end, however far that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    /// Everything up to white space or a quotation mark, behind a match that fills the window: an address without end.
    Address,
    /// Nothing.
    None,
    /// Everything up to the line that ends a PEM block, or to the end of the text.
    Pem,
    /// Every further character of a token.
    Token,
}

impl Tail {
    /// What swallows it.
    pub(crate) const fn swallow(self) -> Option<Swallow> {
        match self {
            Self::Address => Some(Swallow(State::Address)),
            Self::None => None,
            Self::Pem => Some(Swallow(State::Pem { last: String::new(), in_end_line: false })),
            Self::Token => Some(Swallow(State::Token)),
        }
    }
}

/// Swallows a tail while it arrives. Behind a tail every detector begins anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Swallow(State);

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Address,
    Pem { last: String, in_end_line: bool },
    Token,
}

impl Swallow {
    /// How many of the next bytes belong to the tail; less than all of them when it ends there, which it may do right
    /// behind them too: then the next call takes none.
    pub(crate) fn take(&mut self, text: &str) -> usize {
        match &mut self.0 {
            State::Address => {
                text.find(|c: char| c.is_whitespace() || "\"'<>`\\".contains(c)).unwrap_or(text.len())
            }
            State::Token => text.find(|c| !is_token(c)).unwrap_or(text.len()),
            State::Pem { last, in_end_line } => {
                for (at, c) in text.char_indices() {
                    if *in_end_line && last.ends_with("-----") {
                        return at;
                    }
                    last.push(c);
                    if !*in_end_line && last.ends_with("-----END") {
                        *in_end_line = true;
                        last.clear();
                    } else if last.len() > 64 {
                        last.drain(..last.floor_char_boundary(last.len() - 8));
                    }
                }
                text.len()
            }
        }
    }
}

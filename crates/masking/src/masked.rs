use crate::{Entity, Findings};

/// Where a hit was and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// What.
    pub entity: Entity,
    /// First byte in the *masked* text of what stands for it.
    pub at: usize,
    /// Bytes the hit had in the original.
    pub len: usize,
    /// Bytes of what stands for it.
    pub shown: usize,
}

/// A masked text, or a piece of one. What is not inside a span is the original: the bytes that were swallowed, the text
/// between the spans and the spans' own lengths add up to what the original had.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Masked {
    /// The text with something else in the place of each hit.
    pub text: String,
    /// Bytes of the original, in front of everything else, that belonged to a hit of an earlier piece.
    pub swallowed: usize,
    /// The hits in their order.
    pub spans: Vec<Span>,
    /// The hits counted.
    pub findings: Findings,
    /// Whether one of them blocks the whole text: it must not be passed on.
    pub blocked: bool,
}

impl Masked {
    /// Behind what has come, so many bytes of the original belong to the hit that stands last, or that came before.
    pub(crate) fn hide(&mut self, len: usize) {
        if len == 0 {
            return;
        }
        match self.spans.last_mut() {
            Some(span) if span.at + span.shown == self.text.len() => span.len += len,
            None if self.text.is_empty() => self.swallowed += len,
            _ => {
                let at = self.text.len();
                self.spans.push(Span { entity: Entity::KnownSecret, at, len, shown: 0 });
            }
        }
    }

    /// Empties it, to be written to again.
    pub(crate) fn clear(&mut self) {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        *self = Self { text, ..Self::default() };
    }

    /// Puts the next piece of the same text behind this one.
    pub(crate) fn append(&mut self, next: Self) {
        if self.text.is_empty() && self.spans.is_empty() && self.swallowed == 0 && self.findings.is_empty() {
            *self = next;
            return;
        }
        self.hide(next.swallowed);
        let behind = self.text.len();
        self.text.push_str(&next.text);
        self.spans.extend(next.spans.into_iter().map(|span| Span { at: span.at + behind, ..span }));
        self.findings.absorb(&next.findings, "");
    }
}

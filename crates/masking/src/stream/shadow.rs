use std::collections::VecDeque;

use super::{
    channel::{Hit, View},
    encoded::{BEGINS, Read, first, read},
};
use crate::Masker;

/// Characters nobody sees that are passed over in one place. More of them part words, as they are.
const MAX_INVISIBLE: u8 = 16;

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

    /// Whether what it may still look at is what a plain view may, so that both will find the same until the next encoded
    /// character.
    pub(super) fn sees_no_more_than(&self, plain: &View) -> bool {
        self.pending.is_empty() && self.view.text == plain.text
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_needs_no_shadow() {
        assert!(!Shadow::may_begin("50 % of R&D, ’quoted’ – and C:"));
        assert!(Shadow::may_begin("50 % of a%40b"));
    }
}

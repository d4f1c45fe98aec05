use crate::{
    Masked, Masker,
    detect::{BEHIND, Hit, Piece, Swallow, Tail},
};

/// Masks one text while it arrives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TextStream {
    /// What has passed, as far as a detector looks back, and then what has come and is not decided.
    seen: String,
    /// Where the latter begins.
    from: usize,
    /// Something has passed.
    begun: bool,
    /// Set behind a hit whose end has not come.
    swallow: Option<Swallow>,
}

impl TextStream {
    /// Masks a whole text that stands behind another; `None` when there is nothing to mask.
    pub(crate) fn whole(text: &str, before: &str, masker: &Masker) -> Option<Masked> {
        let joined = (!before.is_empty()).then(|| [before, text].concat());
        let seen = joined.as_deref().unwrap_or(text);
        let (hits, certain) =
            masker.engine().scan(Piece { text: seen, from: before.len(), at_start: true, ended: true });
        if hits.is_empty() {
            return None;
        }
        let seen = joined.unwrap_or_else(|| text.to_owned());
        let mut stream = Self { seen, from: before.len(), ..Self::default() };
        let mut masked = Masked::default();
        stream.settle(hits, certain, masker, &mut masked);
        stream.finish(masker, &mut masked);
        Some(masked)
    }

    pub(crate) fn push(&mut self, text: &str, masker: &Masker, out: &mut Masked) {
        self.seen.push_str(text);
        self.scan(false, masker, out);
    }

    pub(crate) fn finish(&mut self, masker: &Masker, out: &mut Masked) {
        self.scan(true, masker, out);
        *self = Self::default();
    }

    /// Says what stands before this text in another: the name of a JSON member.
    pub(crate) fn behind(&mut self, before: &str) {
        debug_assert!(!self.begun, "a text has its name before it begins");
        before.clone_into(&mut self.seen);
        self.from = before.len();
    }

    pub(crate) fn holds_nothing(&self) -> bool {
        self.from == self.seen.len()
    }

    fn scan(&mut self, ended: bool, masker: &Masker, out: &mut Masked) {
        loop {
            if let Some(swallow) = &mut self.swallow {
                let taken = swallow.take(self.seen.get(self.from..).unwrap_or_default());
                self.from += taken;
                match out.spans.last_mut() {
                    Some(span) => span.len += taken,
                    None => out.swallowed += taken,
                }
                if self.holds_nothing() && !ended {
                    break;
                }
                self.swallow = None;
            }
            let piece = Piece { text: &self.seen, from: self.from, at_start: !self.begun, ended };
            let (hits, certain) = masker.engine().scan(piece);
            self.settle(hits, certain, masker, out);
            if self.swallow.is_none() {
                break;
            }
        }
        let keep = self.seen.floor_char_boundary(self.from.saturating_sub(BEHIND));
        self.seen.drain(..keep);
        self.from -= keep;
    }

    /// Replaces what was found and lets go what is certain.
    fn settle(&mut self, hits: Vec<Hit>, certain: usize, masker: &Masker, out: &mut Masked) {
        for hit in hits {
            out.text.push_str(self.seen.get(self.from..hit.start).unwrap_or_default());
            if let Some(rule) = masker.engine().rule(hit.rule) {
                let value = self.seen.get(hit.start..hit.end).unwrap_or_default();
                masker.replace(&rule.entity(), value, hit.tail == Tail::None, out);
            }
            self.begun = true;
            self.from = hit.end;
            self.swallow = hit.tail.swallow();
        }
        if self.swallow.is_none() {
            out.text.push_str(self.seen.get(self.from..certain).unwrap_or_default());
            self.begun |= certain > self.from;
            self.from = self.from.max(certain);
        }
    }
}

use std::collections::VecDeque;

use super::{lexer::escape, path::Path};
use crate::{Masked, Span};

/// The source of a string as far as its text has not left: what is no hit leaves as it was written.
#[derive(Debug, Default)]
pub(super) struct Raw {
    text: String,
    escapes: VecDeque<Escape>,
    /// Bytes of the decoded text that have come and that have left.
    come: usize,
    left: usize,
}

#[derive(Debug)]
struct Escape {
    at: usize,
    decoded: usize,
    raw: usize,
}

impl Raw {
    pub(super) fn plain(&mut self, text: &str) {
        self.text.push_str(text);
        self.come += text.len();
    }

    pub(super) fn escape(&mut self, text: &str, decoded: usize) {
        self.escapes.push_back(Escape { at: self.come, decoded, raw: text.len() });
        self.text.push_str(text);
        self.come += decoded;
    }

    /// How many bytes of source so many bytes of text are; they leave.
    fn take(&mut self, decoded: usize) -> usize {
        self.left += decoded;
        let mut raw = decoded;
        while let Some(escape) = self.escapes.pop_front_if(|escape| escape.at < self.left) {
            raw = (raw + escape.raw).saturating_sub(escape.decoded);
        }
        raw
    }

    /// Writes a masked piece of the text as the inside of a JSON string.
    pub(super) fn write(&mut self, masked: &Masked, place: &Path, out: &mut Masked) {
        let mut raw = self.take(masked.swallowed);
        out.hide(raw);
        let mut from = 0;
        for span in &masked.spans {
            let passed = self.take(span.at - from);
            out.text.push_str(self.text.get(raw..raw + passed).unwrap_or_default());
            raw += passed;
            let (at, len) = (out.text.len(), self.take(span.len));
            raw += len;
            from = span.at + span.shown;
            escape(masked.text.get(span.at..from).unwrap_or_default(), &mut out.text);
            out.spans.push(Span { entity: span.entity.clone(), at, len, shown: out.text.len() - at });
        }
        let passed = self.take(masked.text.len() - from);
        out.text.push_str(self.text.get(raw..raw + passed).unwrap_or_default());
        self.text.drain(..raw + passed);
        if !masked.findings.is_empty() {
            out.findings.absorb(&masked.findings, &place.to_string());
        }
    }
}

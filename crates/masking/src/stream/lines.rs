use memchr::memchr;

use super::{MaskError, events::Events, sse::MAX_EVENT};
use crate::{Masked, Masker};

/// Masks one JSON value per line (NDJSON) while they arrive. A line leaves when it is complete: it is an event, and may
/// tell a piece of a text.
#[derive(Debug, Default)]
pub(super) struct LineStream {
    events: Events,
    line: String,
}

impl LineStream {
    pub(super) fn push(&mut self, text: &str, masker: &Masker, out: &mut Masked) -> Result<(), MaskError> {
        let mut rest = text;
        while let Some(end) = memchr(b'\n', rest.as_bytes()) {
            let (more, behind) = rest.split_at_checked(end).unwrap_or((rest, ""));
            self.line.push_str(more);
            self.end_of_line(masker, out)?;
            out.text.push('\n');
            rest = behind.get(1..).unwrap_or_default();
        }
        self.line.push_str(rest);
        if self.line.len() > MAX_EVENT { Err(MaskError::EventTooLarge) } else { Ok(()) }
    }

    pub(super) fn finish(&mut self, masker: &Masker, out: &mut Masked) -> Result<(), MaskError> {
        let cut = !self.line.is_empty();
        self.end_of_line(masker, out)?;
        let mut rest = Masked::default();
        self.events.finish(masker, &mut |_, masked| made(&masked, &mut rest))?;
        if cut && !rest.text.is_empty() {
            out.text.push('\n');
        }
        out.append(rest);
        Ok(())
    }

    pub(super) fn idle(&mut self, masker: &Masker, out: &mut Masked) -> Result<(), MaskError> {
        self.events.idle(masker, &mut |_, masked| made(&masked, out))
    }

    fn end_of_line(&mut self, masker: &Masker, out: &mut Masked) -> Result<(), MaskError> {
        let line = std::mem::take(&mut self.line);
        if line.len() > MAX_EVENT {
            return Err(MaskError::EventTooLarge);
        }
        if line.trim_end_matches('\r').is_empty() {
            out.text.push_str(&line);
            return Ok(());
        }
        self.events.json("", &line, masker, &mut |name, masked| {
            if name.is_some() {
                return made(&masked, out);
            }
            out.text.push_str(&masked.text);
            out.findings.absorb(&masked.findings, "");
        })
    }
}

fn made(masked: &Masked, out: &mut Masked) {
    out.text.push_str(&masked.text);
    out.text.push('\n');
    out.findings.absorb(&masked.findings, "");
}

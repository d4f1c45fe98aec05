use super::{
    MaskError,
    events::{Emit, Events},
    sse::MAX_EVENT,
};
use crate::{Findings, Masker};

/// Masks messages, such as those of a WebSocket in one direction: JSON or text. A text told in pieces over several
/// messages is one text.
#[derive(Debug)]
pub struct MaskMessages {
    masker: Masker,
    events: Events,
    findings: Findings,
    failed: Option<MaskError>,
}

impl MaskMessages {
    /// Starts a direction.
    #[must_use]
    pub fn new(masker: Masker) -> Self {
        Self {
            masker: masker.ready(),
            events: Events::default(),
            findings: Findings::default(),
            failed: None,
        }
    }

    /// Takes a message and gives those to send: it, masked, behind what was held and must leave before it.
    ///
    /// # Errors
    ///
    /// [`MaskError`]; from then on every call fails, and what was held is lost.
    pub fn push(&mut self, message: &str) -> Result<Vec<String>, MaskError> {
        if message.len() > MAX_EVENT {
            self.failed = Some(MaskError::EventTooLarge);
        }
        self.run(|events, masker, emit| events.event("", message, masker, emit))
    }

    /// Nothing has come for a while: see [`MaskStream::idle`](crate::MaskStream::idle).
    ///
    /// # Errors
    ///
    /// [`MaskError`] as [`MaskMessages::push`].
    pub fn idle(&mut self) -> Result<Vec<String>, MaskError> {
        self.run(|events, masker, emit| events.idle(masker, emit))
    }

    /// No more will come: gives what was held.
    ///
    /// # Errors
    ///
    /// [`MaskError`] as [`MaskMessages::push`].
    pub fn finish(&mut self) -> Result<Vec<String>, MaskError> {
        self.run(|events, masker, emit| events.finish(masker, emit))
    }

    /// What was found so far.
    #[must_use]
    pub fn findings(&self) -> &Findings {
        &self.findings
    }

    fn run(
        &mut self,
        step: impl FnOnce(&mut Events, &Masker, &mut Emit<'_>) -> Result<(), MaskError>,
    ) -> Result<Vec<String>, MaskError> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        let (mut out, findings) = (Vec::new(), &mut self.findings);
        let result = step(&mut self.events, &self.masker, &mut |_, masked| {
            findings.absorb(&masked.findings, "");
            out.push(masked.text);
        });
        let result = if self.masker.blocked() { Err(MaskError::Blocked) } else { result };
        self.failed = result.err();
        result.map(|()| out)
    }
}

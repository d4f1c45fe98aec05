//! The open record of one request: what audit layer and barrier share, and the promise that it will be closed.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use crewgate_core::{ApprovalId, Clock, Ending, Fact, Refusal, RunId, Timestamp, Trail};
use tokio::time::Instant;

use crate::{
    AuditError, AuditStore, Entry, Frame, Lane, Phase, Place, Seat,
    entry::{approval_of, run_of},
    repeats::Repeats,
    tlog::Hash,
};

/// Status on the record of a call that ended before anybody answered it (nginx's "client closed request").
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// Status on the record of a call whose service failed instead of answering.
pub(crate) const FAILED: u16 = 500;

/// What the audit layer puts on the request for the barrier further in. Clones share it.
#[derive(Clone)]
pub(crate) struct Slot {
    pub(crate) started: Timestamp,
    state: Arc<Mutex<SlotState>>,
}

#[derive(Default)]
struct SlotState {
    /// An intent is on the record, or was handed to the store.
    intent: bool,
    leaf: Option<u64>,
    seat: Option<Box<dyn Seat>>,
    run: Option<RunId>,
}

impl Slot {
    pub(crate) fn new(started: Timestamp) -> Self {
        Self { started, state: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, SlotState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The run is known from here on.
    pub(crate) fn belongs_to(&self, run: Option<RunId>) {
        let mut state = self.state();
        state.run = run.or(state.run);
    }

    /// An intent is about to be written; with this seat its outcome can always be.
    pub(crate) fn begin(&self, seat: Box<dyn Seat>) {
        let mut state = self.state();
        (state.intent, state.seat) = (true, Some(seat));
    }

    /// The intent is durable.
    pub(crate) fn written(&self, place: Place) {
        self.state().leaf = Some(place.index);
    }

    /// It is certain that no intent was written.
    pub(crate) fn withdraw(&self) {
        let mut state = self.state();
        (state.intent, state.seat) = (false, None);
    }
}

/// Closes the record exactly once: by [`refused`](Self::refused), by the body, or by being dropped.
pub(crate) struct Open {
    pub(crate) store: Arc<dyn AuditStore>,
    pub(crate) clock: Arc<dyn Clock>,
    repeats: Arc<Repeats>,
    pub(crate) trail: Trail,
    pub(crate) slot: Slot,
    pub(crate) began: Instant,
    run: Option<RunId>,
    approval: Option<ApprovalId>,
    closed: bool,
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open").field("request", &self.trail.request()).finish_non_exhaustive()
    }
}

impl Open {
    pub(crate) fn new(
        store: Arc<dyn AuditStore>,
        clock: Arc<dyn Clock>,
        repeats: Arc<Repeats>,
        trail: Trail,
    ) -> Self {
        let slot = Slot::new(clock.now());
        Self {
            store,
            clock,
            repeats,
            trail,
            slot,
            began: Instant::now(),
            run: None,
            approval: None,
            closed: false,
        }
    }

    /// What the head of the answer tells about the call.
    pub(crate) fn answered(&mut self, extensions: &http::Extensions) -> bool {
        self.run = extensions.get::<RunId>().copied();
        let Some(refusal) = extensions.get::<Refusal>() else { return false };
        self.approval = refusal.approval;
        let (status, code) = (refusal.status.as_u16(), refusal.code);
        let noted = self.trail.facts().iter().any(
            |fact| matches!(fact, Fact::Refused { status: s, code: c, .. } if *s == status && c == code),
        );
        if !noted {
            self.trail.note(Fact::Refused {
                by: refusal.by,
                status,
                code: code.to_owned(),
                rule: refusal.rule.clone(),
                detail: refusal.detail.clone(),
            });
        }
        true
    }

    /// Whether an intent was written, or may have been.
    pub(crate) fn has_intent(&self) -> bool {
        self.slot.state().intent
    }

    pub(crate) fn intent_leaf(&self) -> Option<u64> {
        self.slot.state().leaf
    }

    pub(crate) fn take_seat(&self) -> Option<Box<dyn Seat>> {
        self.slot.state().seat.take()
    }

    pub(crate) fn is_authenticated(&self) -> bool {
        self.trail.facts().iter().any(|fact| matches!(fact, Fact::Authenticated { .. }))
    }

    /// Puts the refusal in line: at once for a stranger, when there is room for everybody else. `None` for a stranger,
    /// whose refusal nobody waits for.
    pub(crate) async fn refused(mut self, status: u16) -> Option<Place> {
        self.trail.note(ended(Ending::Complete, status, 0, Hash::of(b"")));
        if !self.is_authenticated() {
            self.closed = true;
            // Full is what a flood is meant to find here; the store counts it.
            drop(self.store.append(Lane::Refusal, self.entry(Phase::Refused, Vec::new())));
            return None;
        }
        // Until there is a seat this stays open: a caller who hangs up here is recorded by `drop`.
        let written = match self.store.reserve().await {
            Ok(seat) => {
                self.closed = true;
                seat.submit(self.entry(Phase::Refused, Vec::new())).await
            }
            Err(error) => {
                self.closed = true;
                Err(error)
            }
        };
        written.map_err(|error| self.lost(error)).ok()
    }

    /// Closes it with an answer that ended, or broke off.
    pub(crate) fn close(&mut self, seat: Option<Box<dyn Seat>>, ended: Fact, frames: Vec<Frame>) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        let withdrawn = !self.has_intent() && seat.is_none();
        let mut entry = self.entry(if withdrawn { Phase::Refused } else { Phase::Outcome }, frames);
        if let Some(request) = self.repeats.of(&entry, &ended) {
            entry.frames.clear();
            entry.facts.push(Fact::Repeated { request });
        }
        entry.facts.push(ended);
        let lane = if self.is_authenticated() { Lane::Outcome } else { Lane::Refusal };
        // Both put the entry in line before they return; nobody is left to wait for the disk.
        drop(match seat.or_else(|| self.take_seat()) {
            Some(seat) => seat.submit(entry),
            None => self.store.append(lane, entry),
        });
    }

    fn entry(&self, phase: Phase, frames: Vec<Frame>) -> Entry {
        let facts = self.trail.facts();
        Entry {
            time: self.clock.now(),
            started: self.slot.started,
            phase,
            request: self.trail.request(),
            run: facts.iter().rev().find_map(run_of).or(self.slot.state().run).or(self.run),
            approval: facts.iter().rev().find_map(approval_of).or(self.approval),
            facts,
            request_body: None::<Bytes>,
            frames,
        }
    }

    fn lost(&self, error: AuditError) {
        tracing::error!(request = %self.trail.request(), %error, "a refusal is not on the record");
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let (how, status) = if std::thread::panicking() {
            (Ending::Cut, FAILED)
        } else {
            (Ending::CallerGone, CLIENT_CLOSED_REQUEST)
        };
        self.close(None, ended(how, status, 0, Hash::of(b"")), Vec::new());
    }
}

pub(crate) fn ended(how: Ending, status: u16, bytes: u64, sha256: Hash) -> Fact {
    Fact::Ended { how, status, bytes, sha256: sha256.to_string() }
}

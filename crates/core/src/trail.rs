use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU8, Ordering},
};

use crate::{Fact, RequestId};

/// The append-only list of [`Fact`]s of one request. Clones share it: the audit layer keeps one end, every other
/// layer notes on the clone it finds in the request's extensions, so what they noted survives a refusal, a
/// cancelled future and a caller who hangs up.
#[derive(Debug, Clone)]
pub struct Trail {
    request: RequestId,
    // A std mutex: held for a push or a clone of a short vector, never across an await.
    facts: Arc<Mutex<Vec<Fact>>>,
}

/// Facts one request may leave; the largest stack notes about twenty. More are dropped, and counted by nobody:
/// a layer that notes in a loop is a defect, and the record must stay bounded all the same.
const MAX_FACTS: usize = 128;

impl Trail {
    /// An empty trail for this request.
    #[must_use]
    pub fn new(request: RequestId) -> Self {
        Self { request, facts: Arc::default() }
    }

    /// The request.
    #[must_use]
    pub fn request(&self) -> RequestId {
        self.request
    }

    /// Adds a fact at the end.
    pub fn note(&self, fact: Fact) {
        let mut facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        if facts.len() < MAX_FACTS {
            facts.push(fact);
        }
    }

    /// The facts so far, in order.
    #[must_use]
    pub fn facts(&self) -> Vec<Fact> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The facts from `start` on, in order: what was noted since somebody looked.
    #[must_use]
    pub fn facts_since(&self, start: usize) -> Vec<Fact> {
        let facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        facts.get(start..).unwrap_or_default().to_vec()
    }
}

/// Whether a call may still be withdrawn. The caller's end and the barrier race for it; exactly one wins.
///
/// Before the barrier a hang-up means nothing happened. After it a call that changes something runs to its end.
#[derive(Debug, Clone, Default)]
pub struct Departure(Arc<AtomicU8>);

const WAITING: u8 = 0;
const DEPARTED: u8 = 1;
const WITHDRAWN: u8 = 2;

impl Departure {
    /// A call that has not left yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The call leaves now. `false`: the caller withdrew first, and nothing may be sent.
    #[must_use]
    pub fn depart(&self) -> bool {
        match self.0.compare_exchange(WAITING, DEPARTED, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(found) => found == DEPARTED,
        }
    }

    /// The caller is gone. `false`: the call has left and must run to its end.
    #[must_use]
    pub fn withdraw(&self) -> bool {
        match self.0.compare_exchange(WAITING, WITHDRAWN, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(found) => found == WITHDRAWN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_departs_or_is_withdrawn_never_both() {
        let first = Departure::new();
        assert!(first.depart() && !first.withdraw() && first.depart());
        let second = Departure::new();
        assert!(second.withdraw() && !second.depart() && second.withdraw());
    }

    #[test]
    fn a_trail_is_shared_by_its_clones_and_bounded() {
        let trail = Trail::new(RequestId::random());
        let clone = trail.clone();
        for _ in 0..1000 {
            clone.note(Fact::Answered { status: 200 });
        }
        assert_eq!(trail.facts().len(), MAX_FACTS);
        assert_eq!(trail.facts_since(MAX_FACTS - 1).len(), 1);
        assert!(trail.facts_since(5000).is_empty());
    }
}

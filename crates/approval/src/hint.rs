use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crewgate_core::ApprovalId;
use tokio::sync::watch;

/// Tells waiters in this process that an approval may have moved. A hint and nothing more: it can be lost, and it
/// never replaces a look at the store.
#[derive(Clone)]
pub struct Hint(Arc<Bells>);

struct Bells {
    every: watch::Sender<()>,
    // A std mutex: held for a map lookup, never across an await. An entry lives as long as somebody listens.
    one: Mutex<HashMap<ApprovalId, watch::Sender<()>>>,
}

impl Bells {
    fn one(&self) -> MutexGuard<'_, HashMap<ApprovalId, watch::Sender<()>>> {
        self.one.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hint {
    /// One that nobody has rung yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Bells { every: watch::Sender::new(()), one: Mutex::default() }))
    }

    /// Wakes everybody who waits: something moved, and nobody knows what. Never blocks.
    pub fn ring(&self) {
        self.0.every.send_replace(());
        for bell in self.0.one().values() {
            bell.send_replace(());
        }
    }

    /// Wakes those who wait for this approval or for any: of ten thousand that are held, one. Never blocks.
    pub fn ring_for(&self, approval: ApprovalId) {
        self.0.every.send_replace(());
        if let Some(bell) = self.0.one().get(&approval) {
            bell.send_replace(());
        }
    }

    /// An ear that hears every ring from now on.
    #[must_use]
    pub fn listen(&self) -> Ear {
        Ear { rings: self.0.every.subscribe(), one: None, hint: self.clone() }
    }

    /// An ear that hears from now on what rings for this approval.
    #[must_use]
    pub fn listen_for(&self, approval: ApprovalId) -> Ear {
        let rings = self.0.one().entry(approval).or_insert_with(|| watch::Sender::new(())).subscribe();
        Ear { rings, one: Some(approval), hint: self.clone() }
    }
}

impl Default for Hint {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hint").finish_non_exhaustive()
    }
}

/// Hears a [`Hint`]'s rings.
pub struct Ear {
    rings: watch::Receiver<()>,
    one: Option<ApprovalId>,
    // Kept alive beside the receiver: a store that is dropped must not turn waiting into spinning.
    hint: Hint,
}

impl fmt::Debug for Ear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ear").field("one", &self.one).finish_non_exhaustive()
    }
}

impl Ear {
    /// The next ring, or one since the last call.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no ring.
    pub async fn heard(&mut self) {
        // An error would mean that the sender is gone, which `hint` and the entry in it prevent.
        let _ = self.rings.changed().await;
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        let Some(approval) = self.one else { return };
        let mut one = self.hint.0.one();
        // The last one to listen: its own receiver is still counted.
        if one.get(&approval).is_some_and(|bell| bell.receiver_count() <= 1) {
            one.remove(&approval);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_ring_for_one_wakes_those_who_wait_for_it_or_for_any() {
        let (hint, [ours, theirs]) = (Hint::new(), [ApprovalId::random(), ApprovalId::random()]);
        let [mut any, mut one, mut other] = [hint.listen(), hint.listen_for(ours), hint.listen_for(theirs)];
        let mut heard = || [&mut any, &mut one, &mut other].map(|ear| ear.heard().now_or_never().is_some());
        assert_eq!(heard(), [false; 3]);
        hint.ring_for(ours);
        assert_eq!(heard(), [true, true, false]);
        hint.ring();
        assert_eq!(heard(), [true; 3]);
    }

    #[test]
    fn nothing_is_kept_of_an_approval_that_nobody_listens_for() {
        let (hint, id) = (Hint::new(), ApprovalId::random());
        let (first, mut second) = (hint.listen_for(id), hint.listen_for(id));
        drop(first);
        hint.ring_for(id);
        assert!(second.heard().now_or_never().is_some());
        drop(second);
        assert!(hint.0.one().is_empty());
    }
}

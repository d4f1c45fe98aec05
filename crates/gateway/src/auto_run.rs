//! Approved requests that start without their owner.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use crewgate_approval::{ApprovalStore, pending_auto_runs};
use crewgate_core::{ApprovalId, Clock, Timestamp};
use tokio::sync::Semaphore;

use crate::tickets::ReleaseDesk;

/// How often approved requests that start by themselves are looked for; the store's hint is usually faster.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long an approval that was given back is left alone before it is tried again.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(15);

/// Started at once on one crew: one that hangs holds up its own and no other's.
const AT_ONCE: usize = 16;

/// Starts approved requests whose crew lets the gateway do so, and those whose owner broke the glass.
pub(crate) struct AutoRuns {
    approvals: Arc<dyn ApprovalStore>,
    releases: ReleaseDesk,
    clock: Arc<dyn Clock>,
    tried: HashMap<ApprovalId, Timestamp>,
    seats: HashMap<String, Arc<Semaphore>>,
}

impl AutoRuns {
    pub(crate) fn new(
        approvals: Arc<dyn ApprovalStore>,
        releases: ReleaseDesk,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { approvals, releases, clock, tried: HashMap::new(), seats: HashMap::new() }
    }

    /// Never ends. What it has started ends by itself, and the desk counts it.
    pub(crate) async fn run(mut self) {
        let hint = self.approvals.hint();
        let mut ear = hint.listen();
        loop {
            self.look().await;
            // A ring or the end of the pause: look again.
            let _ = tokio::time::timeout(LOOK_EVERY, ear.heard()).await;
        }
    }

    async fn look(&mut self) {
        let now = self.clock.now();
        self.tried.retain(|_, at| now.since(*at) < TRY_AGAIN_AFTER);
        let mut found = match pending_auto_runs(&*self.approvals, now).await {
            Ok(found) => found,
            Err(error) => return tracing::warn!(%error, "approved requests cannot be listed"),
        };
        // An emergency first.
        found.sort_by_key(|(approval, _)| approval.broken.is_none());
        for (approval, requester) in found {
            let Entry::Vacant(untried) = self.tried.entry(approval.id()) else { continue };
            let crew = approval.asked.operation.resource.name.clone();
            let seats = self.seats.entry(crew).or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE)));
            let seat = Arc::clone(seats).try_acquire_owned().ok();
            // Nor does it wait for those before it, of which there are few.
            if seat.is_none() && approval.broken.is_none() {
                continue;
            }
            untried.insert(now);
            // Its answer is on the record and in the run; nobody waits for it here.
            if let Some(started) = self.releases.start(approval, requester) {
                tokio::spawn(async move {
                    let _ended = started.await;
                    drop(seat);
                });
            }
        }
    }
}

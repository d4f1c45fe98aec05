use std::{fmt, sync::Arc, time::Duration};

use crewgate_core::{ApprovalId, Layer as By, Principal, Refusal};
use http::{Response, StatusCode};
use tokio::time::timeout;

use crate::{
    Approval, Ear, PREFERENCE_APPLIED, Phase, Preference, State, Wait,
    hold::{crowded, held, ticket},
    layer::Config,
    release::unavailable,
    seats::Seat,
};

/// Where callers who were let go come back to: to look, to wait, and to start what was approved meanwhile. What is not
/// theirs does not exist. Made by [`AwaitApprovalLayer::waiting_room`](crate::AwaitApprovalLayer::waiting_room).
pub struct WaitingRoom<B> {
    config: Arc<Config<B>>,
}

impl<B> WaitingRoom<B> {
    pub(crate) fn new(config: Arc<Config<B>>) -> Self {
        Self { config }
    }

    async fn find(&self, id: ApprovalId, who: &Principal) -> Result<Approval, Refusal> {
        let found = self.config.store.find(id).await.map_err(|error| unavailable(&error))?;
        // As for the release: another client of the same person asked for nothing.
        found
            .filter(|row| row.asked.requester.key == who.key && row.asked.requester.client == who.client)
            .ok_or_else(|| {
                let text = "no request of yours waits, or has waited, under this id";
                Refusal::new(By::Approval, StatusCode::NOT_FOUND, "approval_not_found", text)
            })
    }

    /// Follows the approval from state to state.
    ///
    /// # Errors
    ///
    /// The refusal to answer with: there is none, it is not this principal's, the store fails, or as many requests as
    /// may be are held.
    pub async fn watch(&self, id: ApprovalId, who: &Principal) -> Result<Watch<B>, Refusal> {
        let seat = self.config.seats.take(&who.key).ok_or_else(crowded)?;
        // Before the look, so that no ring falls in between.
        let ear = self.config.store.hint().listen_for(id);
        let approval = self.find(id, who).await?;
        Ok(Watch { config: Arc::clone(&self.config), approval, told: None, ear, _seat: seat })
    }
}

impl<B: Default + Send + 'static> WaitingRoom<B> {
    /// How it stands: the outcome when there is one, and `202` as before when there is none within the time the caller
    /// prefers to wait. What is approved is started by this call, on the authority of this principal.
    pub async fn answer(&self, id: ApprovalId, who: &Principal, preference: Preference) -> Response<B> {
        let approval = match self.find(id, who).await {
            Ok(approval) => approval,
            Err(refusal) => return refusal.into_response(),
        };
        let longest = (self.config.longest_wait)(&approval.asked.operation);
        let (wait, applied) = preference.apply(Wait::Ticket, longest);
        let (hold, seat) = match wait {
            Wait::Hold(hold) if !hold.is_zero() => match self.config.seats.take(&who.key) {
                Some(seat) => (hold, Some(seat)),
                None => return crowded().with_approval(id).into_response(),
            },
            Wait::Hold(_) | Wait::Ticket => (Duration::ZERO, None),
        };
        let mut answer = held(&self.config, approval, who, hold).await;
        drop(seat);
        if let Some(applied) = applied {
            answer.headers_mut().insert(PREFERENCE_APPLIED, applied);
        }
        answer
    }

    /// What its requester is told who asks for the same again: its ticket, or what [`answer`](Self::answer) says.
    pub async fn again(&self, approval: Approval, who: &Principal, preference: Preference) -> Response<B> {
        match ticket(&self.config, &approval) {
            Some(answer) => answer,
            None => self.answer(approval.id(), who, preference).await,
        }
    }
}

impl<B> Clone for WaitingRoom<B> {
    fn clone(&self) -> Self {
        Self { config: Arc::clone(&self.config) }
    }
}

impl<B> fmt::Debug for WaitingRoom<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitingRoom").finish_non_exhaustive()
    }
}

/// An approval as it moves; holds one of the seats of those who are held.
pub struct Watch<B> {
    config: Arc<Config<B>>,
    approval: Approval,
    told: Option<Phase>,
    ear: Ear,
    _seat: Seat,
}

impl<B> fmt::Debug for Watch<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("approval", &self.approval.id()).finish_non_exhaustive()
    }
}

impl<B> Watch<B> {
    /// The approval as it was last seen.
    #[must_use]
    pub fn approval(&self) -> &Approval {
        &self.approval
    }

    /// The state it is in, once that is another phase than the one told last; `None` after one that never changes,
    /// when the approval is gone, and when nobody is held any more.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no state.
    pub async fn next(&mut self) -> Option<State> {
        if self.told.is_some_and(Phase::is_terminal) {
            return None;
        }
        loop {
            let state = self.approval.state_at(self.config.clock.now());
            if self.told != Some(state.phase()) {
                self.told = Some(state.phase());
                return Some(state);
            }
            tokio::select! {
                // A ring or the end of the pause: look again.
                _ = timeout(self.config.pause(), self.ear.heard()) => (),
                () = self.config.path.ended() => return None,
            }
            match self.config.store.find(self.approval.id()).await {
                Ok(row) => self.approval = row?,
                Err(error) => {
                    tracing::warn!(%error, approval = %self.approval.id(), "a watched approval cannot be seen")
                }
            }
        }
    }
}

use std::time::Duration;

use crewgate_core::{Operation, Principal, Refusal, RunId};
use futures_util::future::BoxFuture;
use http::Response;

use crate::Approval;

/// How a caller waits for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the caller is let go or is not")]
pub enum Wait {
    /// Answered at once with something to ask for later; where the operation has no such answer, with `202`.
    Ticket,
    /// Kept waiting for at most this long, then as a ticket.
    Hold(Duration),
}

/// What a caller is told who does not wait: the operation's own kind of "accepted", e.g. a kickoff id whose status
/// says that people are asked.
pub trait Tickets<B>: Send + Sync + 'static {
    /// Whether this operation can be answered by a ticket at all.
    fn offers(&self, operation: &Operation) -> bool;

    /// Reserves the run id the ticket will name, durably and owned by the requester, before anybody is asked.
    ///
    /// # Errors
    ///
    /// The refusal the caller gets instead; nobody is asked then.
    fn reserve<'a>(
        &'a self,
        requester: &'a Principal,
        operation: &'a Operation,
    ) -> BoxFuture<'a, Result<RunId, Refusal>>;

    /// The answer that names the run of this approval.
    fn answer(&self, approval: &Approval) -> Response<B>;
}

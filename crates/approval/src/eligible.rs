use std::{collections::BTreeSet, fmt};

use crewgate_core::{ApproverSet, Principal};
use futures_util::future::BoxFuture;

/// Nobody can say right now which sets a person belongs to, so they may not speak.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EligibilityUnknown(
    /// Why, for the log.
    pub String,
);

impl fmt::Display for EligibilityUnknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "who may approve is not known: {}", self.0)
    }
}

impl std::error::Error for EligibilityUnknown {}

/// Who may approve: which sets a person may speak for *now*. Asked anew at every vote, never remembered. A closure
/// from a principal to its sets will do.
///
/// That nobody decides on their own request is not this trait's business; the state machine sees to it.
pub trait Eligible: Send + Sync + 'static {
    /// The sets this person may speak for.
    ///
    /// # Errors
    ///
    /// [`EligibilityUnknown`]: they may not speak until it is known.
    fn sets<'a>(
        &'a self,
        approver: &'a Principal,
    ) -> BoxFuture<'a, Result<BTreeSet<ApproverSet>, EligibilityUnknown>>;
}

impl<F> Eligible for F
where
    F: Fn(&Principal) -> BTreeSet<ApproverSet> + Send + Sync + 'static,
{
    fn sets<'a>(
        &'a self,
        approver: &'a Principal,
    ) -> BoxFuture<'a, Result<BTreeSet<ApproverSet>, EligibilityUnknown>> {
        Box::pin(std::future::ready(Ok(self(approver))))
    }
}

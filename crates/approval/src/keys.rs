use crewgate_core::{ApprovalId, RequestId, Timestamp};
use futures_util::future::BoxFuture;

use crate::StoreError;

/// What a caller's own name for a call stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptKey {
    /// Of the request it was given to; see [`Keyed::fingerprint`](crewgate_core::Keyed::fingerprint).
    pub fingerprint: String,
    /// That request.
    pub request: RequestId,
    /// The approval it asked for, where it needed one.
    pub approval: Option<ApprovalId>,
}

/// Tells what callers' own names for their calls ([`Keyed`](crewgate_core::Keyed)) stand for.
///
/// There is nothing to write here: a name is taken in the transaction in which what it names begins, with the approval
/// that is opened or with the intent that is recorded, and whoever comes second is refused there. So no crash can
/// part the two. A name whose call certainly did not leave is free again.
pub trait KeyStore: Send + Sync + 'static {
    /// What this key stands for at this instant; `None` when it is free.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    fn kept<'a>(&'a self, key: &'a str, now: Timestamp)
    -> BoxFuture<'a, Result<Option<KeptKey>, StoreError>>;
}

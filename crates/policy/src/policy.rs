use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use crewgate_core::{Approvals, Decision, Operation, Principal, Timestamp};

use crate::HeldRole;

/// The question: may this principal, holding these roles, do this operation now?
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// The roles they hold at [`now`](Self::now); roles that have ended are not among them.
    pub roles: &'a [HeldRole],
    /// What they ask for.
    pub operation: &'a Operation,
    /// Approvals that were verified for exactly this request; `None` before anybody was asked.
    pub approvals: Option<&'a Approvals>,
    /// When they ask.
    pub now: Timestamp,
}

/// Answers a [`Query`]. Synchronous and without side effects: the same question gets the same answer, so a decision
/// can be replayed from the record. A closure `Fn(&Query<'_>) -> Decision` is a policy.
pub trait Policy: Send + Sync + 'static {
    /// The answer. What cannot be decided is a [`Decision::Refuse`].
    fn decide(&self, query: &Query<'_>) -> Decision;
}

impl<F> Policy for F
where
    F: Fn(&Query<'_>) -> Decision + Send + Sync + 'static,
{
    fn decide(&self, query: &Query<'_>) -> Decision {
        self(query)
    }
}

impl<P: Policy + ?Sized> Policy for Arc<P> {
    fn decide(&self, query: &Query<'_>) -> Decision {
        (**self).decide(query)
    }
}

/// A policy that can be replaced while requests are being decided: each request is decided by one version, whole.
///
/// ```
/// use crewgate_core::Decision;
/// use crewgate_policy::{Policy, Query, Swap};
///
/// let closed: fn(&Query<'_>) -> Decision = |_| Decision::refuse("closed for the night");
/// let policy = Swap::new(closed);
/// policy.replace(|_| Decision::allow());
/// ```
pub struct Swap<P: ?Sized>(RwLock<Arc<P>>);

impl<P> Swap<P> {
    /// Starts with this policy.
    pub fn new(policy: P) -> Self {
        Self(RwLock::new(Arc::new(policy)))
    }

    /// Decides with this policy from the next question on; gives back the earlier one.
    pub fn replace(&self, policy: P) -> Arc<P> {
        self.replace_shared(Arc::new(policy))
    }
}

impl<P: ?Sized> Swap<P> {
    /// The policy that decides now.
    #[must_use]
    pub fn current(&self) -> Arc<P> {
        // Nothing can panic while the lock is held, so a poisoned lock still holds a whole policy.
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Like [`replace`](Self::replace), for a policy that is already shared.
    pub fn replace_shared(&self, policy: Arc<P>) -> Arc<P> {
        std::mem::replace(&mut *self.0.write().unwrap_or_else(PoisonError::into_inner), policy)
    }
}

impl<P: Policy + ?Sized> Policy for Swap<P> {
    fn decide(&self, query: &Query<'_>) -> Decision {
        self.current().decide(query)
    }
}

impl<P: ?Sized> fmt::Debug for Swap<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Swap(..)")
    }
}

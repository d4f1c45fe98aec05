use std::{fmt, sync::Arc};

use crewgate_approval::{ApprovalStore, DelegationStore, Eligible, GrantStore};
use crewgate_audit::{AuditStore, Erasure};
use crewgate_core::{Clock, Principal, SystemClock};
use crewgate_oidc::{Revocations, TokenInventory};
use crewgate_runs::RunLedger;
use futures_util::future::{BoxFuture, ready};

use crate::{BreaksGlass, Drill, Requestable, Restore, Show};

/// Who may read the runs and requests of others. A closure from a principal to yes or no will do.
pub trait ReadsRecord: Send + Sync + 'static {
    /// Whether this principal may, now. Who cannot tell says no.
    fn reads_record<'a>(&'a self, principal: &'a Principal) -> BoxFuture<'a, bool>;
}

impl<F: Fn(&Principal) -> bool + Send + Sync + 'static> ReadsRecord for F {
    fn reads_record<'a>(&'a self, principal: &'a Principal) -> BoxFuture<'a, bool> {
        Box::pin(ready(self(principal)))
    }
}

/// Who may revoke tokens. A closure from a principal to yes or no will do.
pub trait Revokes: Send + Sync + 'static {
    /// Whether this principal may, now. Who cannot tell says no.
    fn revokes<'a>(&'a self, principal: &'a Principal) -> BoxFuture<'a, bool>;
}

impl<F: Fn(&Principal) -> bool + Send + Sync + 'static> Revokes for F {
    fn revokes<'a>(&'a self, principal: &'a Principal) -> BoxFuture<'a, bool> {
        Box::pin(ready(self(principal)))
    }
}

/// Revocations, and who may make them.
#[derive(Clone)]
pub(crate) struct Revoking {
    pub(crate) revocations: Revocations,
    pub(crate) by: Arc<dyn Revokes>,
}

/// Who may give up what the record holds. A closure from a principal to yes or no will do.
pub trait Erases: Send + Sync + 'static {
    /// Whether this principal may, now. Who cannot tell says no.
    fn erases<'a>(&'a self, principal: &'a Principal) -> BoxFuture<'a, bool>;
}

impl<F: Fn(&Principal) -> bool + Send + Sync + 'static> Erases for F {
    fn erases<'a>(&'a self, principal: &'a Principal) -> BoxFuture<'a, bool> {
        Box::pin(ready(self(principal)))
    }
}

/// What is erased, and who may do it.
#[derive(Clone)]
pub(crate) struct Erasing {
    pub(crate) record: Arc<dyn Erasure>,
    pub(crate) by: Arc<dyn Erases>,
}

/// What the [`router`](crate::router) stands on.
#[derive(Clone)]
pub struct Console {
    pub(crate) approvals: Arc<dyn ApprovalStore>,
    pub(crate) audit: Arc<dyn AuditStore>,
    pub(crate) runs: Arc<dyn RunLedger>,
    pub(crate) grants: Option<Arc<dyn GrantStore>>,
    pub(crate) requestable: Option<Arc<dyn Requestable>>,
    pub(crate) delegations: Option<Arc<dyn DelegationStore>>,
    pub(crate) glass: Option<Arc<dyn BreaksGlass>>,
    pub(crate) drill: Option<Arc<dyn Drill>>,
    pub(crate) eligible: Arc<dyn Eligible>,
    pub(crate) show: Arc<dyn Show>,
    pub(crate) readers: Arc<dyn ReadsRecord>,
    pub(crate) restore: Option<Arc<dyn Restore>>,
    pub(crate) revoking: Option<Revoking>,
    pub(crate) erasing: Option<Erasing>,
    pub(crate) inventory: Option<Arc<dyn TokenInventory>>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Console {
    /// A console over these ports. Nobody reads what is not theirs until [`record_readers`](Self::record_readers)
    /// says who.
    pub fn new(
        approvals: Arc<dyn ApprovalStore>,
        audit: Arc<dyn AuditStore>,
        runs: Arc<dyn RunLedger>,
        eligible: Arc<dyn Eligible>,
        show: Arc<dyn Show>,
    ) -> Self {
        let nobody = |_: &Principal| false;
        Self {
            approvals,
            audit,
            runs,
            grants: None,
            requestable: None,
            delegations: None,
            glass: None,
            drill: None,
            eligible,
            show,
            readers: Arc::new(nobody),
            restore: None,
            revoking: None,
            erasing: None,
            inventory: None,
            clock: Arc::new(SystemClock),
        }
    }

    /// Who may read the runs and requests of others. Default nobody.
    #[must_use]
    pub fn record_readers(mut self, readers: Arc<dyn ReadsRecord>) -> Self {
        self.readers = readers;
        self
    }

    /// Shows these temporary grants, and takes them away. Without them the routes of grants answer 404.
    #[must_use]
    pub fn grants(mut self, grants: Arc<dyn GrantStore>) -> Self {
        self.grants = Some(grants);
        self
    }

    /// Lets everybody ask for these roles, for a while. Without it no role can be asked for.
    #[must_use]
    pub fn requestable(mut self, roles: Arc<dyn Requestable>) -> Self {
        self.requestable = Some(roles);
        self
    }

    /// Lets approvers lend their voices. Without it the routes of delegations answer 404, and nobody speaks for another.
    #[must_use]
    pub fn delegations(mut self, delegations: Arc<dyn DelegationStore>) -> Self {
        self.delegations = Some(delegations);
        self
    }

    /// Lets these people break the glass. Without it nobody may.
    #[must_use]
    pub fn break_glass(mut self, by: Arc<dyn BreaksGlass>) -> Self {
        self.glass = Some(by);
        self
    }

    /// Shows readers of the record which approvers could be reached. Without it the route answers 404.
    #[must_use]
    pub fn drill(mut self, drill: Arc<dyn Drill>) -> Self {
        self.drill = Some(drill);
        self
    }

    /// Turns masks back for those who are entitled to it. Without it the route answers 404.
    #[must_use]
    pub fn restore(mut self, restore: Arc<dyn Restore>) -> Self {
        self.restore = Some(restore);
        self
    }

    /// Lets these people revoke tokens. Without it the routes of revocations answer 404.
    #[must_use]
    pub fn revocations(mut self, revocations: Revocations, by: Arc<dyn Revokes>) -> Self {
        self.revoking = Some(Revoking { revocations, by });
        self
    }

    /// Lets these people give up what the record holds. Without it the routes for that answer 404.
    #[must_use]
    pub fn erasure(mut self, record: Arc<dyn Erasure>, by: Arc<dyn Erases>) -> Self {
        self.erasing = Some(Erasing { record, by });
        self
    }

    /// Shows readers of the record whose tokens are in use. Without it the route answers 404.
    #[must_use]
    pub fn inventory(mut self, inventory: Arc<dyn TokenInventory>) -> Self {
        self.inventory = Some(inventory);
        self
    }

    /// Another clock.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").finish_non_exhaustive()
    }
}

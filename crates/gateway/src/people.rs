//! Who holds which role, who may approve, who may read the record: from configuration, evaluated at use.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    sync::Arc,
};

use crewgate_approval::{EligibilityUnknown, Eligible};
use crewgate_console::ReadsRecord;
use crewgate_core::{ApproverSet, Clock, HumanId, Principal, PrincipalKey, RoleName};
use crewgate_policy::{RoleBinding, StaticRoles};
use futures_util::future::{BoxFuture, ready};

use crate::config::{ApproverSettings, PersonSettings, RoleSettings, Settings};

/// Roles, approver sets and record readers.
#[derive(Clone)]
pub(crate) struct People {
    roles: Arc<StaticRoles>,
    approvers: Arc<Vec<ApproverSettings>>,
    readers: Arc<BTreeSet<String>>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for People {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("People").field("approvers", &self.approvers).finish_non_exhaustive()
    }
}

impl People {
    /// The people of a configuration.
    #[must_use]
    pub(crate) fn new(settings: &Settings, clock: Arc<dyn Clock>) -> Self {
        Self {
            roles: Arc::new(StaticRoles::new(settings.roles.iter().map(binding))),
            approvers: Arc::new(settings.approvers.clone()),
            readers: Arc::new(settings.record_readers.clone()),
            clock,
        }
    }

    /// The bindings, as policy asks for them.
    #[must_use]
    pub(crate) fn roles(&self) -> Arc<StaticRoles> {
        Arc::clone(&self.roles)
    }

    /// How many different people of a set must say yes.
    #[must_use]
    pub(crate) fn need(&self, set: &ApproverSet) -> NonZeroU32 {
        let found = self.approvers.iter().find(|approvers| approvers.name == set.as_str());
        // A set policy names is a set the configuration knows: policy does not load otherwise.
        found.map_or(NonZeroU32::MAX, |approvers| approvers.need)
    }

    fn held(&self, principal: &Principal) -> BTreeSet<String> {
        let held = self.roles.held(principal, self.clock.now());
        held.into_iter().map(|role| role.name.as_str().to_owned()).collect()
    }
}

impl Eligible for People {
    fn sets<'a>(
        &'a self,
        approver: &'a Principal,
    ) -> BoxFuture<'a, Result<BTreeSet<ApproverSet>, EligibilityUnknown>> {
        let held = self.held(approver);
        let sets = self.approvers.iter().filter(|approvers| !approvers.roles.is_disjoint(&held));
        Box::pin(ready(Ok(sets.map(|approvers| ApproverSet::new(approvers.name.as_str())).collect())))
    }
}

impl ReadsRecord for People {
    fn reads_record<'a>(&'a self, principal: &'a Principal) -> BoxFuture<'a, bool> {
        Box::pin(ready(!self.readers.is_disjoint(&self.held(principal))))
    }
}

fn binding(settings: &RoleSettings) -> RoleBinding {
    let mut binding = RoleBinding::new(RoleName::new(settings.name.as_str()));
    binding.groups = settings.groups.clone();
    binding.subjects = settings.subjects.clone();
    binding.from = settings.from;
    binding.until = settings.until;
    binding
}

/// Linked identities of one person.
pub(crate) fn persons(settings: &[PersonSettings]) -> BTreeMap<PrincipalKey, HumanId> {
    let of = |person: &PersonSettings| {
        let keys: Vec<_> =
            pairs(&person.identities).map(|(issuer, subject)| PrincipalKey::new(issuer, subject)).collect();
        keys.into_iter().map(move |key| (key, person.name.clone())).collect::<Vec<_>>()
    };
    settings.iter().flat_map(of).map(|(key, name)| (key, HumanId(name))).collect()
}

fn pairs(list: &[String]) -> impl Iterator<Item = (&str, &str)> {
    list.iter().filter_map(|text| text.split_once(':'))
}

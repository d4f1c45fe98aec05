//! Who may approve, who may read the record, who may revoke tokens: by the roles they hold when they are asked for.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use crewgate_approval::{EligibilityUnknown, Eligible, Need, Tier};
use crewgate_console::{BreaksGlass, Erases, GlassTerms, ReadsRecord, Requestable, Revokes, Terms};
use crewgate_core::{ApproverSet, Clock, Human, HumanId, Principal, PrincipalKey, RoleName};
use crewgate_policy::{RoleSource, RolesUnavailable};
use futures_util::future::BoxFuture;

use crate::{
    config::{ApproverSettings, BreakGlassSettings, PersonSettings, RoleRequestSettings, Settings},
    roles::JoinedRoles,
};

/// Roles, approver sets, record readers, erasers and revokers.
#[derive(Clone)]
pub(crate) struct People {
    roles: Arc<JoinedRoles>,
    approvers: Arc<Vec<ApproverSettings>>,
    requestable: Arc<BTreeMap<String, RoleRequestSettings>>,
    glass: Option<Arc<BreakGlassSettings>>,
    waits: Duration,
    readers: Arc<BTreeSet<String>>,
    erasers: Arc<BTreeSet<String>>,
    revokers: Arc<BTreeSet<String>>,
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
    pub(crate) fn new(settings: &Settings, roles: Arc<JoinedRoles>, clock: Arc<dyn Clock>) -> Self {
        Self {
            roles,
            approvers: Arc::new(settings.approvers.clone()),
            requestable: Arc::new(requestable(settings)),
            glass: settings.break_glass.clone().map(Arc::new),
            waits: settings.approval.expires,
            readers: Arc::new(settings.record_readers.clone()),
            erasers: Arc::new(settings.record_erasers.clone()),
            revokers: Arc::new(settings.revokers.clone()),
            clock,
        }
    }

    /// Who holds which role, as policy asks for it.
    #[must_use]
    pub(crate) fn roles(&self) -> Arc<JoinedRoles> {
        Arc::clone(&self.roles)
    }

    /// How many different people of a set must say yes.
    #[must_use]
    pub(crate) fn need(&self, set: &ApproverSet) -> NonZeroU32 {
        // A set policy names is a set the configuration knows: policy does not load otherwise.
        self.set(set.as_str()).map_or(NonZeroU32::MAX, |approvers| approvers.need)
    }

    fn set(&self, name: &str) -> Option<&ApproverSettings> {
        self.approvers.iter().find(|approvers| approvers.name == name)
    }

    /// Whom a request to a set goes to while nobody decides: one after the other, each when it has waited for the one
    /// before.
    #[must_use]
    pub(crate) fn escalation(&self, set: &ApproverSet) -> Vec<Tier> {
        let mut tiers: Vec<Tier> = Vec::new();
        let mut from = self.set(set.as_str());
        while let Some(next) = from.and_then(|set| set.escalation.as_ref()) {
            let waited = tiers.last().map(|tier| tier.after).unwrap_or_default();
            tiers.push(Tier {
                set: ApproverSet::new(next.to.as_str()),
                after: waited.saturating_add(next.after),
            });
            // No chain comes back to itself: it would not have loaded.
            from = self.set(&next.to).filter(|_| tiers.len() <= self.approvers.len());
        }
        tiers
    }

    fn needed(&self, set: ApproverSet) -> Need {
        Need { count: self.need(&set), then: self.escalation(&set), set }
    }

    /// The roles they hold for no call in particular: one that was given for some calls makes nobody an approver.
    async fn held(&self, principal: &Principal) -> Result<BTreeSet<String>, RolesUnavailable> {
        let held = self.roles.roles(principal, None, self.clock.now()).await?;
        Ok(held.into_iter().map(|role| role.name.as_str().to_owned()).collect())
    }
}

impl People {
    /// Who cannot be told entitled is not.
    async fn hold_one_of(&self, roles: &BTreeSet<String>, principal: &Principal, what: &str) -> bool {
        match self.held(principal).await {
            Ok(held) => !roles.is_disjoint(&held),
            Err(error) => {
                tracing::error!(%error, principal = %principal.key, "who may {what} is not known");
                false
            }
        }
    }
}

impl Eligible for People {
    fn sets<'a>(
        &'a self,
        approver: &'a Principal,
    ) -> BoxFuture<'a, Result<BTreeSet<ApproverSet>, EligibilityUnknown>> {
        Box::pin(async move {
            let held = self.held(approver).await.map_err(|error| EligibilityUnknown(error.to_string()))?;
            let sets = self.approvers.iter().filter(|approvers| !approvers.roles.is_disjoint(&held));
            Ok(sets.map(|approvers| ApproverSet::new(approvers.name.as_str())).collect())
        })
    }
}

impl Requestable for People {
    fn terms(&self, role: &RoleName) -> Option<Terms> {
        let request = self.requestable.get(role.as_str())?;
        let sets = request.approvers.iter().map(|name| ApproverSet::new(name.as_str()));
        let needs = sets.map(|set| self.needed(set)).collect();
        Some(Terms { needs, longest: request.longest, waits: self.waits })
    }
}

impl BreaksGlass for People {
    fn glass<'a>(&'a self, who: &'a Principal) -> BoxFuture<'a, Option<GlassTerms>> {
        Box::pin(async move {
            let glass = self.glass.as_deref()?;
            if !self.hold_one_of(&glass.roles, who, "break the glass").await {
                return None;
            }
            let sets =
                |names: &BTreeSet<String>| names.iter().map(|set| ApproverSet::new(set.as_str())).collect();
            Some(GlassTerms {
                instead_of: sets(&glass.instead_of),
                reviewers: sets(&glass.reviewers),
                within: glass.within,
                fresh: glass.fresh,
                classes: glass.acr.clone(),
            })
        })
    }
}

impl ReadsRecord for People {
    fn reads_record<'a>(&'a self, principal: &'a Principal) -> BoxFuture<'a, bool> {
        Box::pin(self.hold_one_of(&self.readers, principal, "read the record"))
    }
}

impl Erases for People {
    fn erases<'a>(&'a self, principal: &'a Principal) -> BoxFuture<'a, bool> {
        Box::pin(self.hold_one_of(&self.erasers, principal, "give up what the record holds"))
    }
}

impl Revokes for People {
    fn revokes<'a>(&'a self, principal: &'a Principal) -> BoxFuture<'a, bool> {
        Box::pin(self.hold_one_of(&self.revokers, principal, "revoke tokens"))
    }
}

fn requestable(settings: &Settings) -> BTreeMap<String, RoleRequestSettings> {
    settings.roles.iter().filter_map(|role| Some((role.name.clone(), role.request.clone()?))).collect()
}

/// Linked identities of one person.
pub(crate) fn persons(settings: &[PersonSettings]) -> BTreeMap<PrincipalKey, Human> {
    let keys = |person: &PersonSettings| -> Vec<PrincipalKey> {
        pairs(&person.identities).map(|(issuer, subject)| PrincipalKey::new(issuer, subject)).collect()
    };
    let of = |person: &PersonSettings| {
        let human = Human::new(HumanId(person.name.clone()), keys(person));
        keys(person).into_iter().map(move |key| (key, human.clone()))
    };
    settings.iter().flat_map(of).collect()
}

fn pairs(list: &[String]) -> impl Iterator<Item = (&str, &str)> {
    list.iter().filter_map(|text| text.split_once(':'))
}

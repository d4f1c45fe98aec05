//! Which approvers could be reached if something waited now.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crewgate_approval::{Delegation, DelegationFilter, DelegationStore};
use crewgate_console::{Drill, Reach};
use crewgate_core::{ApproverSet, PrincipalKey, PrincipalKind, Timestamp};
use crewgate_oidc::{SeenTokens, TokenInventory};
use futures_util::future::BoxFuture;

use crate::{
    config::{ApproverSettings, Occasion, Settings},
    live::Live,
    stack::Parts,
};

/// Rows of the inventory that are read at once.
const PAGE: u32 = 1000;

/// What is known of who was seen, and what was lent.
pub(crate) struct DrillDesk {
    live: Live,
    settings: Arc<Settings>,
    inventory: Arc<dyn TokenInventory>,
    delegations: Arc<dyn DelegationStore>,
}

impl DrillDesk {
    pub(crate) fn new(parts: &Parts) -> Self {
        Self {
            live: parts.live.clone(),
            settings: Arc::clone(&parts.settings),
            inventory: Arc::clone(&parts.inventory),
            delegations: Arc::clone(&parts.delegations),
        }
    }

    /// People who were seen since then.
    async fn people(&self, since: Timestamp) -> Result<Vec<SeenTokens>, String> {
        let mut people = Vec::new();
        let mut offset = 0;
        loop {
            let page = self.inventory.seen(offset, PAGE).await.map_err(|error| error.to_string())?;
            let read = u32::try_from(page.len()).unwrap_or(u32::MAX);
            people
                .extend(page.into_iter().filter(|row| row.kind == PrincipalKind::User && row.last >= since));
            if read < PAGE {
                return Ok(people);
            }
            offset = offset.saturating_add(read);
        }
    }

    /// One line for each person: linked identities are one.
    fn seen(&self, set: &ApproverSettings, people: &[SeenTokens]) -> Vec<(String, Timestamp)> {
        let mut seen: BTreeMap<String, Timestamp> = BTreeMap::new();
        for row in people.iter().filter(|row| !row.roles.is_disjoint(&set.roles)) {
            let key = PrincipalKey::new(&row.issuer, &row.subject);
            let who = self.live.person(&key).map_or_else(|| key.to_string(), |human| human.name().0.clone());
            let last = seen.entry(who).or_insert(row.last);
            *last = row.last.max(*last);
        }
        seen.into_iter().collect()
    }
}

impl Drill for DrillDesk {
    fn drill(&self, since: Timestamp, now: Timestamp) -> BoxFuture<'_, Result<Vec<Reach>, String>> {
        Box::pin(async move {
            let people = self.people(since).await?;
            let lent = DelegationFilter { limit: std::num::NonZeroUsize::MAX, ..DelegationFilter::at(now) };
            let lent = self.delegations.list(lent).await.map_err(|error| error.to_string())?;
            let now_set = self.live.current();
            let reach = |set: &ApproverSettings| {
                let name = ApproverSet::new(set.name.as_str());
                Reach {
                    need: set.need.get(),
                    bound: bound(now_set.settings(), set, now),
                    seen: self.seen(set, &people),
                    lent: lent
                        .iter()
                        .filter(|lent| lent.counts_at(now) && lent.given.sets.contains(&name))
                        .map(|Delegation { given, .. }| {
                            format!("{} to {} until {}", given.by.key, given.to, given.until)
                        })
                        .collect(),
                    told: told(&self.settings, &name),
                    then: self
                        .live
                        .escalation(&name)
                        .into_iter()
                        .map(|tier| (tier.set, tier.after))
                        .collect(),
                    set: name,
                }
            };
            Ok(now_set.settings().approvers.iter().map(reach).collect())
        })
    }
}

/// Groups and identities whose tables count now, those of roles that include one of the set's too.
fn bound(settings: &Settings, set: &ApproverSettings, now: Timestamp) -> Vec<String> {
    let counts = |from: Option<Timestamp>, until: Option<Timestamp>| {
        from.is_none_or(|from| from <= now) && until.is_none_or(|until| now < until)
    };
    let mut roles: BTreeSet<&str> = set.roles.iter().map(String::as_str).collect();
    loop {
        let more = settings.roles.iter().filter(|role| {
            counts(role.from, role.until) && role.includes.iter().any(|other| roles.contains(other.as_str()))
        });
        let more: Vec<&str> =
            more.map(|role| role.name.as_str()).filter(|name| !roles.contains(name)).collect();
        if more.is_empty() {
            break;
        }
        roles.extend(more);
    }
    let tables = settings.roles.iter().filter(|role| roles.contains(role.name.as_str()));
    let tables = tables.filter(|role| counts(role.from, role.until));
    tables
        .flat_map(|role| role.groups.iter().chain(&role.subjects))
        .cloned()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

/// Receivers that hear when this set is asked.
fn told(settings: &Settings, set: &ApproverSet) -> Vec<String> {
    let hears = settings.notify.iter().filter(|notify| {
        notify.on.contains(&Occasion::Asked)
            && (notify.approvers.is_empty() || notify.approvers.contains(set))
    });
    hears.map(|notify| notify.name.clone()).collect()
}

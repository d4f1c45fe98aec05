//! Who holds which role: the bindings of the configuration joined with the grants of the store, looked up for every
//! decision.

mod explain;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use crewgate_approval::{Grant, GrantStore};
use crewgate_core::{Operation, Principal, RoleName, Timestamp};
use crewgate_policy::{BoxFuture, HeldBy, HeldRole, RoleBinding, RoleSource, RolesUnavailable, StaticRoles};

pub(crate) use self::explain::explain;
use crate::config::{RoleSettings, Settings};

/// How long before its end a role is told to be about to end.
pub(crate) const SOON: Duration = Duration::from_secs(7 * 86_400);

/// The bindings of a configuration.
#[must_use]
pub(crate) fn bindings(settings: &Settings) -> StaticRoles {
    StaticRoles::new(settings.roles.iter().map(binding)).nested(settings.nesting.clone())
}

fn binding(settings: &RoleSettings) -> RoleBinding {
    RoleBinding {
        groups: settings.groups.clone(),
        subjects: settings.subjects.clone(),
        from: settings.from,
        until: settings.until,
        ..RoleBinding::new(RoleName::new(settings.name.as_str()))
    }
}

/// Bindings and grants together: what policy and eligibility ask.
pub(crate) struct JoinedRoles {
    bindings: StaticRoles,
    grants: Arc<dyn GrantStore>,
}

impl JoinedRoles {
    #[must_use]
    pub(crate) fn new(settings: &Settings, grants: Arc<dyn GrantStore>) -> Self {
        Self { bindings: bindings(settings), grants }
    }
}

impl RoleSource for JoinedRoles {
    fn roles<'a>(
        &'a self,
        principal: &'a Principal,
        operation: Option<&'a Operation>,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Vec<HeldRole>, RolesUnavailable>> {
        Box::pin(async move {
            // Never remembered: a grant that was taken away is gone with the next call.
            let grants = self.grants.of(&principal.key, now).await;
            let grants = grants.map_err(|error| RolesUnavailable { reason: error.to_string() })?;
            let given = grants.iter().filter(|grant| grant.counts_for(operation, now)).map(held);
            let claims = self.bindings.claims(principal).chain(given);
            Ok(self.bindings.nesting().expand_for(principal, claims, now))
        })
    }
}

/// A grant as a way to hold its role.
fn held(grant: &Grant) -> HeldRole {
    let by = HeldBy::Grant { id: grant.id(), narrowed: !grant.given.narrowed.is_none() };
    HeldRole {
        from: Some(grant.given.from),
        until: Some(grant.given.until),
        ..HeldRole::new(grant.given.role.clone(), by)
    }
}

/// Whether something that lasts until then is about to end.
fn ends_soon(until: Option<Timestamp>, now: Timestamp) -> bool {
    until.is_some_and(|until| now < until && until.since(now) <= SOON)
}

/// Tables of roles that end within [`SOON`] or have ended, in words: which, and when.
pub(crate) fn ending(settings: &Settings, now: Timestamp) -> Vec<(String, String)> {
    let dated = settings.roles.iter().filter_map(|role| Some((role, role.until?)));
    let told =
        dated.filter(|(_, until)| *until <= now || ends_soon(Some(*until), now)).map(|(role, until)| {
            let holders: Vec<&str> = role.groups.iter().chain(&role.subjects).map(String::as_str).collect();
            let holders =
                if holders.is_empty() { String::new() } else { format!(" of {}", holders.join(", ")) };
            let verb = if until <= now { "ended" } else { "ends" };
            (format!("role {}{holders}", role.name), format!("{verb} at {until}"))
        });
    told.collect()
}

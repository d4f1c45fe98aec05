//! Why somebody holds a role, or does not.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use crewgate_approval::{Grant, GrantState, Narrowing};
use crewgate_core::{InputValue, Principal, RoleName, Timestamp};
use crewgate_policy::{HeldRole, RoleBinding, StaticRoles};
use serde::Serialize;

use super::{ends_soon, held};

/// What one principal has to do with every role.
#[derive(Debug, Serialize)]
pub(crate) struct Explanation {
    principal: String,
    groups: Vec<String>,
    at: String,
    roles: Vec<RoleReport>,
}

#[derive(Debug, Serialize)]
struct RoleReport {
    role: RoleName,
    held: Held,
    ways: Vec<Way>,
    /// What does not count, and why.
    not: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Held {
    Yes,
    /// For some calls only.
    Narrowed,
    No,
}

/// One way by which a role is held.
#[derive(Debug, Serialize)]
struct Way {
    by: String,
    through: Vec<RoleName>,
    since: Option<String>,
    until: Option<String>,
    ends_soon: bool,
    /// The calls it counts for, where it does not count for all.
    only: Option<String>,
}

/// Explains the roles of the configuration, and those that were given without being there. `grants` are all of this
/// principal's, with those that are over.
pub(crate) fn explain(
    bindings: &StaticRoles,
    grants: &[Grant],
    principal: &Principal,
    now: Timestamp,
) -> Explanation {
    let mut ways = BTreeMap::<RoleName, Vec<Way>>::new();
    let counting = |grant: &&Grant| matches!(grant.state_at(now), GrantState::Live | GrantState::UsedUp);
    let given = grants.iter().filter(counting).map(|grant| (held(grant), Some(grant)));
    for (claim, grant) in bindings.claims(principal).map(|claim| (claim, None)).chain(given) {
        // Each by itself, so that every way is shown and not the best alone.
        for role in bindings.nesting().expand([claim], now) {
            ways.entry(role.name.clone()).or_default().push(Way::of(&role, grant, now));
        }
    }
    let configured: BTreeSet<&RoleName> = bindings.bindings().iter().map(|binding| &binding.role).collect();
    let standing: BTreeSet<RoleName> = ways.keys().cloned().collect();
    let given = grants.iter().map(|grant| &grant.given.role);
    let names: BTreeSet<&RoleName> = configured.iter().copied().chain(given).collect();
    let report = |name: &RoleName| {
        let ways = ways.remove(name).unwrap_or_default();
        let held = match ways.iter().find(|way| way.only.is_none()) {
            Some(_) => Held::Yes,
            None if ways.is_empty() => Held::No,
            None => Held::Narrowed,
        };
        let tables = bindings.bindings().iter().filter(|binding| binding.role == *name);
        let mut not: Vec<String> = tables.filter_map(|table| passed_over(table, principal, now)).collect();
        let mine = grants.iter().filter(|grant| grant.given.role == *name);
        not.extend(mine.filter_map(|grant| not_counting(grant, now)));
        for role in &configured {
            for step in bindings.nesting().inclusions(role).iter().filter(|step| step.includes == *name) {
                if !standing.contains(*role) {
                    not.push(format!("{role} includes it, which is not held"));
                } else if let Some(when) = outside(step.from, step.until, now) {
                    not.push(format!("{role} includes it, which {when}"));
                }
            }
        }
        if !configured.contains(name) {
            not.push("the configuration has no such role: no rule can name it".to_owned());
        } else if held == Held::No && not.is_empty() {
            not.push("nobody is bound to it, and it was not given".to_owned());
        }
        RoleReport { role: name.clone(), held, ways, not }
    };
    Explanation {
        principal: principal.key.to_string(),
        groups: principal.groups.iter().map(str::to_owned).collect(),
        at: now.to_string(),
        roles: names.into_iter().map(report).collect(),
    }
}

impl Way {
    fn of(role: &HeldRole, grant: Option<&Grant>, now: Timestamp) -> Self {
        Self {
            by: role.by.to_string(),
            through: role.through.clone(),
            since: role.from.map(|from| from.to_string()),
            until: role.until.map(|until| until.to_string()),
            ends_soon: ends_soon(role.until, now),
            only: grant.and_then(only),
        }
    }
}

/// Why a table that names the role gives it to this principal not now.
fn passed_over(table: &RoleBinding, principal: &Principal, now: Timestamp) -> Option<String> {
    match table.claim(principal) {
        Some(claim) => {
            outside(claim.from, claim.until, now).map(|when| format!("by {}, which {when}", claim.by))
        }
        None if table.groups.is_empty() && table.subjects.is_empty() => None,
        None => {
            let groups = table.groups.iter().map(|group| format!("group {group}"));
            let subjects = table.subjects.iter().map(|subject| format!("subject {subject}"));
            let bound: Vec<String> = groups.chain(subjects).collect();
            Some(format!("bound to {}: the caller is none of these", bound.join(", ")))
        }
    }
}

fn not_counting(grant: &Grant, now: Timestamp) -> Option<String> {
    let id = grant.id();
    match (grant.state_at(now), &grant.revoked) {
        (_, Some(revoked)) => Some(format!("grant {id} was taken away by {} at {}", revoked.by, revoked.at)),
        (GrantState::UsedUp, _) => Some(format!("grant {id} is used up: it only reads")),
        (GrantState::Coming | GrantState::Ended, _) => {
            let when = outside(Some(grant.given.from), Some(grant.given.until), now)?;
            Some(format!("grant {id}, which {when}"))
        }
        (GrantState::Live | GrantState::Revoked, _) => None,
    }
}

fn outside(from: Option<Timestamp>, until: Option<Timestamp>, now: Timestamp) -> Option<String> {
    match (from, until) {
        (_, Some(until)) if until <= now => Some(format!("ended at {until}")),
        (Some(from), _) if now < from => Some(format!("begins at {from}")),
        _ => None,
    }
}

/// What a narrowed grant counts for, in words.
fn only(grant: &Grant) -> Option<String> {
    let Narrowing { resources, inputs, uses } = &grant.given.narrowed;
    let mut words = Vec::new();
    if !resources.is_empty() {
        words.push(format!("on {}", resources.iter().map(String::as_str).collect::<Vec<_>>().join(", ")));
    }
    words.extend(inputs.iter().map(|(name, value)| format!("with {name} = {}", Plain(value))));
    words.extend(uses.map(|uses| format!("{} of {uses} times more", uses.get().saturating_sub(grant.used))));
    (!words.is_empty()).then(|| words.join(", "))
}

struct Plain<'a>(&'a InputValue);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        serde_json::to_value(self.0).map_err(|_| fmt::Error)?.fmt(f)
    }
}

/// For a terminal: what is held first, then what is not.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups = if self.groups.is_empty() { "no group".to_owned() } else { self.groups.join(", ") };
        write!(f, "{} in {groups}, at {}", self.principal, self.at)?;
        for (title, held) in
            [("held", Held::Yes), ("held for some calls only", Held::Narrowed), ("not held", Held::No)]
        {
            let of_kind: Vec<_> = self.roles.iter().filter(|role| role.held == held).collect();
            if !of_kind.is_empty() {
                write!(f, "\n\n{title}")?;
            }
            for report in of_kind {
                write!(f, "\n  {}", report.role)?;
                for way in &report.ways {
                    write!(f, "\n    {way}")?;
                }
                for reason in &report.not {
                    write!(f, "\n    not: {reason}")?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "by {}", self.by)?;
        if !self.through.is_empty() {
            let through: Vec<_> = self.through.iter().map(RoleName::as_str).collect();
            write!(f, ", through {}", through.join(" → "))?;
        }
        if let Some(since) = &self.since {
            write!(f, ", since {since}")?;
        }
        match (&self.until, self.ends_soon) {
            (Some(until), true) => write!(f, ", until {until} (ends soon)")?,
            (Some(until), false) => write!(f, ", until {until}")?,
            (None, _) => f.write_str(", without end")?,
        }
        match &self.only {
            Some(only) => write!(f, "; only {only}"),
            None => Ok(()),
        }
    }
}

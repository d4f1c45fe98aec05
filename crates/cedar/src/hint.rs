//! What would help a caller whom nothing permits: told by permits whose author says that it may be told.

use cedar_policy::ResourceConstraint;
use crewgate_core::{Hint, Resource};
use crewgate_policy::{HeldBy, HeldRole, Query};

use crate::{engine::Engine, rule::Rule};

/// Permits with a hint that are tried for one refusal: each costs about a decision.
const MAX_TRIED: usize = 8;

impl Engine {
    /// The hints of permits that this request lacks only a role for. A hint that would lead nowhere, because a guard
    /// refuses all the same, is not given.
    pub(crate) fn hints(&self, query: &Query<'_>) -> Vec<Hint> {
        let rules = self.hinted.iter().filter_map(|id| self.rules.get(id));
        let concerned = rules.filter(|rule| concerns(rule, &query.operation.resource));
        concerned.take(MAX_TRIED).filter_map(|rule| self.hint(query, rule)).collect()
    }

    fn hint(&self, query: &Query<'_>, rule: &Rule) -> Option<Hint> {
        let text = rule.hint.clone()?;
        // As a subject of whom this is supposed, and nothing else changed.
        let supposed = |role: &crewgate_core::RoleName| {
            HeldRole::new(role.clone(), HeldBy::Subject(query.principal.key.to_string()))
        };
        let roles: Vec<_> = query.roles.iter().cloned().chain(rule.roles.iter().map(supposed)).collect();
        let (_, matches) = self.matches(&Query { roles: &roles, ..*query }).ok()?;
        let refused = !matches.broken_guards.is_empty() || matches.guards.values().any(|g| !g.has_duty());
        let permitted = matches.permits.contains_key(&rule.id);
        (permitted && !refused).then(|| Hint {
            text,
            roles: rule.roles.clone(),
            approvals: rule.approval.iter().cloned().collect(),
        })
    }
}

/// Whether the scope of a rule can mean this resource at all.
fn concerns(rule: &Rule, resource: &Resource) -> bool {
    match rule.policy.resource_constraint() {
        ResourceConstraint::Eq(uid) => uid.id().unescaped() == resource.name,
        ResourceConstraint::In(uid) => {
            let id = uid.id().unescaped();
            id == resource.name || resource.parents.iter().any(|parent| parent == id)
        }
        _ => true,
    }
}

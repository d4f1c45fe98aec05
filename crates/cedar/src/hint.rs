//! What would help a caller whom nothing permits: told by permits whose author says that it may be told.

use crewgate_core::{Hint, Operation};
use crewgate_policy::{HeldBy, HeldRole, Query};

use crate::{engine::Engine, rule::Rule};

/// Permits with a hint that are tried for one refusal: each costs about a decision.
const MAX_TRIED: usize = 8;

impl Engine {
    /// The hints of permits that this request lacks only a role for. A hint that would lead nowhere, because a guard
    /// refuses all the same, is not given.
    pub(crate) fn hints(&self, query: &Query<'_>) -> Vec<Hint> {
        if !self.hinted {
            return Vec::new();
        }
        let Operation { action, resource, .. } = query.operation;
        let concerned = self.index.candidates(None, action.as_str(), &resource.name, &resource.parents);
        let hinted = self.picked(&concerned).filter(|rule| rule.permit && rule.hint.is_some());
        hinted.take(MAX_TRIED).filter_map(|rule| self.hint(query, rule)).collect()
    }

    fn hint(&self, query: &Query<'_>, rule: &Rule) -> Option<Hint> {
        let text = rule.hint.clone()?;
        // As a subject of whom this is supposed, and nothing else changed.
        let supposed = |role: &crewgate_core::RoleName| {
            HeldRole::new(role.clone(), HeldBy::Subject(query.principal.key.to_string()))
        };
        let roles: Vec<_> = query.roles.iter().cloned().chain(rule.roles.iter().map(supposed)).collect();
        let matches = self.matches(&Query { roles: &roles, ..*query }).ok()?;
        let refused = !matches.broken_guards.is_empty() || matches.guards.iter().any(|g| !g.has_duty());
        let permitted = matches.permits.iter().any(|permit| permit.id == rule.id);
        (permitted && !refused).then(|| Hint {
            text,
            roles: rule.roles.clone(),
            approvals: rule.approval.iter().cloned().collect(),
        })
    }
}

use std::{fmt, sync::Arc};

use crewgate_core::{Decision, PolicyHash, RuleId, Timestamp};
use crewgate_policy::{Policy, Query};

use crate::{
    engine::Engine,
    facts::{Unaskable, Utc, held},
};

/// Rules in Cedar, loaded and checked. Clones share them. See the [crate's examples](crate).
#[derive(Clone)]
pub struct CedarPolicy(Arc<Engine>);

impl CedarPolicy {
    /// The rules as plain Cedar, duties compiled into conditions on `context.done`: what any other Cedar tool decides
    /// from this text with nothing done is a denial wherever a duty is asked.
    #[must_use]
    pub fn export(&self) -> String {
        self.0.export.clone()
    }

    /// The schema derived from the vocabulary, in Cedar's schema language.
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.0.schema_text
    }

    /// Digest of the exported rules and the schema: SHA-256, hex. Equal for equal rules, however they are laid out.
    #[must_use]
    pub fn hash(&self) -> &PolicyHash {
        &self.0.hash
    }

    /// The hour and weekday that rules read at an instant.
    pub(crate) fn clock(&self, at: Timestamp) -> (i64, i64) {
        let clock = Utc::of(at);
        (clock.hour, clock.weekday)
    }

    /// The loaded rules, for the tools.
    pub(crate) fn engine(&self) -> &Engine {
        &self.0
    }

    /// How many rules there are.
    #[must_use]
    pub fn rules(&self) -> usize {
        self.0.rules.len()
    }

    /// The decision on this query with the rules that matched and the facts they could read, for people.
    #[must_use]
    pub fn explain(&self, query: &Query<'_>) -> Explanation {
        let mut explanation = Explanation {
            decision: self.0.decide(query),
            permits: Vec::new(),
            guards: Vec::new(),
            broken: Vec::new(),
            facts: facts(query),
        };
        match self.0.matches(query) {
            Ok((_, matches)) => {
                explanation.permits = matches.permits.into_keys().cloned().collect();
                explanation.guards = matches.guards.into_keys().cloned().collect();
                explanation.broken =
                    matches.broken_permits.into_iter().chain(matches.broken_guards).collect();
            }
            Err(Unaskable(why)) => explanation.facts.push(("unaskable".to_owned(), why)),
        }
        explanation
    }
}

impl From<Arc<Engine>> for CedarPolicy {
    fn from(engine: Arc<Engine>) -> Self {
        Self(engine)
    }
}

impl Policy for CedarPolicy {
    fn decide(&self, query: &Query<'_>) -> Decision {
        self.0.decide(query)
    }
}

impl fmt::Debug for CedarPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CedarPolicy").field("rules", &self.rules()).field("hash", self.hash()).finish()
    }
}

/// Why a query is decided as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// The decision.
    pub decision: Decision,
    /// Permits that match, sorted by id.
    pub permits: Vec<RuleId>,
    /// Guards that match, sorted by id; none are looked at when nothing permits.
    pub guards: Vec<RuleId>,
    /// Rules that could not be evaluated, and why.
    pub broken: Vec<(RuleId, String)>,
    /// What the rules could read, by name.
    pub facts: Vec<(String, String)>,
}

fn facts(query: &Query<'_>) -> Vec<(String, String)> {
    let Query { principal, operation, now, .. } = query;
    let roles: Vec<_> = held(query).map(|role| role.name.to_string()).collect();
    let clock = Utc::of(*now);
    let mut facts = vec![
        ("principal".to_owned(), principal.key.to_string()),
        ("roles".to_owned(), roles.join(", ")),
        ("action".to_owned(), operation.action.to_string()),
        ("resource".to_owned(), operation.resource.name.clone()),
        ("fleets".to_owned(), operation.resource.parents.join(", ")),
        ("token_age".to_owned(), now.since(principal.token.issued).as_secs().to_string()),
        (
            "token_lifetime".to_owned(),
            principal.token.expires.since(principal.token.issued).as_secs().to_string(),
        ),
        ("mfa".to_owned(), principal.token.mfa.to_string()),
        ("hour".to_owned(), clock.hour.to_string()),
        ("weekday".to_owned(), clock.weekday.to_string()),
        ("body_bytes".to_owned(), operation.body_bytes.to_string()),
        ("has_undeclared_inputs".to_owned(), operation.has_undeclared_inputs.to_string()),
        ("webhook_hosts".to_owned(), operation.webhook_hosts.join(", ")),
        ("datasets".to_owned(), operation.datasets.join(", ")),
    ];
    if let Some(owner) = &operation.owner {
        facts.push(("is_owner".to_owned(), (*owner == principal.key).to_string()));
    }
    facts
        .extend(operation.inputs.iter().map(|(name, value)| (format!("input.{name}"), format!("{value:?}"))));
    facts
}

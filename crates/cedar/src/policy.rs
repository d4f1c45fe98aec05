use std::{fmt, sync::Arc};

use cedar_policy::Policy;
use crewgate_core::{Decision, PolicyHash, RuleId, Timestamp};
use crewgate_policy::{Policy as Decide, Query};

use crate::{
    Zone,
    engine::Engine,
    facts::{Facts, Unaskable, held},
    rule::Rule,
};

/// Rules in Cedar, loaded and checked. Clones share them. See the [crate's examples](crate).
#[derive(Clone)]
pub struct CedarPolicy(Arc<Engine>);

impl CedarPolicy {
    /// The rules as plain Cedar, duties compiled into conditions on `context.done`: what any other Cedar tool decides
    /// from this text with nothing done is a denial wherever a duty is asked.
    #[must_use]
    pub fn export(&self) -> String {
        // Printed from the JSON form: layout, comments and the order of files leave no trace, and a condition after
        // `unless` is the same one denied after `when`.
        let text = |rule: &Rule| {
            let rule = rule.compiled();
            let plain =
                rule.to_json().ok().and_then(|json| Policy::from_json(Some(rule.id().clone()), json).ok());
            format!("{}\n\n", plain.as_ref().unwrap_or(rule))
        };
        self.0.rules.iter().map(text).collect()
    }

    /// The schema derived from the vocabulary, in Cedar's schema language.
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.0.schema_text
    }

    /// Digest of the rules, the schema and the time zone: SHA-256, hex. Equal for equal rules, however they are laid out.
    #[must_use]
    pub fn hash(&self) -> &PolicyHash {
        &self.0.hash
    }

    /// The hour and weekday that rules read at an instant.
    pub(crate) fn clock(&self, at: Timestamp) -> (i64, i64) {
        self.0.zone.clock(at)
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
            facts: facts(query, &self.0.zone),
        };
        match self.0.matches(query) {
            Ok(matches) => {
                let ids = |rules: &[&Rule]| rules.iter().map(|rule| rule.id.clone()).collect();
                explanation.permits = ids(&matches.permits);
                explanation.guards = ids(&matches.guards);
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

impl Decide for CedarPolicy {
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

fn facts(query: &Query<'_>, zone: &Zone) -> Vec<(String, String)> {
    let Query { principal, operation, .. } = query;
    let roles: Vec<_> = held(query).map(|role| role.name.to_string()).collect();
    let who = [
        ("principal", principal.key.to_string()),
        ("roles", roles.join(", ")),
        ("action", operation.action.to_string()),
        ("resource", operation.resource.name.clone()),
        ("fleets", operation.resource.parents.join(", ")),
    ];
    let known = Facts::of(query, zone);
    let facts = known.all().map(|(name, value)| (name, value.shown().into_owned()));
    let own = who.into_iter().chain(facts).map(|(name, value)| (name.to_owned(), value));
    let inputs = operation.inputs.iter().map(|(name, value)| (format!("input.{name}"), format!("{value:?}")));
    own.chain(inputs).collect()
}

//! The rules that speak of one crew and one action, and what is known of the world they are asked about.

use std::collections::BTreeSet;

use cedar_policy::{EntityUid, Policy, PolicyId, PolicySet, ResourceConstraint};
use serde_json::{Value, json};

use crate::{engine::Engine, rule::Rule, tools::scope::speaks_of, vocabulary::CrewDeclaration};

/// Permits that are put to the solver at once, with all guards.
const PERMITS_AT_ONCE: usize = 32;

/// What no request can be otherwise, as a guard.
const WORLD: &str = r#"forbid (principal, action, resource) unless {
    context.hour >= 0 && context.hour < 24 && context.weekday >= 1 && context.weekday < 8 &&
    context.token_age >= 0 && context.token_lifetime >= 0 && context.body_bytes >= 0
};"#;

/// Rules of one set for one crew and action.
#[derive(Debug)]
pub(super) struct Slice<'e> {
    pub(super) permits: Vec<&'e Rule>,
    pub(super) guards: Vec<&'e Rule>,
}

impl<'e> Slice<'e> {
    /// The rules that can matter to `action` on `crew`: all that name a fleet too, where it may be in any.
    pub(super) fn of(
        engine: &'e Engine,
        action: &EntityUid,
        crew: &CrewDeclaration,
        any_fleets: bool,
    ) -> Self {
        // Both sorted by id.
        let rules: Vec<&Rule> = if any_fleets {
            engine.rules.iter().collect()
        } else {
            let action = action.id().unescaped();
            engine.picked(&engine.index.candidates(None, action, &crew.name, &crew.fleets)).collect()
        };
        let speaks = |rule: &&Rule| speaks(engine, &rule.policy, action, crew, any_fleets);
        let (permits, guards) = rules.into_iter().filter(speaks).partition(|rule| rule.permit);
        Self { permits, guards }
    }

    /// Sets whose permissions together are those of the slice, each small enough for a solver.
    pub(super) fn sets(&self, world: &[Policy]) -> Result<Vec<PolicySet>, String> {
        self.permits.chunks(PERMITS_AT_ONCE).map(|permits| self.set(permits, world)).collect()
    }

    /// The whole slice as one set.
    pub(super) fn whole(&self, world: &[Policy]) -> Result<PolicySet, String> {
        self.set(&self.permits, world)
    }

    fn set(&self, permits: &[&Rule], world: &[Policy]) -> Result<PolicySet, String> {
        let rules = permits.iter().chain(&self.guards);
        let compiled = rules.map(|rule| rule.compiled().clone());
        PolicySet::from_policies(compiled.chain(world.iter().cloned())).map_err(|error| error.to_string())
    }

    /// The digests of the rules as text: two slices with the same let the same through.
    pub(super) fn text(&self) -> String {
        self.permits.iter().chain(&self.guards).map(|rule| format!("{:x?}", rule.digest)).collect()
    }
}

/// Whether a rule's scope can take `action` on `crew`.
pub(super) fn speaks(
    engine: &Engine,
    policy: &Policy,
    action: &EntityUid,
    crew: &CrewDeclaration,
    any_fleets: bool,
) -> bool {
    if speaks_of(engine, policy, action, crew) {
        return true;
    }
    let (ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid)) = policy.resource_constraint()
    else {
        return false;
    };
    let there = CrewDeclaration { fleets: vec![uid.id().unescaped().to_owned()], ..crew.clone() };
    any_fleets && speaks_of(engine, policy, action, &there)
}

/// What is known of every request to `crew`, as guards: the ranges of facts, which crew it is, and of the fleets that
/// `named` rules speak of those it is in.
pub(super) fn world<'p>(
    crew: &CrewDeclaration,
    any_fleets: bool,
    named: impl IntoIterator<Item = &'p Policy>,
) -> Result<Vec<Policy>, String> {
    let mut known = vec![guard("world", WORLD)?];
    let crew_is = EntityUid::from_type_name_and_id(name("Crew")?, cedar_policy::EntityId::new(&crew.name));
    known.push(guard(
        "crew",
        &format!("forbid (principal, action, resource) unless {{ resource == {crew_is} }};"),
    )?);
    if any_fleets {
        return Ok(known);
    }
    let fleet = name("Fleet")?;
    let own = crew
        .fleets
        .iter()
        .map(|f| EntityUid::from_type_name_and_id(fleet.clone(), cedar_policy::EntityId::new(f)));
    let own: BTreeSet<String> = own.map(|uid| uid.to_string()).collect();
    let literals = named.into_iter().flat_map(|policy| policy.entity_literals());
    let spoken: BTreeSet<String> =
        literals.filter(|uid| *uid.type_name() == fleet).map(|uid| uid.to_string()).collect();
    for uid in spoken {
        let is =
            if own.contains(&uid) { format!("resource in {uid}") } else { format!("!(resource in {uid})") };
        let rule = format!("forbid (principal, action, resource) unless {{ {is} }};");
        known.push(guard(&format!("fleet {uid}"), &rule)?);
    }
    Ok(known)
}

/// A rule that says nothing of a world that cannot be.
pub(super) fn in_world(rule: &Policy) -> Result<Policy, String> {
    let of = |policy: &Policy| policy.to_json().map_err(|error| error.to_string());
    let world = of(&guard("world", WORLD)?)?;
    let world = world.pointer("/conditions/0/body").cloned().unwrap_or_default();
    let mut json = of(rule)?;
    let conditions = json.get_mut("conditions").and_then(Value::as_array_mut);
    // In front: where it is false, nothing behind it is evaluated.
    conditions.ok_or("a rule in JSON has conditions")?.insert(0, json!({ "kind": "when", "body": world }));
    Policy::from_json(Some(rule.id().clone()), json).map_err(|error| error.to_string())
}

fn guard(id: &str, text: &str) -> Result<Policy, String> {
    Policy::parse(Some(PolicyId::new(format!("known {id}"))), text).map_err(|error| error.to_string())
}

fn name(kind: &str) -> Result<cedar_policy::EntityTypeName, String> {
    kind.parse().map_err(|error: cedar_policy::ParseErrors| error.to_string())
}

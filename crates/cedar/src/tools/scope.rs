//! What a rule's scope says, without evaluating anything.

use std::collections::BTreeSet;

use cedar_policy::{ActionConstraint, EntityUid, Policy, PrincipalConstraint, ResourceConstraint};
use crewgate_core::{PrincipalKind, RoleName};

use crate::{engine::Engine, rule::Rule, vocabulary::CrewDeclaration};

/// Whether a scope takes somebody of whom not everything is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fit {
    No,
    /// When this holds of them, in Cedar's words.
    If(String),
    Yes,
}

/// What is known of a principal.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    pub(crate) kind: Option<PrincipalKind>,
    /// `issuer:subject`
    pub(crate) key: Option<String>,
    pub(crate) roles: BTreeSet<RoleName>,
    /// Whether those are all their roles.
    pub(crate) all_roles: bool,
}

impl Known {
    pub(crate) fn fits(&self, rule: &Rule) -> Fit {
        match rule.policy.principal_constraint() {
            PrincipalConstraint::Any => Fit::Yes,
            PrincipalConstraint::Eq(uid) => self.is(&uid),
            PrincipalConstraint::In(uid) => self.is_in(&uid),
            PrincipalConstraint::Is(kind) => self.is_a(&kind.to_string()),
            PrincipalConstraint::IsIn(kind, uid) => match (self.is_a(&kind.to_string()), self.is_in(&uid)) {
                (Fit::No, _) | (_, Fit::No) => Fit::No,
                (Fit::Yes, fit) | (fit, Fit::Yes) => fit,
                (Fit::If(one), Fit::If(other)) => Fit::If(format!("{one} && {other}")),
            },
        }
    }

    fn is_a(&self, kind: &str) -> Fit {
        match self.kind {
            Some(known) if type_of(known) == kind => Fit::Yes,
            Some(_) => Fit::No,
            None => Fit::If(format!("principal is {kind}")),
        }
    }

    fn is(&self, uid: &EntityUid) -> Fit {
        match (self.is_a(&uid.type_name().to_string()), &self.key) {
            (Fit::No, _) => Fit::No,
            (_, Some(key)) if key == uid.id().unescaped() => Fit::Yes,
            (_, Some(_)) => Fit::No,
            (_, None) => Fit::If(format!("principal == {uid}")),
        }
    }

    fn is_in(&self, uid: &EntityUid) -> Fit {
        if uid.type_name().to_string() != "Role" {
            // Nobody is in a person but that person.
            return self.is(uid);
        }
        if self.roles.contains(&RoleName::new(uid.id().unescaped())) {
            Fit::Yes
        } else if self.all_roles {
            Fit::No
        } else {
            Fit::If(format!("principal in {uid}"))
        }
    }
}

pub(crate) fn type_of(kind: PrincipalKind) -> &'static str {
    match kind {
        PrincipalKind::User => "User",
        PrincipalKind::Service => "Service",
    }
}

/// Whether a rule's scope takes this action on this crew.
pub(crate) fn speaks_of(
    engine: &Engine,
    policy: &Policy,
    action: &EntityUid,
    crew: &CrewDeclaration,
) -> bool {
    let resource = match policy.resource_constraint() {
        ResourceConstraint::Any => true,
        ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) => contains(crew, &uid),
        ResourceConstraint::Is(kind) => kind.to_string() == "Crew",
        ResourceConstraint::IsIn(kind, uid) => kind.to_string() == "Crew" && contains(crew, &uid),
    };
    resource && action_in(engine, &policy.action_constraint(), action)
}

fn contains(crew: &CrewDeclaration, uid: &EntityUid) -> bool {
    match uid.type_name().to_string().as_str() {
        "Crew" => crew.name == uid.id().unescaped(),
        "Fleet" => crew.fleets.iter().any(|fleet| fleet == uid.id().unescaped()),
        _ => false,
    }
}

fn action_in(engine: &Engine, constraint: &ActionConstraint, action: &EntityUid) -> bool {
    let within = |group: &EntityUid| group == action || engine.actions.is_ancestor_of(group, action);
    match constraint {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(uid) => uid == action,
        ActionConstraint::In(groups) => groups.iter().any(within),
    }
}

/// Whether every request in the scope of `narrow` is in that of `wide`. No conditions are looked at.
pub(crate) fn covers(engine: &Engine, crews: &[CrewDeclaration], wide: &Rule, narrow: &Rule) -> bool {
    let fleet_of = |crew: &EntityUid, fleet: &EntityUid| {
        crews.iter().any(|c| c.name == crew.id().unescaped() && contains(c, fleet) && contains(c, crew))
    };
    let resource = match (wide.policy.resource_constraint(), narrow.policy.resource_constraint()) {
        (ResourceConstraint::Any | ResourceConstraint::Is(_), _) => true,
        (
            ResourceConstraint::Eq(wide) | ResourceConstraint::In(wide) | ResourceConstraint::IsIn(_, wide),
            ResourceConstraint::Eq(narrow)
            | ResourceConstraint::In(narrow)
            | ResourceConstraint::IsIn(_, narrow),
        ) => wide == narrow || fleet_of(&narrow, &wide),
        _ => false,
    };
    let principal = match (wide.policy.principal_constraint(), narrow.policy.principal_constraint()) {
        (PrincipalConstraint::Any, _) => true,
        (
            PrincipalConstraint::Is(wide),
            PrincipalConstraint::Is(narrow) | PrincipalConstraint::IsIn(narrow, _),
        ) => wide == narrow,
        (PrincipalConstraint::Is(wide), PrincipalConstraint::Eq(narrow)) => *narrow.type_name() == wide,
        (
            PrincipalConstraint::In(wide),
            PrincipalConstraint::In(narrow) | PrincipalConstraint::IsIn(_, narrow),
        ) => wide == narrow,
        (wide, narrow) => wide == narrow,
    };
    let action = match (wide.policy.action_constraint(), narrow.policy.action_constraint()) {
        (ActionConstraint::Any, _) => true,
        (wide, ActionConstraint::Eq(one)) => action_in(engine, &wide, &one),
        (wide, ActionConstraint::In(all)) => all.iter().all(|one| action_in(engine, &wide, one)),
        (_, ActionConstraint::Any) => false,
    };
    resource && principal && action
}

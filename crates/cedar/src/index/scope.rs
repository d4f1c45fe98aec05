use cedar_policy::{ActionConstraint, Entities, EntityUid, Policy, PrincipalConstraint, ResourceConstraint};
use crewgate_core::{PrincipalKind, RoleName};

use super::{Index, Place};

/// Whom a rule speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Who {
    Any,
    Kind(PrincipalKind),
    Role(u32),
    One(u32),
}

/// The scope of a rule in the numbers of an index. Never narrower than what the rule says.
#[derive(Debug)]
pub(crate) struct Scope {
    pub(crate) who: Who,
    pub(crate) actions: u64,
    pub(crate) place: Place,
}

impl Index {
    /// Reads the scope of a rule; what has no number yet gets one.
    pub(super) fn scope(&mut self, policy: &Policy, actions: &Entities) -> Scope {
        Scope {
            who: self.who(policy.principal_constraint()),
            actions: self.actions_of(&policy.action_constraint(), actions),
            place: self.place(policy.resource_constraint()),
        }
    }

    fn who(&mut self, constraint: PrincipalConstraint) -> Who {
        match constraint {
            PrincipalConstraint::Any => Who::Any,
            PrincipalConstraint::Is(name) => kind(&name.to_string()).map_or(Who::Any, Who::Kind),
            PrincipalConstraint::Eq(uid)
            | PrincipalConstraint::In(uid)
            | PrincipalConstraint::IsIn(_, uid) => {
                let id = uid.id().unescaped().to_owned();
                let name = uid.type_name().to_string();
                match (name.as_str(), kind(&name)) {
                    ("Role", _) => Who::Role(self.roles.intern(RoleName::new(id))),
                    (_, Some(kind)) => Who::One(self.principals.intern((kind, id))),
                    _ => Who::Any,
                }
            }
        }
    }

    fn place(&mut self, constraint: ResourceConstraint) -> Place {
        match constraint {
            ResourceConstraint::Any | ResourceConstraint::Is(_) => Place::Any,
            ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => {
                let id = uid.id().unescaped().to_owned();
                match uid.type_name().to_string().as_str() {
                    "Crew" => Place::Crew(self.crews.intern(id)),
                    "Fleet" => Place::Fleet(self.fleets.intern(id)),
                    _ => Place::Any,
                }
            }
        }
    }

    /// The actions a constraint takes, groups written out.
    fn actions_of(&self, constraint: &ActionConstraint, known: &Entities) -> u64 {
        let takes =
            |action: &EntityUid, named: &EntityUid| action == named || known.is_ancestor_of(named, action);
        let named: &[EntityUid] = match constraint {
            ActionConstraint::Any => return u64::MAX,
            ActionConstraint::Eq(uid) => std::slice::from_ref(uid),
            ActionConstraint::In(uids) => uids,
        };
        let mut mask = 0;
        for action in known.iter().map(|action| action.uid()) {
            if named.iter().any(|named| takes(&action, named)) {
                mask |= self.actions.get(action.id().unescaped()).copied().unwrap_or(u64::MAX);
            }
        }
        mask
    }
}

fn kind(name: &str) -> Option<PrincipalKind> {
    match name {
        "User" => Some(PrincipalKind::User),
        "Service" => Some(PrincipalKind::Service),
        _ => None,
    }
}

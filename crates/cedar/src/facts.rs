//! A query in Cedar's terms. Nothing of the caller's is ever parsed as Cedar or as Cedar's JSON: strings become string
//! values, whatever they hold.

use std::{borrow::Cow, collections::BTreeSet, str::FromStr};

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression, Schema,
};
use crewgate_core::{InputValue, PrincipalKind, RoleName};
use crewgate_policy::{HeldRole, Query};

use crate::Zone;

/// Type names, parsed once.
#[derive(Debug)]
pub(crate) struct Types {
    user: EntityTypeName,
    service: EntityTypeName,
    role: EntityTypeName,
    crew: EntityTypeName,
    fleet: EntityTypeName,
    action: EntityTypeName,
}

impl Types {
    /// `None` when Cedar does not take one of these names for a type, which no version does.
    pub(crate) fn new() -> Option<Self> {
        let of = |name| EntityTypeName::from_str(name).ok();
        Some(Self {
            user: of("User")?,
            service: of("Service")?,
            role: of("Role")?,
            crew: of("Crew")?,
            fleet: of("Fleet")?,
            action: of("Action")?,
        })
    }
}

/// A query that cannot be put to the rules, and why. It is refused.
#[derive(Debug)]
pub(crate) struct Unaskable(pub(crate) String);

impl<E: std::error::Error> From<E> for Unaskable {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Who asks for what, as entities: the same for every query of one caller on one resource, whatever its facts are.
#[derive(Debug)]
pub(crate) struct Subject {
    principal: EntityUid,
    action: EntityUid,
    resource: EntityUid,
    pub(crate) entities: Entities,
}

impl Subject {
    /// `base` holds the actions and their groups; `named` are the roles that some candidate rule names: others cannot
    /// change a decision, and each costs about a microsecond.
    pub(crate) fn of(
        query: &Query<'_>,
        types: &Types,
        base: &Entities,
        named: &BTreeSet<RoleName>,
    ) -> Result<Self, Unaskable> {
        let Query { principal, operation, .. } = query;
        if principal.key.issuer.contains(':') {
            // `a:b` + `c` and `a` + `b:c` would be one principal to the rules.
            return Err(Unaskable("the issuer's name contains a colon".to_owned()));
        }
        if operation.resource.kind != "Crew" {
            return Err(Unaskable(format!("rules do not know a {}", operation.resource.kind)));
        }
        let uid = |kind: &EntityTypeName, id: &str| {
            EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
        };
        let kind = match principal.kind {
            PrincipalKind::User => &types.user,
            PrincipalKind::Service => &types.service,
        };
        let caller = uid(kind, &principal.key.to_string());
        let resource = uid(&types.crew, &operation.resource.name);
        let roles = held(query)
            .filter(|role| named.contains(&role.name))
            .map(|role| uid(&types.role, role.name.as_str()))
            .collect();
        let fleets = operation.resource.parents.iter().map(|fleet| uid(&types.fleet, fleet)).collect();
        let entities = base.clone().add_entities(
            [Entity::new_no_attrs(caller.clone(), roles), Entity::new_no_attrs(resource.clone(), fleets)],
            None,
        )?;
        Ok(Self {
            principal: caller,
            action: uid(&types.action, operation.action.as_str()),
            resource,
            entities,
        })
    }

    /// The request as rules see it that read no more than `reads`, and whether these duties are done; checked against
    /// the schema: an undeclared input or another type than the declared one is refused here.
    pub(crate) fn request(
        &self,
        facts: &Facts<'_>,
        reads: Reads,
        done: Option<BTreeSet<String>>,
        schema: &Schema,
    ) -> Result<Request, Unaskable> {
        let (principal, action, resource) =
            (self.principal.clone(), self.action.clone(), self.resource.clone());
        Ok(Request::new(principal, action, resource, facts.context(reads, done)?, Some(schema))?)
    }
}

/// Roles held now. What has ended is left out here too, whoever brought it.
pub(crate) fn held<'a>(query: &Query<'a>) -> impl Iterator<Item = &'a HeldRole> {
    let now = query.now;
    query.roles.iter().filter(move |role| role.holds_at(now))
}

/// One value that rules can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Bool(bool),
    Long(i64),
    Text(&'a str),
    Texts(&'a [String]),
}

impl Value<'_> {
    fn expression(self) -> RestrictedExpression {
        match self {
            Self::Bool(value) => RestrictedExpression::new_bool(value),
            Self::Long(value) => RestrictedExpression::new_long(value),
            Self::Text(value) => RestrictedExpression::new_string(value.to_owned()),
            Self::Texts(values) => {
                RestrictedExpression::new_set(values.iter().cloned().map(RestrictedExpression::new_string))
            }
        }
    }

    /// For people.
    pub(crate) fn shown(self) -> Cow<'static, str> {
        match self {
            Self::Bool(value) => Cow::Borrowed(if value { "true" } else { "false" }),
            Self::Long(value) => value.to_string().into(),
            Self::Text(value) => value.to_owned().into(),
            Self::Texts(values) => values.join(", ").into(),
        }
    }
}

/// Everything rules can read besides entities, computed once for a query.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    own: [Value<'a>; FACTS.len()],
    is_owner: Option<bool>,
    inputs: &'a [(String, InputValue)],
}

/// What the gateway itself knows of every query, in the order of [`Facts`].
pub(crate) const FACTS: [&str; 12] = [
    "token_age",
    "token_lifetime",
    "mfa",
    "sender_constrained",
    "hour",
    "weekday",
    "zone",
    "body_bytes",
    "has_undeclared_inputs",
    "webhook_hosts",
    "datasets",
    "prompts",
];

impl<'a> Facts<'a> {
    pub(crate) fn of(query: &Query<'a>, zone: &'a Zone) -> Self {
        let Query { principal, operation, now, .. } = *query;
        let token = &principal.token;
        let (hour, weekday) = zone.clock(now);
        let own = [
            Value::Long(seconds(now.since(token.issued))),
            Value::Long(seconds(token.expires.since(token.issued))),
            Value::Bool(token.mfa),
            Value::Bool(token.sender_constrained),
            Value::Long(hour),
            Value::Long(weekday),
            Value::Text(zone.name()),
            Value::Long(i64::try_from(operation.body_bytes).unwrap_or(i64::MAX)),
            Value::Bool(operation.has_undeclared_inputs),
            Value::Texts(&operation.webhook_hosts),
            Value::Texts(&operation.datasets),
            Value::Texts(&operation.prompts),
        ];
        let is_owner = operation.owner.as_ref().map(|owner| *owner == principal.key);
        Self { own, is_owner, inputs: &operation.inputs }
    }

    /// The fact at this place of [`FACTS`].
    pub(crate) fn own(&self, at: usize) -> Option<Value<'a>> {
        self.own.get(at).copied()
    }

    /// Whether the run is the caller's own; `None` when it is about no run.
    pub(crate) fn is_owner(&self) -> Option<bool> {
        self.is_owner
    }

    /// The input of this name; `None` when it was not sent.
    pub(crate) fn input(&self, name: &str) -> Option<Value<'a>> {
        self.inputs.iter().find(|(known, _)| known == name).and_then(|(_, value)| seen(value))
    }

    pub(crate) fn has_input(&self, name: &str) -> bool {
        self.inputs.iter().any(|(known, _)| known == name)
    }

    /// All by name, for people.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, Value<'a>)> {
        let owner = self.is_owner.map(|owner| ("is_owner", Value::Bool(owner)));
        FACTS.into_iter().zip(self.own).chain(owner)
    }

    /// All inputs, whoever reads them: the schema is to see them. Of the rest what is read.
    fn context(&self, reads: Reads, done: Option<BTreeSet<String>>) -> Result<Context, Unaskable> {
        let mut inputs = Vec::with_capacity(self.inputs.len());
        for (name, value) in self.inputs {
            let Some(value) = seen(value) else {
                return Err(Unaskable(format!("input `{name}` is of a type rules do not know")));
            };
            inputs.push((name.clone(), value.expression()));
        }
        let done = done.map(|done| {
            RestrictedExpression::new_set(done.into_iter().map(RestrictedExpression::new_string))
        });
        let more =
            [Some(("input", RestrictedExpression::new_record(inputs)?)), done.map(|done| ("done", done))];
        let read = self.all().filter(|(name, _)| reads.contain(name));
        let all = read.map(|(name, value)| (name, value.expression())).chain(more.into_iter().flatten());
        Ok(Context::from_pairs(all.map(|(name, value)| (name.to_owned(), value)))?)
    }
}

/// Which facts a rule reads: a bit for each of [`FACTS`], and one for `is_owner` and all else.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Reads(u32);

const _: () = assert!(FACTS.len() < 32, "a bit for each fact");

impl Reads {
    pub(crate) const ALL: Self = Self(u32::MAX);

    /// These, and the fact of this name.
    pub(crate) fn with(self, name: &str) -> Self {
        self.and(Self::one(name))
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn contain(self, name: &str) -> bool {
        self.0 & Self::one(name).0 != 0
    }

    fn one(name: &str) -> Self {
        Self(1 << FACTS.iter().position(|fact| *fact == name).unwrap_or(FACTS.len()))
    }
}

fn seen(value: &InputValue) -> Option<Value<'_>> {
    match value {
        InputValue::Bool(value) => Some(Value::Bool(*value)),
        InputValue::Long(value) => Some(Value::Long(*value)),
        InputValue::String(value) => Some(Value::Text(value)),
        InputValue::Strings(values) => Some(Value::Texts(values)),
        _ => None,
    }
}

fn seconds(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

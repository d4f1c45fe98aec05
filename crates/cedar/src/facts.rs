//! A query in Cedar's terms. Nothing of the caller's is ever parsed as Cedar or as Cedar's JSON: strings become string
//! values, whatever they hold.

use std::{collections::BTreeSet, str::FromStr};

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression, Schema,
};
use crewgate_core::{InputValue, PrincipalKind, RoleName, Timestamp};
use crewgate_policy::{HeldRole, Query};

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

/// The parts of a query that stay the same whatever is done.
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

    /// The request with these duties done, checked against the schema: an undeclared input or another type than the
    /// declared one is refused here.
    pub(crate) fn request(
        &self,
        query: &Query<'_>,
        done: BTreeSet<String>,
        schema: &Schema,
    ) -> Result<Request, Unaskable> {
        let context = Context::from_pairs(context(query, done)?)?;
        let (principal, action, resource) =
            (self.principal.clone(), self.action.clone(), self.resource.clone());
        Ok(Request::new(principal, action, resource, context, Some(schema))?)
    }
}

/// Roles held now. What has ended is left out here too, whoever brought it.
pub(crate) fn held<'a>(query: &Query<'a>) -> impl Iterator<Item = &'a HeldRole> {
    let now = query.now;
    query.roles.iter().filter(move |role| role.holds_at(now))
}

fn context(
    query: &Query<'_>,
    done: BTreeSet<String>,
) -> Result<Vec<(String, RestrictedExpression)>, Unaskable> {
    let Query { principal, operation, now, .. } = query;
    let text = RestrictedExpression::new_string;
    let long = RestrictedExpression::new_long;
    let flag = RestrictedExpression::new_bool;
    let texts = |all: &[String]| {
        RestrictedExpression::new_set(all.iter().cloned().map(RestrictedExpression::new_string))
    };
    let mut inputs = Vec::with_capacity(operation.inputs.len());
    for (name, value) in &operation.inputs {
        let value = match value {
            InputValue::Bool(value) => flag(*value),
            InputValue::Long(value) => long(*value),
            InputValue::String(value) => text(value.clone()),
            InputValue::Strings(values) => texts(values),
            _ => return Err(Unaskable(format!("input `{name}` is of a type rules do not know"))),
        };
        inputs.push((name.clone(), value));
    }
    let clock = Utc::of(*now);
    let mut pairs = vec![
        ("token_age", long(seconds(now.since(principal.token.issued)))),
        ("token_lifetime", long(seconds(principal.token.expires.since(principal.token.issued)))),
        ("mfa", flag(principal.token.mfa)),
        ("hour", long(clock.hour)),
        ("weekday", long(clock.weekday)),
        ("body_bytes", long(i64::try_from(operation.body_bytes).unwrap_or(i64::MAX))),
        ("has_undeclared_inputs", flag(operation.has_undeclared_inputs)),
        ("webhook_hosts", texts(&operation.webhook_hosts)),
        ("datasets", texts(&operation.datasets)),
        ("input", RestrictedExpression::new_record(inputs)?),
        ("done", RestrictedExpression::new_set(done.into_iter().map(text))),
    ];
    if let Some(owner) = &operation.owner {
        pairs.push(("is_owner", flag(*owner == principal.key)));
    }
    Ok(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn seconds(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// The hour (0–23) and the day of the week (1 is Monday), in UTC.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Utc {
    pub(crate) hour: i64,
    pub(crate) weekday: i64,
}

impl Utc {
    pub(crate) fn of(now: Timestamp) -> Self {
        let hours = now.as_secs().div_euclid(3600);
        // 1970-01-01 was a Thursday.
        let weekday = hours.div_euclid(24).saturating_add(3).rem_euclid(7).saturating_add(1);
        Self { hour: hours.rem_euclid(24), weekday }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_and_weekdays_are_counted_in_utc() {
        assert_eq!(Utc::of(Timestamp::from_secs(0)), Utc { hour: 0, weekday: 4 });
        assert_eq!(Utc::of(Timestamp::from_secs(-1)), Utc { hour: 23, weekday: 3 });
        // 2026-11-22T21:05:44Z, a Sunday; three hours later, Monday.
        assert_eq!(Utc::of(Timestamp::from_secs(1_795_381_544)), Utc { hour: 21, weekday: 7 });
        assert_eq!(Utc::of(Timestamp::from_secs(1_795_392_344)), Utc { hour: 0, weekday: 1 });
    }
}

//! Who holds which role until when, and which role includes which.

use std::{collections::BTreeSet, time::Duration};

use crewgate_core::RoleName;
use crewgate_policy::{Inclusion, Nesting};

use super::{
    check::{Checker, name},
    raw,
    settings::{IssuerSettings, RoleRequestSettings, RoleSettings},
    units::{duration, instant, until},
};

/// The longest a role is given that was asked for, unless its table says otherwise: a working day.
const LONGEST: Duration = Duration::from_secs(8 * 3600);

/// All tables of roles, and the nesting they describe. A role may have several tables, each with its own time.
pub(super) fn roles(
    check: &mut Checker<'_>,
    raw: &[raw::Role],
    approvers: &[raw::Approvers],
    issuers: &[IssuerSettings],
) -> (Vec<RoleSettings>, Nesting) {
    let known: BTreeSet<&str> = raw.iter().map(|role| role.name.get_ref().as_str()).collect();
    let included: BTreeSet<&str> =
        raw.iter().flat_map(|role| &role.includes).map(|other| other.get_ref().as_str()).collect();
    let sets: BTreeSet<&str> = approvers.iter().map(|set| set.name.get_ref().as_str()).collect();
    let mut requestable = BTreeSet::new();
    for (name, request) in raw.iter().filter_map(|role| Some((role.name.get_ref(), role.request.as_ref()?))) {
        let wanted = &request.get_ref().approvers;
        if wanted.get_ref().is_empty() {
            check.wrong(wanted.span(), "nobody would be asked: name at least one set of approvers", None);
        }
        for set in wanted.get_ref().iter().filter(|set| !sets.contains(set.as_str())) {
            check.wrong(wanted.span(), format!("no approvers `{set}`"), None);
        }
        if !requestable.insert(name) {
            check.wrong(request.span(), format!("another table says how `{name}` is asked for"), None);
        }
    }
    let roles: Vec<RoleSettings> =
        raw.iter().filter_map(|raw| role(check, raw, issuers, &known, &included)).collect();
    let inclusions = roles.iter().flat_map(|role| {
        role.includes.iter().map(|other| Inclusion {
            from: role.from,
            until: role.until,
            ..Inclusion::new(RoleName::new(role.name.as_str()), RoleName::new(other.as_str()))
        })
    });
    let nesting = Nesting::new(inclusions).unwrap_or_else(|circle| {
        // At the step that closes it.
        if let [.., last, first] = circle.0.as_slice() {
            let table = |role: &&raw::Role| role.name.get_ref() == last.as_str();
            let mut steps = raw.iter().filter(table).flat_map(|role| &role.includes);
            if let Some(step) = steps.find(|step| step.get_ref() == first.as_str()) {
                check.wrong(step.span(), circle.to_string(), None);
            }
        }
        Nesting::default()
    });
    (roles, nesting)
}

fn role(
    check: &mut Checker<'_>,
    raw: &raw::Role,
    issuers: &[IssuerSettings],
    known: &BTreeSet<&str>,
    included: &BTreeSet<&str>,
) -> Option<RoleSettings> {
    let mut prefixed = |list: &Option<Vec<raw::Text>>| -> Vec<String> {
        let known = |text: &str| match text.split_once(':') {
            Some((issuer, rest))
                if !rest.is_empty() && (issuer == "legacy" || issuers.iter().any(|i| i.name == issuer)) =>
            {
                Ok(text.to_owned())
            }
            _ => Err(format!(
                "`{text}` must begin with the name of an issuer and a colon, like `okta:analysts`"
            )),
        };
        list.iter().flatten().filter_map(|text| check.parse(text, known)).collect()
    };
    let (groups, subjects) = (prefixed(&raw.groups), prefixed(&raw.subjects));
    let silent = raw.groups.is_none() && raw.subjects.is_none();
    if silent && raw.includes.is_empty() && !included.contains(raw.name.get_ref().as_str()) {
        let help = "or `groups = []` for a role that is only ever given for a while";
        check.wrong(raw.name.span(), "nobody holds this role: give `groups` or `subjects`", Some(help));
    }
    for other in raw.includes.iter().filter(|other| !known.contains(other.get_ref().as_str())) {
        check.wrong(other.span(), format!("no role `{}`", other.get_ref()), None);
    }
    let from = raw.from.as_ref().and_then(|text| check.parse(text, instant));
    let end = raw.until.as_ref().and_then(|text| check.parse(text, until));
    if let (Some(begin), Some(end), Some(text)) = (from, end, &raw.until)
        && end <= begin
    {
        check.wrong(text.span(), "it ends before it begins", None);
    }
    Some(RoleSettings {
        name: check.parse(&raw.name, name)?,
        groups,
        subjects,
        includes: raw.includes.iter().map(|other| other.get_ref().clone()).collect(),
        from,
        until: end,
        request: raw.request.as_ref().map(|request| RoleRequestSettings {
            approvers: request.get_ref().approvers.get_ref().iter().cloned().collect(),
            longest: check.parse_or(request.get_ref().longest.as_ref(), LONGEST, duration),
        }),
    })
}

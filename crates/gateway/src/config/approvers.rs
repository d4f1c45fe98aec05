//! Who may approve, whom it goes to when they do not, and who need not wait.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    time::Duration,
};

use super::{
    check::{Checker, name},
    raw,
    settings::{ApproverSettings, BreakGlassSettings, EscalationSettings},
    units::duration,
};

/// How soon a broken glass is looked at, unless its table says otherwise: within a day and a night.
const DEFAULT_WITHIN: Duration = Duration::from_secs(24 * 3600);

/// How recently whoever breaks the glass has proved who they are, unless its table says otherwise.
const DEFAULT_FRESH: Duration = Duration::from_secs(600);

/// All sets. What waits ends after `expires`.
pub(super) fn approvers(
    check: &mut Checker<'_>,
    raw: &[raw::Approvers],
    roles: &BTreeSet<&str>,
    expires: Duration,
) -> Vec<ApproverSettings> {
    check.unique("approvers", raw.iter().map(|approvers| &approvers.name));
    let next: BTreeMap<&str, &raw::Text> =
        raw.iter().filter_map(|set| Some((set.name.get_ref().as_str(), set.escalate_to.as_ref()?))).collect();
    let names: BTreeSet<&str> = raw.iter().map(|set| set.name.get_ref().as_str()).collect();
    for (first, to) in &next {
        if !names.contains(to.get_ref().as_str()) {
            check.wrong(to.span(), format!("no approvers `{}`", to.get_ref()), None);
        }
        let mut seen = BTreeSet::from([*first]);
        let mut at = Some(*to);
        while let Some(to) = at {
            if !seen.insert(to.get_ref()) {
                if to.get_ref() == first {
                    check.wrong(to.span(), format!("it comes back to `{first}`"), None);
                }
                break;
            }
            at = next.get(to.get_ref().as_str()).copied();
        }
    }
    raw.iter().filter_map(|raw| approver(check, raw, roles, expires)).collect()
}

fn approver(
    check: &mut Checker<'_>,
    raw: &raw::Approvers,
    roles: &BTreeSet<&str>,
    expires: Duration,
) -> Option<ApproverSettings> {
    if raw.roles.get_ref().is_empty() {
        check.wrong(raw.roles.span(), "nobody could approve: name at least one role", None);
    }
    for role in raw.roles.get_ref() {
        if !roles.contains(role.as_str()) {
            check.wrong(raw.roles.span(), format!("no role `{role}`"), None);
        }
    }
    let need = match &raw.need {
        Some(need) => match NonZeroU32::new(*need.get_ref()) {
            Some(need) => need,
            None => {
                check.wrong(need.span(), "`need` must be at least 1", None);
                return None;
            }
        },
        None => NonZeroU32::MIN,
    };
    let escalation = match (&raw.escalate_to, &raw.after) {
        (Some(to), Some(after)) => {
            let in_time = |text: &str| match duration(text)? {
                after if after < expires => Ok(after),
                _ => Err(format!("what waits has ended by then: `{text}` is not within `expires`")),
            };
            check.parse(after, in_time).map(|after| EscalationSettings { to: to.get_ref().clone(), after })
        }
        (Some(to), None) => {
            check.wrong(to.span(), "when? give `after`, like `after = \"2h\"`", None);
            None
        }
        (None, Some(after)) => {
            check.wrong(after.span(), "to whom? give `escalate_to`", None);
            None
        }
        (None, None) => None,
    };
    Some(ApproverSettings {
        name: check.parse(&raw.name, name)?,
        roles: raw.roles.get_ref().iter().cloned().collect(),
        need,
        escalation,
    })
}

/// Who need not wait.
pub(super) fn break_glass(
    check: &mut Checker<'_>,
    raw: &raw::BreakGlass,
    roles: &BTreeSet<&str>,
    sets: &[ApproverSettings],
) -> BreakGlassSettings {
    let mut named = |list: &toml::Spanned<Vec<raw::Text>>, what: &str, known: &dyn Fn(&str) -> bool| {
        if list.get_ref().is_empty() {
            check.wrong(list.span(), format!("name at least one {what}"), None);
        }
        let exists = |text: &str| match known(text) {
            true => Ok(text.to_owned()),
            false => Err(format!("no {what} `{text}`")),
        };
        list.get_ref().iter().filter_map(|text| check.parse(text, exists)).collect::<BTreeSet<String>>()
    };
    let is_set = |text: &str| sets.iter().any(|set| set.name == text);
    let holders = named(&raw.roles, "role", &|text| roles.contains(text));
    let instead_of = named(&raw.instead_of, "set of approvers", &is_set);
    let reviewers = named(&raw.reviewers, "set of approvers", &is_set);
    let word = |text: &str| match !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() && c != '"') {
        true => Ok(text.to_owned()),
        false => Err(format!("`{text}` is no word")),
    };
    BreakGlassSettings {
        roles: holders,
        instead_of,
        reviewers,
        within: check.parse_or(raw.within.as_ref(), DEFAULT_WITHIN, duration),
        fresh: check.parse_or(raw.fresh.as_ref(), DEFAULT_FRESH, duration),
        acr: raw.acr.iter().filter_map(|text| check.parse(text, word)).collect(),
    }
}

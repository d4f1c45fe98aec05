use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use crewgate_core::{MaskProfile, Timestamp};
use crewgate_crewai::{CustomOperation, InputDeclaration, Prompts, Undeclared};
use crewgate_masking::Profiles;
use http::Uri;

use super::{
    check::{Checker, name, url},
    inputs, operation, raw,
    units::{Secret, duration, until},
};

/// Crew names that would shadow an address of the gateway's own.
const RESERVED: [&str; 6] = ["api", "approvals", "health", "metrics", "oauth", "relay"];

/// A loosening of "the way over" may be at most this far ahead when the file is read.
const LONGEST_WAY_OVER: Duration = Duration::from_secs(90 * 86_400);

/// One registered CrewAI deployment.
#[derive(Debug, Clone)]
pub struct CrewSettings {
    /// Its name: the first segment of its address at the gateway.
    pub name: String,
    /// Its base address.
    pub url: Uri,
    /// CrewAI's key, which only the gateway holds.
    pub credential: Secret,
    /// Groups of crews it belongs to.
    pub fleet: Vec<String>,
    /// Its declared inputs.
    pub inputs: Vec<(String, InputDeclaration)>,
    /// The prompts it may be given.
    pub prompts: Prompts,
    /// The files they were read from.
    pub prompt_files: Vec<PathBuf>,
    /// Whether inputs it does not declare are passed on unseen by policy or refused.
    pub undeclared: Undeclared,
    /// What it offers beside CrewAI's own operations.
    pub operations: Vec<CustomOperation>,
    /// Whether its tasks ask people for input.
    pub human_input: bool,
    /// Mask profiles for every answer, errors included. Empty only by `dangerously_unmasked`.
    pub floor: BTreeSet<MaskProfile>,
    /// How long a call that waits for approval is held open; `None` answers at once with a ticket.
    pub hold: Option<Duration>,
    /// Who starts an approved ticket.
    pub release: ReleaseRule,
    /// Whether its runs exist for others than who started them too, so that policy says who reads and answers them.
    pub shared_runs: bool,
    /// How long the deployment may take to begin its answer, and to go on with it (default 60 s).
    pub timeout: Duration,
    /// Extra certificate authority, PEM.
    pub ca: Option<Vec<u8>>,
    /// Only record what policy would have refused, until this instant.
    pub observe: Option<Observe>,
    /// Accept the old shared key until an instant.
    pub shared_key: Option<SharedKeySettings>,
}

/// Observe mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observe {
    /// When it ends.
    pub until: Timestamp,
}

/// The old shared key.
#[derive(Debug, Clone)]
pub struct SharedKeySettings {
    /// The key.
    pub key: Secret,
    /// When it stops working.
    pub until: Timestamp,
}

/// Who starts an approved ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the requester does, or the gateway does")]
pub enum ReleaseRule {
    /// The gateway, as long as the groups it saw are not older than this.
    AutoRun {
        /// Oldest groups that still count.
        groups_max_age: Duration,
    },
    /// The requester's next `/status` with a valid token.
    Claim,
}

pub(super) fn crew(
    check: &mut Checker<'_>,
    raw: &raw::Crew,
    profiles: &Profiles,
    now: Timestamp,
) -> Option<CrewSettings> {
    let beside = check.beside();
    let name_ok = check.parse(&raw.name, |text| {
        let text = name(text)?;
        if RESERVED.contains(&text.as_str()) {
            Err(format!("`{text}` is an address of the gateway's own"))
        } else {
            Ok(text)
        }
    });
    let address = check.parse(&raw.url, |text| url(text, false));
    let credential = match check.secret(raw.credential.get_ref()) {
        Ok(secret) => Some(secret),
        Err(message) => {
            check.wrong(raw.credential.span(), message, Some("CrewAI's key for this deployment goes there"));
            None
        }
    };
    let inputs = inputs::of_kickoff(check, raw);
    let prompts = inputs::prompts(check, raw);
    let prompt_files = raw.prompt_list.iter().filter_map(|prompt| prompt.file.as_ref());
    let prompt_files = prompt_files.map(|file| beside.join(file.get_ref())).collect();
    let undeclared = inputs::undeclared(check, raw.undeclared_inputs.as_ref());
    let operations = operation::declared(check, raw);
    let floor = floor(check, raw, profiles);
    let release = release(check, raw);
    let shared_runs = check.parse_or(raw.runs.as_ref(), false, |text| match text {
        "own" => Ok(false),
        "shared" => Ok(true),
        _ => Err(format!("`{text}` is neither `own` nor `shared`")),
    });
    let hold = raw.hold.as_ref().and_then(|text| check.parse(text, duration));
    let timeout = check.parse_or(raw.timeout.as_ref(), Duration::from_secs(60), duration);
    let ca = raw.ca.as_ref().and_then(|path| check.parse(path, |path| pem(&beside.join(path))));
    let fleet = raw.fleet.iter().filter_map(|fleet| check.parse(fleet, name)).collect();
    let observe = observe(check, raw, now);
    let shared_key = raw.dangerously_accept_shared_key.as_ref().and_then(|key| {
        let until = way_over(check, &key.get_ref().until, now)?;
        let reference = raw::SecretRef { env: key.get_ref().env.clone(), file: key.get_ref().file.clone() };
        match check.secret(&reference) {
            Ok(key) => Some(SharedKeySettings { key, until }),
            Err(message) => {
                check.wrong(key.span(), message, None);
                None
            }
        }
    });
    Some(CrewSettings {
        name: name_ok?,
        url: address?,
        credential: credential?,
        fleet,
        inputs,
        prompts,
        prompt_files,
        undeclared,
        operations,
        human_input: raw.human_input,
        floor: floor?,
        hold,
        release: release?,
        shared_runs,
        timeout,
        ca,
        observe,
        shared_key,
    })
}

fn floor(check: &mut Checker<'_>, raw: &raw::Crew, known: &Profiles) -> Option<BTreeSet<MaskProfile>> {
    match (&raw.mask, raw.dangerously_unmasked) {
        (None, false) => Some(BTreeSet::from([MaskProfile::new("secrets")])),
        (None, true) => Some(BTreeSet::new()),
        (Some(mask), false) if mask.get_ref().is_empty() => {
            let help = "say `dangerously_unmasked = true` if answers shall really pass unmasked";
            check.wrong(mask.span(), "an empty floor mask masks nothing", Some(help));
            None
        }
        (Some(mask), false) => {
            let floor: BTreeSet<MaskProfile> = mask.get_ref().iter().map(MaskProfile::new).collect();
            for profile in floor.iter().filter(|profile| !known.names().any(|name| name == *profile)) {
                let names: Vec<&str> = known.names().map(MaskProfile::as_str).collect();
                let help = format!("there are {}", names.join(", "));
                check.wrong(mask.span(), format!("no mask profile `{profile}`"), Some(&help));
            }
            Some(floor)
        }
        (Some(mask), true) => {
            check.wrong(mask.span(), "`mask` and `dangerously_unmasked` contradict each other", None);
            None
        }
    }
}

fn release(check: &mut Checker<'_>, raw: &raw::Crew) -> Option<ReleaseRule> {
    let max_age = check.parse_or(raw.groups_max_age.as_ref(), Duration::from_secs(3600), duration);
    let Some(text) = &raw.release else { return Some(ReleaseRule::Claim) };
    check.parse(text, |text| match text {
        "claim" => Ok(ReleaseRule::Claim),
        "auto_run" => Ok(ReleaseRule::AutoRun { groups_max_age: max_age }),
        _ => Err(format!("`{text}` is neither `claim` nor `auto_run`")),
    })
}

fn observe(check: &mut Checker<'_>, raw: &raw::Crew, now: Timestamp) -> Option<Observe> {
    match (&raw.mode, &raw.until) {
        (None, None) => None,
        (None, Some(until)) => {
            check.wrong(until.span(), "`until` belongs to `mode = \"observe\"`", None);
            None
        }
        (Some(mode), until) => {
            let observing = check.parse(mode, |text| match text {
                "enforce" => Ok(false),
                "observe" => Ok(true),
                _ => Err(format!("`{text}` is neither `enforce` nor `observe`")),
            })?;
            match (observing, until) {
                (true, Some(until)) => Some(Observe { until: way_over(check, until, now)? }),
                (true, None) => {
                    check.wrong(
                        mode.span(),
                        "observe mode must end: give it an `until` at most 90 days away",
                        None,
                    );
                    None
                }
                (false, Some(until)) => {
                    check.wrong(until.span(), "`until` belongs to `mode = \"observe\"`", None);
                    None
                }
                (false, None) => None,
            }
        }
    }
}

/// An end at most 90 days ahead. One that has passed is fine: the loosening has simply ended.
fn way_over(check: &mut Checker<'_>, text: &raw::Text, now: Timestamp) -> Option<Timestamp> {
    let end = check.parse(text, until)?;
    if end > now.saturating_add(LONGEST_WAY_OVER) {
        check.wrong(text.span(), format!("`{}` is more than 90 days away", text.get_ref()), None);
        return None;
    }
    Some(end)
}

pub(super) fn pem(path: &std::path::Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("`{}` cannot be read: {error}", path.display()))
}

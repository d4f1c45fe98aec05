//! The rule set: loaded from a folder against the configuration's own words, swapped whole.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crewgate_cedar::{CedarPolicy, CrewDeclaration, InputType, LoadError, Vocabulary};
use crewgate_core::{Action, ApproverSet, Effect, RoleName};
use crewgate_crewai::{ACTIONS, InputDeclaration, InputKind};

use crate::{
    cases,
    config::{ConfigError, CrewSettings, Diagnostic, Settings},
};

/// Loads the rules that decide.
///
/// # Errors
///
/// Everything that is wrong with them, each with its place.
pub fn load(settings: &Settings) -> Result<CedarPolicy, ConfigError> {
    load_folder(&settings.policy, settings)
}

/// Loads a folder of rules against the words of these settings.
///
/// # Errors
///
/// Everything that is wrong with it, each with its place.
pub fn load_folder(folder: &Path, settings: &Settings) -> Result<CedarPolicy, ConfigError> {
    let vocabulary = vocabulary(settings);
    let policy = CedarPolicy::load_dir(folder, &vocabulary).map_err(|errors| cases::told(folder, errors))?;
    cases::on_load(&policy, &vocabulary, folder, settings)?;
    Ok(policy)
}

pub(crate) fn diagnostic(folder: &Path, error: LoadError) -> Diagnostic {
    let file = if error.file.is_empty() { folder.to_owned() } else { PathBuf::from(&error.file) };
    let place = (error.line > 0).then_some((error.line, error.column));
    let excerpt = place.and_then(|(line, _)| {
        let text = std::fs::read_to_string(&file).ok()?;
        text.lines().nth(line.saturating_sub(1)).map(str::to_owned)
    });
    Diagnostic { file, place, excerpt, message: error.message, help: error.help }
}

/// The words rules may use.
pub(crate) fn vocabulary(settings: &Settings) -> Vocabulary {
    Vocabulary {
        roles: settings.roles.iter().map(|role| RoleName::new(role.name.as_str())).collect(),
        approvers: settings.approvers.iter().map(|set| ApproverSet::new(set.name.as_str())).collect(),
        masks: settings.masks.profiles.names().cloned().collect(),
        crews: settings.crews.iter().map(declaration).collect(),
        zone: settings.policy_zone.clone(),
        actions: actions(settings),
    }
}

/// Every action of CrewAI's, and what crews declare besides: two crews may share a name, for one effect.
fn actions(settings: &Settings) -> Vec<(Action, Effect)> {
    let own = ACTIONS.map(|(action, effect)| (Action::of(action), effect));
    let custom = settings.crews.iter().flat_map(|crew| &crew.operations);
    let custom: BTreeMap<_, _> =
        custom.map(|operation| (Action::from(operation.action.clone()), operation.effect)).collect();
    own.into_iter().chain(custom).collect()
}

fn declaration(crew: &CrewSettings) -> CrewDeclaration {
    let seen = |(name, input): (&String, &InputDeclaration)| {
        let kind = match input.kind {
            InputKind::Boolean => InputType::Bool,
            InputKind::Integer => InputType::Long,
            InputKind::String => InputType::String,
            InputKind::Strings => InputType::Strings,
            // Free text and nested JSON are not for rules.
            InputKind::Json | InputKind::Text => return None,
        };
        Some((name.clone(), kind))
    };
    let of_kickoff = crew.inputs.iter().map(|(name, input)| (name, input));
    let of_others = crew.operations.iter().flat_map(|operation| &operation.inputs);
    CrewDeclaration {
        name: crew.name.clone(),
        fleets: crew.fleet.clone(),
        inputs: of_kickoff.chain(of_others).filter_map(seen).collect(),
    }
}

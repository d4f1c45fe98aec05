use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::Path,
    sync::Arc,
};

use cedar_policy::{
    Authorizer, Entities, Policy, PolicyId, PolicySet, ValidationMode, ValidationWarning, Validator,
};
use crewgate_core::{PolicyHash, RuleId};
use miette::Diagnostic;
use sha2::{Digest, Sha256};

use crate::{
    CedarPolicy, LoadError, Vocabulary, Zone,
    abreast::abreast,
    engine::Engine,
    facts::Types,
    folder,
    index::Index,
    rule::{Reader, Rule, label},
    schema::Schemas,
    session::Sessions,
    source::{Statement, statements},
    words::Words,
};

/// Rules that are parsed or validated in one go. More are no faster, and between two goes those who wait for a decision
/// get their turn.
const AT_ONCE: usize = 512;

impl CedarPolicy {
    /// Loads rules from these files, given as path and text. The order of the files does not matter.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with them, in the order of the files: nothing is loaded in part.
    pub fn load(files: Vec<(String, String)>, vocabulary: &Vocabulary) -> Result<Self, Vec<LoadError>> {
        let schemas = Schemas::of(vocabulary)?;
        let words = Words::of(vocabulary);
        let (rules, mut errors) = read(&words, &files);
        let rules = distinct(rules, &files, &mut errors);
        let validator = Validator::new(schemas.validation.clone());
        let as_written: Vec<&Policy> = rules.values().map(|rule| &rule.policy).collect();
        errors.extend(validate(&validator, &as_written, &rules, &files)?);
        if errors.is_empty() {
            // What decides in the end is plain Cedar, so that is checked as well where it differs.
            let compiled: Vec<_> =
                rules.values().filter(|rule| rule.has_duty()).map(Rule::compiled).collect();
            errors = validate(&validator, &compiled, &rules, &files)?;
        }
        if !errors.is_empty() {
            return Err(sorted(errors, &files));
        }

        let internal =
            |error: &dyn std::fmt::Display| vec![LoadError::of_declarations(error.to_string(), "")];
        let actions = schemas.runtime.action_entities().map_err(|e| internal(&e))?;
        let actions = Entities::from_entities(actions, None).map_err(|e| internal(&e))?;
        let mut rules: Vec<Rule> = rules.into_values().collect();
        Ok(Self::from(Arc::new(Engine {
            index: Index::of(&mut rules, words.roles, &actions),
            hinted: rules.iter().any(|rule| rule.permit && rule.hint.is_some()),
            sessions: Sessions::default(),
            roles: rules.iter().flat_map(|rule| rule.roles.iter().cloned()).collect(),
            hash: hash(&rules, &schemas.text, &vocabulary.zone),
            schema: schemas.runtime,
            schema_text: schemas.text,
            zone: vocabulary.zone.clone(),
            actions,
            types: Types::new().ok_or_else(|| internal(&"Cedar does not know the entity types"))?,
            authorizer: Authorizer::new(),
            rules,
        })))
    }

    /// Loads every `*.cedar` file of a folder. Files whose names begin with a dot are not policy.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load); also when the folder cannot be read or has no `*.cedar` file, for a file that is not
    /// UTF-8 or larger than [`MAX_FILE`](crate::MAX_FILE), for more than [`MAX_FOLDER`](crate::MAX_FOLDER) bytes in all,
    /// for a `*.cedarschema` file (the schema is derived from the configuration) and for rules in a folder below (they
    /// would be left out).
    pub fn load_dir(path: impl AsRef<Path>, vocabulary: &Vocabulary) -> Result<Self, Vec<LoadError>> {
        Self::load(folder::sources(path)?, vocabulary)
    }
}

/// Every statement of the files, and what is wrong with them.
fn read(words: &Words<'_>, files: &[(String, String)]) -> (Vec<Rule>, Vec<LoadError>) {
    let statements: Vec<Vec<Statement<'_>>> = files.iter().map(|(_, whole)| statements(whole)).collect();
    let mut parts = Vec::new();
    for (index, ((file, whole), statements)) in files.iter().zip(&statements).enumerate() {
        let some = statements.chunks(AT_ONCE);
        parts.extend(some.map(|some| (Reader { words, file, whole, index }, some)));
    }
    let read = abreast(&parts, |(reader, some)| reader.read(some));
    let (rules, errors): (Vec<_>, Vec<_>) = read.into_iter().unzip();
    (rules.into_iter().flatten().collect(), errors.into_iter().flatten().collect())
}

/// Rules by id; two of one id are an error.
fn distinct(
    rules: Vec<Rule>,
    files: &[(String, String)],
    errors: &mut Vec<LoadError>,
) -> BTreeMap<RuleId, Rule> {
    let mut distinct = BTreeMap::<RuleId, Rule>::new();
    for rule in rules {
        match distinct.get(&rule.id) {
            Some(first) => {
                let first = at_rule(first, files, "");
                let help = format!("the first is at {}:{}:{}", first.file, first.line, first.column);
                let error = at_rule(&rule, files, format!("a second rule with the id `{}`", rule.id));
                errors.push(error.with_help(Some(help)));
            }
            None => {
                distinct.insert(rule.id.clone(), rule);
            }
        }
    }
    distinct
}

/// What to do about a rule that never matches, of which Cedar only says that it is one.
const NEVER: &str = "one of its conditions is always false: it would never match, whoever asks for what";

/// Everything the validator has to say. A warning means a rule that does not do what its author thinks.
fn validate(
    validator: &Validator,
    policies: &[&Policy],
    rules: &BTreeMap<RuleId, Rule>,
    files: &[(String, String)],
) -> Result<Vec<LoadError>, Vec<LoadError>> {
    let one = |id: &PolicyId, finding: &dyn Diagnostic, otherwise: Option<&str>| {
        let id = RuleId::new(AsRef::<str>::as_ref(id));
        let message = finding.to_string();
        let prefix = format!("for policy `{id}`, ");
        let message = message.strip_prefix(&prefix).unwrap_or(&message).to_owned();
        let help = finding.help().map(|help| help.to_string()).or_else(|| otherwise.map(str::to_owned));
        let Some(rule) = rules.get(&id) else {
            return (id, false, LoadError::of_declarations(message, help.unwrap_or_default()));
        };
        let start = rule.place.1;
        let at = label(finding).map_or(start, |byte| rule.begin.saturating_add(byte));
        (id, at > start, at_byte(rule, files, at, message).with_help(help))
    };
    // It judges each by itself.
    let parts: Vec<_> = policies.chunks(AT_ONCE).collect();
    let found = abreast(&parts, |some| {
        let set = PolicySet::from_policies(some.iter().copied().cloned()).map_err(|error| {
            vec![LoadError::of_declarations(error.to_string(), "give each rule an id of its own")]
        })?;
        let result = validator.validate(&set, ValidationMode::Strict);
        let errors = result.validation_errors().map(|error| one(error.policy_id(), error, None));
        let warnings = result.validation_warnings().map(|warning| {
            let never = matches!(warning, ValidationWarning::ImpossiblePolicy(_));
            one(warning.policy_id(), warning, never.then_some(NEVER))
        });
        Ok(errors.chain(warnings).collect::<Vec<_>>())
    });
    let found: Vec<_> =
        found.into_iter().collect::<Result<Vec<_>, Vec<LoadError>>>()?.into_iter().flatten().collect();
    // What is found about a rule as a whole follows from what is found in it.
    let broken: BTreeSet<RuleId> =
        found.iter().filter(|(_, inside, _)| *inside).map(|(id, _, _)| id.clone()).collect();
    let told = found.into_iter().filter(|(id, inside, _)| *inside || !broken.contains(id));
    Ok(told.map(|(_, _, error)| error).collect())
}

fn at_rule(rule: &Rule, files: &[(String, String)], message: impl Into<String>) -> LoadError {
    at_byte(rule, files, rule.place.1, message)
}

/// An error at this byte of the rule's file.
fn at_byte(rule: &Rule, files: &[(String, String)], byte: usize, message: impl Into<String>) -> LoadError {
    let (name, text) =
        files.get(rule.place.0).map_or(("", ""), |(name, text)| (name.as_str(), text.as_str()));
    LoadError::at(name, text, byte, message)
}

/// In reading order, and one error per place: where two checks find the same word, the first knows more.
fn sorted(mut errors: Vec<LoadError>, files: &[(String, String)]) -> Vec<LoadError> {
    let index = |error: &LoadError| files.iter().position(|(name, _)| *name == error.file);
    errors.sort_by_key(|error| (index(error), error.line, error.column));
    let mut seen = BTreeSet::new();
    errors.retain(|error| error.line == 0 || seen.insert((error.file.clone(), error.line, error.column)));
    errors
}

/// What the rules say, not how they are laid out or in which files; the words they were read with; and the zone of
/// their hours.
fn hash(rules: &[Rule], schema: &str, zone: &Zone) -> PolicyHash {
    let mut digest = Sha256::new();
    for rule in rules {
        digest.update(rule.digest);
    }
    for text in [schema, zone.name()] {
        digest.update(text.len().to_be_bytes());
        digest.update(text);
    }
    let hex = digest.finalize().iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    PolicyHash::new(hex)
}

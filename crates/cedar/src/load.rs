use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write as _,
    path::Path,
    sync::Arc,
};

use cedar_policy::{Authorizer, Entities, Policy, PolicyId, PolicySet, ValidationMode, Validator};
use crewgate_core::{PolicyHash, RuleId};
use miette::Diagnostic;
use sha2::{Digest, Sha256};

use crate::{
    CedarPolicy, LoadError, Vocabulary, duty,
    engine::Engine,
    facts::Types,
    folder,
    rule::{Reader, Rule, label},
    schema::Schemas,
    source::statements,
};

impl CedarPolicy {
    /// Loads rules from these files, given as path and text. The order of the files does not matter.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with them, in the order of the files: nothing is loaded in part.
    pub fn load(files: Vec<(String, String)>, vocabulary: &Vocabulary) -> Result<Self, Vec<LoadError>> {
        let schemas = Schemas::of(vocabulary)?;
        let mut errors = Vec::new();
        let mut rules = Vec::new();
        for (index, (file, whole)) in files.iter().enumerate() {
            let reader = Reader { vocabulary, file, whole, index };
            rules.extend(statements(whole).into_iter().filter_map(|one| reader.read(one, &mut errors)));
        }
        let rules = distinct(rules, &files, &mut errors);
        let originals = set(rules.values().map(|rule| rule.policy.clone()))?;
        errors.extend(validate(&schemas, &originals, &rules, &files));
        if !errors.is_empty() {
            return Err(sorted(errors, &files));
        }

        let mut compiled = Vec::with_capacity(rules.len());
        for rule in rules.values() {
            let policy =
                duty::compiled(rule).map_err(|error| vec![at_rule(rule, &files, error.to_string())])?;
            compiled.push(policy);
        }
        let export = export(&compiled);
        let exported = set(compiled)?;
        // What decides in the end is the compiled set, so that is checked as well.
        let errors = validate(&schemas, &exported, &rules, &files);
        if !errors.is_empty() {
            return Err(sorted(errors, &files));
        }
        let of = |permit: bool| set(rules.values().filter(|r| r.permit == permit).map(|r| r.policy.clone()));
        let internal =
            |error: &dyn std::fmt::Display| vec![LoadError::of_declarations(error.to_string(), "")];
        let actions = schemas.runtime.action_entities().map_err(|e| internal(&e))?;
        Ok(Self::from(Arc::new(Engine {
            permits: of(true)?,
            guards: of(false)?,
            exported,
            hinted: rules
                .values()
                .filter(|rule| rule.permit && rule.hint.is_some())
                .map(|rule| rule.policy.id().clone())
                .collect(),
            roles: rules.values().flat_map(|rule| rule.roles.iter().cloned()).collect(),
            hash: hash(&export, &schemas.text),
            export,
            schema: schemas.runtime,
            schema_text: schemas.text,
            actions: Entities::from_entities(actions, None).map_err(|e| internal(&e))?,
            types: Types::new().ok_or_else(|| internal(&"Cedar does not know the entity types"))?,
            authorizer: Authorizer::new(),
            rules: rules
                .into_values()
                .map(|rule| (rule.policy.id().clone(), rule))
                .collect::<HashMap<_, _>>(),
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

fn set(policies: impl IntoIterator<Item = Policy>) -> Result<PolicySet, Vec<LoadError>> {
    PolicySet::from_policies(policies).map_err(|error| {
        vec![LoadError::of_declarations(error.to_string(), "give each rule an id of its own")]
    })
}

/// Everything the validator has to say. A warning means a rule that does not do what its author thinks.
fn validate(
    schemas: &Schemas,
    set: &PolicySet,
    rules: &BTreeMap<RuleId, Rule>,
    files: &[(String, String)],
) -> Vec<LoadError> {
    let result = Validator::new(schemas.validation.clone()).validate(set, ValidationMode::Strict);
    let one = |id: &PolicyId, finding: &dyn Diagnostic| {
        let id = RuleId::new(AsRef::<str>::as_ref(id));
        let message = finding.to_string();
        let prefix = format!("for policy `{id}`, ");
        let message = message.strip_prefix(&prefix).unwrap_or(&message).to_owned();
        let help = finding.help().map(|help| help.to_string());
        match rules.get(&id) {
            Some(rule) => at_byte(rule, files, label(finding).unwrap_or(0), message).with_help(help),
            None => LoadError::of_declarations(message, help.unwrap_or_default()),
        }
    };
    let errors = result.validation_errors().map(|error| one(error.policy_id(), error));
    errors.chain(result.validation_warnings().map(|warning| one(warning.policy_id(), warning))).collect()
}

fn at_rule(rule: &Rule, files: &[(String, String)], message: impl Into<String>) -> LoadError {
    at_byte(rule, files, 0, message)
}

fn at_byte(rule: &Rule, files: &[(String, String)], byte: usize, message: impl Into<String>) -> LoadError {
    let (file, offset) = rule.place;
    let (name, text) = files.get(file).map_or(("", ""), |(name, text)| (name.as_str(), text.as_str()));
    LoadError::at(name, text, offset.saturating_add(byte), message)
}

/// In reading order, and one error per place: where two checks find the same word, the first knows more.
fn sorted(mut errors: Vec<LoadError>, files: &[(String, String)]) -> Vec<LoadError> {
    let index = |error: &LoadError| files.iter().position(|(name, _)| *name == error.file);
    errors.sort_by_key(|error| (index(error), error.line, error.column));
    let mut seen = BTreeSet::new();
    errors.retain(|error| error.line == 0 || seen.insert((error.file.clone(), error.line, error.column)));
    errors
}

/// Plain Cedar, sorted by id and printed anew: layout, comments and the order of files leave no trace.
fn export(compiled: &[Policy]) -> String {
    let mut texts: Vec<_> =
        compiled.iter().map(|policy| (policy.id().to_string(), policy.to_string())).collect();
    texts.sort();
    texts.into_iter().fold(String::new(), |mut all, (_, text)| {
        all.push_str(&text);
        all.push_str("\n\n");
        all
    })
}

fn hash(export: &str, schema: &str) -> PolicyHash {
    let mut digest = Sha256::new();
    digest.update(export.len().to_be_bytes());
    digest.update(export);
    digest.update(schema);
    let hex = digest.finalize().iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    PolicyHash::new(hex)
}

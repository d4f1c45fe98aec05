use cedar_policy::{Effect, Policy, PolicyId, PolicySet, ValidationMode, Validator};
use crewgate_core::{ApproverSet, MaskProfile, RoleName, RuleId};
use miette::Diagnostic as _;
use serde_json::{Value, json};

use crate::{
    LoadError, Vocabulary,
    rule::label,
    schema::Schemas,
    source::{self, Statement, statements},
    tools::{
        literals::{Compared, compared},
        question::unknown,
    },
};

/// Something that must be true of every request the rules let through, written as a rule:
///
/// ```cedar
/// // Of the requests in this scope only those that meet the conditions may ever pass.
/// @id("payroll-is-for-payroll-ops")
/// permit (principal, action == Action::"kickoff", resource == Crew::"payroll")
/// when { principal in Role::"payroll-ops" };
///
/// // None of these may ever pass.
/// @id("customer-data-is-masked")
/// forbid (principal, action in Action::"read", resource in Fleet::"customer")
/// unless { context.done.contains("mask:pii-basic") || principal in Role::"privacy-officers" };
/// ```
///
/// Here `context.done` may be named: it is what will have been done before the request passes. `@fleets("any")` asks
/// whatever fleets crews may be put into, and not only for those they are in.
#[derive(Debug, Clone)]
pub struct Invariant {
    /// Its name.
    pub id: RuleId,
    /// Why it is one.
    pub reason: Option<String>,
    /// Whether crews may be in fleets that the configuration does not put them into.
    pub any_fleets: bool,
    /// The file.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// Permits exactly the requests that must not pass.
    pub(crate) bad: Policy,
}

/// Reads the invariants of one file, given as path and text.
///
/// # Errors
///
/// Everything that is wrong with them, each with its place: an invariant about a misspelt crew would always hold.
pub fn parse_invariants(
    file: &str,
    text: &str,
    vocabulary: &Vocabulary,
) -> Result<Vec<Invariant>, Vec<LoadError>> {
    let schema = Schemas::of(vocabulary)?.validation;
    let mut errors = Vec::new();
    let mut found: Vec<Invariant> = Vec::new();
    for statement in statements(text) {
        let reader = Reader { file, text, statement, vocabulary };
        match reader.read() {
            Ok(invariant) => {
                if found.iter().any(|other| other.id == invariant.id) {
                    errors.push(reader.error(Some("id"), format!("a second invariant `{}`", invariant.id)));
                }
                errors.extend(reader.validate(&invariant, &schema));
                found.push(invariant);
            }
            Err(wrong) => errors.extend(wrong),
        }
    }
    if errors.is_empty() { Ok(found) } else { Err(errors) }
}

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    statement: Statement<'a>,
    vocabulary: &'a Vocabulary,
}

impl Reader<'_> {
    fn read(&self) -> Result<Invariant, Vec<LoadError>> {
        let policy = Policy::parse(None, self.statement.text).map_err(|errors| {
            let one = |error: &cedar_policy::ParseError| {
                let help = error.help().map(|help| help.to_string());
                self.at(label(error).unwrap_or(0), error.to_string()).with_help(help)
            };
            errors.iter().map(one).collect::<Vec<_>>()
        })?;
        let place = self.at(0, "");
        let mut invariant = Invariant {
            id: RuleId::new(policy.annotation("id").unwrap_or_default()),
            reason: policy.annotation("reason").map(str::to_owned),
            any_fleets: false,
            file: self.file.to_owned(),
            line: place.line,
            column: place.column,
            bad: bad(&policy).map_err(|error| vec![self.at(0, error)])?,
        };
        let mut errors = Vec::new();
        if invariant.id.as_str().is_empty() {
            errors.push(self.at(0, "an invariant without @id"));
        }
        for (key, value) in policy.annotations() {
            match (key, value) {
                ("id" | "reason", _) | ("fleets", "configured") => {}
                ("fleets", "any") => invariant.any_fleets = true,
                ("fleets", _) => errors.push(self.error(Some(key), "fleets are `any` or `configured`")),
                _ => errors.push(self.error(Some(key), format!("unknown annotation @{key}"))),
            }
        }
        errors.extend(self.words(&policy));
        if errors.is_empty() { Ok(invariant) } else { Err(errors) }
    }

    /// Names that do not exist would make an invariant about nothing.
    fn words(&self, policy: &Policy) -> Vec<LoadError> {
        let known = self.vocabulary;
        let mut errors = Vec::new();
        for literal in policy.entity_literals() {
            let (kind, id) = (literal.type_name().to_string(), literal.id().unescaped());
            let (what, names): (_, Vec<&str>) = match kind.as_str() {
                "Role" => ("role", known.roles.iter().map(RoleName::as_str).collect()),
                "Crew" => ("crew", known.crews.iter().map(|crew| crew.name.as_str()).collect()),
                "Fleet" => ("fleet", known.fleets().into_iter().collect()),
                _ => continue,
            };
            if !names.contains(&id) {
                let unknown = unknown(what, id, names);
                let at = source::entity(self.statement.text, &kind, id).unwrap_or(0);
                errors.push(self.at(at, unknown.message).with_help(unknown.help));
            }
        }
        let mut literals = Vec::new();
        compared(&policy.to_json().unwrap_or_default(), &mut literals);
        for Compared { literal, .. } in literals.iter().filter(|literal| literal.fact == "done") {
            let Some(word) = literal.as_str() else { continue };
            let exists = match word.split_once(':') {
                Some(("approval", name)) => known.approvers.contains(&ApproverSet::new(name)),
                Some(("mask", name)) => known.masks.contains(&MaskProfile::new(name)),
                Some(("rate", _)) => true,
                _ => false,
            };
            if !exists {
                let help = "what is done is written approval:<set>, mask:<profile> or rate:10/h".to_owned();
                errors
                    .push(self.error(Some(word), format!("nothing is ever `{word}`")).with_help(Some(help)));
            }
        }
        errors
    }

    fn validate(&self, invariant: &Invariant, schema: &cedar_policy::Schema) -> Vec<LoadError> {
        let Ok(set) = PolicySet::from_policies([invariant.bad.clone()]) else { return Vec::new() };
        let result = Validator::new(schema.clone()).validate(&set, ValidationMode::Strict);
        let prefix = format!("for policy `{}`, ", invariant.id);
        let told = |message: String| {
            // The places are those of a rewritten rule.
            self.at(0, message.strip_prefix(&prefix).unwrap_or(&message).to_owned())
        };
        let errors = result.validation_errors().map(|error| told(error.to_string()));
        errors.chain(result.validation_warnings().map(|warning| told(warning.to_string()))).collect()
    }

    fn error(&self, word: Option<&str>, message: impl Into<String>) -> LoadError {
        self.at(word.and_then(|word| source::word(self.statement.text, word)).unwrap_or(0), message)
    }

    fn at(&self, offset: usize, message: impl Into<String>) -> LoadError {
        LoadError::at(self.file, self.text, self.statement.offset.saturating_add(offset), message)
    }
}

/// The permit of exactly what must not pass: what a `forbid` speaks of, and of a `permit`'s scope what its conditions
/// leave out.
fn bad(policy: &Policy) -> Result<Policy, String> {
    let mut json = policy.to_json().map_err(|error| error.to_string())?;
    let members = json.as_object_mut().ok_or("a rule in JSON is an object")?;
    if policy.effect() == Effect::Permit {
        let conditions = members.get("conditions").and_then(Value::as_array).cloned().unwrap_or_default();
        let one = |condition: Value| {
            let body = condition.get("body").cloned().unwrap_or_default();
            if condition.get("kind") == Some(&json!("unless")) {
                json!({ "!": { "arg": body } })
            } else {
                body
            }
        };
        let all = conditions
            .into_iter()
            .map(one)
            .reduce(|left, right| json!({ "&&": { "left": left, "right": right } }))
            .unwrap_or(json!({ "Value": true }));
        members.insert("conditions".to_owned(), json!([{ "kind": "unless", "body": all }]));
    }
    members.insert("effect".to_owned(), json!("permit"));
    let id = PolicyId::new(policy.annotation("id").unwrap_or_default());
    Policy::from_json(Some(id), json).map_err(|error| error.to_string())
}

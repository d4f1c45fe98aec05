use std::{collections::BTreeSet, num::NonZeroU32, time::Duration};

use cedar_policy::{Effect, EntityUid, Policy, PolicyId, PolicySet, Template};
use crewgate_core::{ApproverSet, Duties, MaskProfile, Rate, RateDuty, RoleName, RuleId};
use miette::Diagnostic;
use sha2::{Digest, Sha256};

use crate::{
    LoadError,
    duty::{self, Misuse},
    error::closest,
    facts::Reads,
    index::Test,
    source::{self, Statement},
    words::{Words, declared},
};

/// A rule as it was written, and what was read from its annotations.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) id: RuleId,
    pub(crate) permit: bool,
    pub(crate) reason: Option<String>,
    /// What would help whom it refuses or misses, when they may know.
    pub(crate) hint: Option<String>,
    pub(crate) approval: Option<ApproverSet>,
    pub(crate) mask: Option<MaskProfile>,
    pub(crate) rate: Option<Rate>,
    /// Roles it names anywhere.
    pub(crate) roles: BTreeSet<RoleName>,
    /// Their numbers in the index, in the same order.
    pub(crate) role_ids: Vec<u32>,
    /// What its conditions say of plain facts.
    pub(crate) test: Test,
    pub(crate) reads: Reads,
    /// SHA-256 of its JSON form: equal for equal rules, however they are laid out.
    pub(crate) digest: [u8; 32],
    /// As written: duties do not count for whether it matches.
    pub(crate) policy: Policy,
    /// With its duties as a condition, where it has any.
    compiled: Option<Policy>,
    /// Index of its file and where it begins there.
    pub(crate) place: (usize, usize),
    /// Where the text begins there that it was parsed in: from here Cedar counts.
    pub(crate) begin: usize,
}

impl Rule {
    pub(crate) fn has_duty(&self) -> bool {
        self.approval.is_some() || self.mask.is_some() || self.rate.is_some()
    }

    /// The rule as plain Cedar.
    pub(crate) fn compiled(&self) -> &Policy {
        self.compiled.as_ref().unwrap_or(&self.policy)
    }

    /// Adds this rule's duties.
    pub(crate) fn ask(&self, duties: &mut Duties) {
        duties.approvals.extend(self.approval.clone());
        duties.masks.extend(self.mask.clone());
        duties.rates.extend(self.rate.map(|rate| RateDuty { rule: self.id.clone(), rate }));
    }
}

/// Reads statements and says everything that is wrong with them. A rule that parses is given back even then, for the
/// validator to add what it knows; nothing loads while there is an error.
pub(crate) struct Reader<'a> {
    pub(crate) words: &'a Words<'a>,
    pub(crate) file: &'a str,
    pub(crate) whole: &'a str,
    pub(crate) index: usize,
}

impl Reader<'_> {
    /// Reads statements that follow each other in the file.
    pub(crate) fn read(&self, some: &[Statement<'_>]) -> (Vec<Rule>, Vec<LoadError>) {
        let mut errors = Vec::new();
        let begin = some.first().map_or(0, |statement| statement.offset);
        let together = self.together(some);
        let one = |(n, statement): (usize, &Statement<'_>)| {
            let parsed = together.as_ref().and_then(|set| set.policy(&PolicyId::new(format!("policy{n}"))));
            match parsed {
                Some(policy) => self.rule(*statement, policy.clone(), begin, &mut errors),
                None => match Policy::parse(None, statement.text) {
                    Ok(policy) => self.rule(*statement, policy, statement.offset, &mut errors),
                    Err(parse) => {
                        errors.extend(self.unparsed(*statement, &parse));
                        None
                    }
                },
            }
        };
        let rules = some.iter().enumerate().filter_map(one).collect();
        (rules, errors)
    }

    /// All of them parsed at once, which takes half the time of one by one; `None` when one of them is no rule. Cedar
    /// numbers them in their order.
    fn together(&self, some: &[Statement<'_>]) -> Option<PolicySet> {
        let (first, last) = (some.first()?, some.last()?);
        let text = self.whole.get(first.offset..last.offset.checked_add(last.text.len())?)?;
        let set: PolicySet = text.parse().ok()?;
        (set.policies().count() == some.len() && set.templates().next().is_none()).then_some(set)
    }

    /// The rule of a statement that was parsed in a text that begins at this byte of the file.
    fn rule(
        &self,
        statement: Statement<'_>,
        policy: Policy,
        begin: usize,
        errors: &mut Vec<LoadError>,
    ) -> Option<Rule> {
        let mut rule = Rule {
            id: RuleId::new(""),
            permit: policy.effect() == Effect::Permit,
            reason: None,
            hint: None,
            approval: None,
            mask: None,
            rate: None,
            roles: BTreeSet::new(),
            role_ids: Vec::new(),
            test: Test::default(),
            reads: Reads::default(),
            digest: [0; 32],
            compiled: None,
            place: (self.index, statement.offset),
            begin,
            policy,
        };
        let annotations: Vec<(String, String)> =
            rule.policy.annotations().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        for (key, value) in &annotations {
            if let Err((message, help)) = self.annotation(&mut rule, key, value) {
                let at = source::annotation(statement.text, key);
                errors.push(self.error(statement, at, message).with_help(Some(help)));
            }
        }
        // Asked for by name, Cedar would parse the name.
        if annotations.iter().all(|(key, _)| key != "id") {
            let help = "a rule is known by its name, on the record and in refusals: add @id(\"…\")";
            errors.push(self.error(statement, None, "a rule without @id").with_help(Some(help.to_owned())));
        }
        for literal in rule.policy.entity_literals() {
            if let Err((message, help)) = self.literal(&mut rule, &literal) {
                let kind = literal.type_name().to_string();
                let at = source::entity(statement.text, &kind, literal.id().unescaped());
                errors.push(self.error(statement, at, message).with_help(help));
            }
        }
        if rule.hint.is_some()
            && let Some((message, help)) = idle_hint(&rule)
        {
            let at = source::annotation(statement.text, "hint");
            errors.push(self.error(statement, at, message).with_help(Some(help.to_owned())));
        }
        rule.policy = rule.policy.new_id(PolicyId::new(rule.id.as_str()));
        match self.conditions(&mut rule) {
            Ok(()) => {}
            Err(misuse) => {
                let at = source::word(statement.text, misuse.word());
                errors.push(self.error(statement, at, misuse.message()).with_help(Some(misuse.help())));
            }
        }
        (!rule.id.as_str().is_empty()).then_some(rule)
    }

    /// Reads what is in the conditions, and compiles the duties into them.
    fn conditions(&self, rule: &mut Rule) -> Result<(), Misuse> {
        let unreadable = |error: &dyn std::fmt::Display| Misuse::Unreadable(error.to_string());
        // From what Cedar evaluates: of a policy that remembers its text, the text would be parsed once more.
        let evaluated = Policy::from(rule.policy.as_ref().clone());
        let json = evaluated.to_json().map_err(|error| unreadable(&error))?;
        rule.reads = duty::reads(&json)?;
        rule.test = Test::of(&json, &self.words.roles);
        rule.digest = Sha256::digest(json.to_string()).into();
        if rule.has_duty() {
            rule.compiled = Some(duty::compiled(rule, json).map_err(|error| unreadable(&error))?);
        }
        Ok(())
    }

    fn annotation(&self, rule: &mut Rule, key: &str, value: &str) -> Result<(), (String, String)> {
        let on_permit = |what: &str| {
            let message = format!("@{key} on a permit");
            let help = format!("{what} belong on guards: put it on a `forbid` for those it is meant for");
            Err((message, help))
        };
        match key {
            "id" => {
                let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
                if value.is_empty() || !value.chars().all(plain) {
                    let help = "an id is letters, digits, `-`, `_` and `.`";
                    return Err((format!("`{value}` is no id"), help.to_owned()));
                }
                rule.id = RuleId::new(value);
            }
            "reason" => rule.reason = Some(value.to_owned()),
            "hint" => rule.hint = Some(value.to_owned()),
            "approval" => {
                let known = &self.words.vocabulary.approvers;
                let set = ApproverSet::new(value);
                declared("approver set", value, known.contains(&set), known.iter().map(ApproverSet::as_str))?;
                rule.approval = Some(set);
            }
            "mask" if rule.permit => return on_permit("masks"),
            "mask" => {
                let known = &self.words.vocabulary.masks;
                let mask = MaskProfile::new(value);
                declared(
                    "mask profile",
                    value,
                    known.contains(&mask),
                    known.iter().map(MaskProfile::as_str),
                )?;
                rule.mask = Some(mask);
            }
            "rate" if rule.permit => return on_permit("rates"),
            "rate" => {
                let help = || "a rate is calls per period: \"10/h\", with s, min, h or d".to_owned();
                rule.rate = Some(rate(value).ok_or_else(|| (format!("`{value}` is no rate"), help()))?);
            }
            _ => {
                let known = ["id", "reason", "hint", "approval", "mask", "rate"];
                let help = match closest(key, known) {
                    Some(near) => format!("did you mean @{near}?"),
                    None => "known are @id, @reason, @hint, @approval, @mask and @rate".to_owned(),
                };
                return Err((format!("unknown annotation @{key}"), help));
            }
        }
        Ok(())
    }

    /// A name that does not exist matches nothing: in a guard that is a hole, so it does not load.
    fn literal(&self, rule: &mut Rule, literal: &EntityUid) -> Result<(), (String, Option<String>)> {
        let id = literal.id().unescaped();
        let some = |(message, help)| (message, Some(help));
        match literal.type_name().to_string().as_str() {
            "Role" => {
                let known = &self.words.vocabulary.roles;
                let role = RoleName::new(id);
                declared("role", id, known.contains(&role), known.iter().map(RoleName::as_str))
                    .map_err(some)?;
                rule.roles.insert(role);
            }
            "Crew" => {
                let known = self.words.vocabulary.crews.iter().map(|crew| crew.name.as_str());
                declared("crew", id, self.words.crews.contains(id), known).map_err(some)?;
            }
            "Fleet" => {
                let known = &self.words.fleets;
                declared("fleet", id, known.contains(id), known.iter().copied()).map_err(some)?;
            }
            "User" | "Service" if !id.contains(':') => {
                let help = "principals are written issuer:subject, as in \"okta:alice\"";
                return Err((format!("`{id}` names no issuer"), Some(help.to_owned())));
            }
            // Unknown actions and types are Cedar's to refuse.
            _ => {}
        }
        Ok(())
    }

    fn unparsed(&self, statement: Statement<'_>, parse: &cedar_policy::ParseErrors) -> Vec<LoadError> {
        if Template::parse(None, statement.text).is_ok() {
            let help = "write the rule out: `?principal` and `?resource` are filled in by nobody here";
            let at = statement.text.find('?');
            return vec![self.error(statement, at, "a template").with_help(Some(help.to_owned()))];
        }
        let one = |error: &cedar_policy::ParseError| {
            let at = label(error);
            self.error(statement, at, error.to_string()).with_help(error.help().map(|help| help.to_string()))
        };
        parse.iter().map(one).collect()
    }

    /// An error at this byte of the statement, or at its beginning.
    fn error(&self, statement: Statement<'_>, at: Option<usize>, message: impl Into<String>) -> LoadError {
        let offset = statement.offset.saturating_add(at.unwrap_or(0));
        LoadError::at(self.file, self.whole, offset, message)
    }
}

/// Where a Cedar error points, in bytes of the text that was parsed.
pub(crate) fn label(error: &dyn Diagnostic) -> Option<usize> {
    error.labels().and_then(|labels| labels.map(|label| label.offset()).min())
}

/// Why nobody would ever read the hint of this rule.
fn idle_hint(rule: &Rule) -> Option<(&'static str, &'static str)> {
    if rule.permit && rule.roles.is_empty() {
        let help = "it is told to callers who lack the role a permit names: name one, as in `principal in Role::\"…\"`";
        return Some(("@hint on a permit that names no role", help));
    }
    if !rule.permit && rule.has_duty() {
        let help = "this guard refuses nobody by itself: what it asks for is told by the answer";
        return Some(("@hint on a guard with a duty", help));
    }
    None
}

/// `10/h`: calls per s, min, h or d.
fn rate(text: &str) -> Option<Rate> {
    let (calls, period) = text.split_once('/')?;
    let digits = calls.bytes().all(|b| b.is_ascii_digit());
    let calls: NonZeroU32 = calls.parse().ok().filter(|_| digits)?;
    let secs = match period {
        "s" => 1,
        "min" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => return None,
    };
    Some(Rate { calls, period: Duration::from_secs(secs) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_calls_per_period() {
        for text in ["1/s", "30/min", "10/h", "100/d"] {
            assert_eq!(rate(text).unwrap().to_string(), text);
        }
        for text in
            ["", "10", "0/h", "-1/h", "+1/h", "1.5/h", "10/hour", "10/ h", "/h", "10/h/h", "4294967296/s"]
        {
            assert_eq!(rate(text), None, "{text}");
        }
    }
}

use std::{collections::BTreeSet, fmt};

use crewgate_core::{ApproverSet, RuleId};
use crewgate_policy::Policy as _;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::{
    Answer, Outcome, Question, RoleLookup,
    question::{Unknown, unknown},
};
use crate::{CedarPolicy, LoadError, Vocabulary};

/// One question and the answer its author expects, with the place where they wrote it.
///
/// ```toml
/// [[case]]
/// name = "interns wait for a lead"
/// roles = ["interns"]
/// action = "kickoff"
/// crew = "market-research"
/// expect = "ask"
/// approvals = ["marketing-leads"]
/// duties = ["rate:10/h"]
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// The question.
    pub question: Question,
    /// The answer.
    pub expect: Answer,
    /// The file.
    pub file: String,
    /// Line of the case, from 1.
    pub line: usize,
    /// Column of the case, from 1.
    pub column: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, rename = "case")]
    cases: Vec<Spanned<toml::Table>>,
}

/// What a case says besides its question.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    name: String,
    expect: Outcome,
    #[serde(default)]
    approvals: BTreeSet<ApproverSet>,
    #[serde(default)]
    duties: BTreeSet<String>,
    rule: Option<RuleId>,
}

const EXPECTED: [&str; 5] = ["name", "expect", "approvals", "duties", "rule"];

/// Reads the cases of one file, given as path and text.
///
/// # Errors
///
/// Everything that is wrong with them, each with its place.
pub fn parse_cases(file: &str, text: &str) -> Result<Vec<Case>, Vec<LoadError>> {
    let at = |error: &toml::de::Error| {
        let offset = error.span().map_or(0, |span| span.start);
        LoadError::at(file, text, offset, error.message())
    };
    let parsed: File = toml::from_str(text).map_err(|error| vec![at(&error)])?;
    let mut errors = Vec::new();
    let mut cases = Vec::new();
    for table in parsed.cases {
        let span = table.span();
        let table = table.into_inner();
        let (expected, question): (toml::Table, toml::Table) =
            table.into_iter().partition(|(key, _)| EXPECTED.contains(&key.as_str()));
        let read = || -> Result<(Expected, Question), toml::de::Error> {
            Ok((expected.try_into()?, question.try_into()?))
        };
        let place = LoadError::at(file, text, span.start, "");
        match read() {
            Ok((Expected { name, expect, approvals, duties, rule }, question)) => cases.push(Case {
                name,
                question,
                expect: Answer { outcome: expect, approvals, duties, rule },
                file: file.to_owned(),
                line: place.line,
                column: place.column,
            }),
            Err(error) => {
                // The table is already values: the place is that of the word the message quotes.
                let quoted = error.message().split('`').nth(1).unwrap_or_default();
                let offset = find(text, &span, quoted).unwrap_or(span.start);
                errors.push(LoadError::at(file, text, offset, error.message()));
            }
        }
    }
    if errors.is_empty() { Ok(cases) } else { Err(errors) }
}

/// Where a word stands in a part of the text: as a whole value or key, not as a piece of another.
fn find(text: &str, within: &std::ops::Range<usize>, word: &str) -> Option<usize> {
    // The span of a table array's element ends with its header; its keys follow up to the next header.
    let rest = text.get(within.start..)?;
    let end =
        rest.get(1..).and_then(|rest| rest.find("\n[[")).map_or(rest.len(), |end| end.saturating_add(1));
    let part = rest.get(..end)?;
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | ':' | '.');
    let whole = |at: &usize| {
        let before = part.get(..*at).and_then(|before| before.chars().next_back());
        let after = part.get(at.saturating_add(word.len())..).and_then(|after| after.chars().next());
        !before.is_some_and(plain) && !after.is_some_and(plain)
    };
    let found = part.match_indices(word).map(|(at, _)| at).find(whole);
    found.filter(|_| !word.is_empty()).map(|at| within.start.saturating_add(at))
}

/// A case that the rules decide otherwise than its author expects, or that asks what does not exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// The case's name.
    pub name: String,
    /// Its file.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// What was expected.
    pub expected: Answer,
    /// What was decided; none where the question could not be asked.
    pub decided: Option<Answer>,
    /// Rules that matched, or why the question could not be asked.
    pub because: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FAILED {}\n  --> {}:{}:{}", self.name, self.file, self.line, self.column)?;
        if let Some(decided) = &self.decided {
            write!(f, "\n  - expected {}\n  + decided  {decided}", self.expected)?;
        }
        write!(f, "\n  = {}", self.because)
    }
}

/// Puts every case to the rules; gives back those that fail, in order.
#[must_use]
pub fn check_cases(
    cases: &[Case],
    policy: &CedarPolicy,
    vocabulary: &Vocabulary,
    lookup: Option<RoleLookup<'_>>,
) -> Vec<Failed> {
    cases.iter().filter_map(|case| check(case, policy, vocabulary, lookup).err()).collect()
}

fn check(
    case: &Case,
    policy: &CedarPolicy,
    vocabulary: &Vocabulary,
    lookup: Option<RoleLookup<'_>>,
) -> Result<(), Failed> {
    let failed = |decided, because: String| Failed {
        name: case.name.clone(),
        file: case.file.clone(),
        line: case.line,
        column: case.column,
        expected: case.expect.clone(),
        decided,
        because,
    };
    let asked = case
        .question
        .build(policy, vocabulary, lookup)
        .and_then(|asked| known(&case.expect, policy, vocabulary).map(|()| asked))
        .map_err(|unknown| failed(None, unknown.to_string()))?;
    let decision = policy.decide(&asked.query());
    let answer = Answer::from(&decision);
    if answer == case.expect {
        return Ok(());
    }
    let told = policy.explain(&asked.query());
    let names = |rules: &[RuleId]| match rules {
        [] => "none".to_owned(),
        rules => rules.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    let because = format!("permits that match: {}; guards: {}", names(&told.permits), names(&told.guards));
    Err(failed(Some(answer), because))
}

/// An expectation that no set of these rules can meet is a mistake of the case.
fn known(expect: &Answer, policy: &CedarPolicy, vocabulary: &Vocabulary) -> Result<(), Unknown> {
    if let Some(rule) = &expect.rule
        && !policy.engine().rules.iter().any(|known| known.id == *rule)
    {
        let rules = policy.engine().rules.iter().map(|rule| rule.id.as_str());
        return Err(unknown("rule", rule.as_str(), rules));
    }
    for set in &expect.approvals {
        if !vocabulary.approvers.contains(set) {
            let known = vocabulary.approvers.iter().map(ApproverSet::as_str);
            return Err(unknown("approver set", set.as_str(), known));
        }
    }
    for duty in &expect.duties {
        let well = match duty.split_once(':') {
            Some(("mask", name)) => vocabulary.masks.iter().any(|mask| mask.as_str() == name),
            Some(("rate", _)) => true,
            _ => false,
        };
        if !well {
            let masks: Vec<_> = vocabulary.masks.iter().map(|mask| format!("mask:{mask}")).collect();
            let known = masks.iter().map(String::as_str).chain(["rate:10/h"]);
            return Err(unknown("duty", duty, known));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_in_a_case_is_shown_where_it_stands() {
        let text = "[[case]]\nname = \"x\"\naction = \"kickoff\"\nexpect = \"alow\"\n";
        let errors = parse_cases("t.toml", text).unwrap_err();
        assert_eq!((errors[0].line, errors[0].column), (4, 11), "{errors:?}");
        let text = "[[case]]\nname = \"x\"\naktion = \"kickoff\"\nexpect = \"allow\"\n";
        let errors = parse_cases("t.toml", text).unwrap_err();
        assert_eq!((errors[0].line, errors[0].column), (3, 1), "{errors:?}");
        let errors = parse_cases("t.toml", "[[case]]\nname = 3 4\n").unwrap_err();
        assert_eq!(errors[0].line, 2);
    }

    #[test]
    fn each_case_knows_its_line() {
        let case = "[[case]]\nname = \"x\"\naction = \"kickoff\"\ncrew = \"c\"\nexpect = \"refuse\"\n\n";
        let cases = parse_cases("t.toml", &case.repeat(2)).unwrap();
        assert_eq!(cases.iter().map(|case| case.line).collect::<Vec<_>>(), [1, 7]);
    }
}

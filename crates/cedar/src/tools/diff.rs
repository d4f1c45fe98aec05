use crewgate_policy::Policy as _;
use serde::Serialize;

use super::{Answer, Outcome, Question, RoleLookup};
use crate::{CedarPolicy, Vocabulary};

/// What becomes of a question under other rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Change {
    /// Was refused or asked, and is allowed.
    NewlyAllowed,
    /// Was refused or allowed, and asks people.
    NewlyAsking,
    /// Was allowed or asked, and is refused.
    NewlyDenied,
    /// Ends as before, but other people are asked, or other masks and rates apply, or another guard says no.
    Otherwise,
}

/// One question that two sets of rules answer differently.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What becomes of it.
    pub change: Change,
    /// Under the old rules.
    pub before: Answer,
    /// Under the new ones.
    pub after: Answer,
}

/// Puts a question to both sets; `None` where they agree.
///
/// # Errors
///
/// What the question says that the configuration does not know.
pub fn compare(
    old: &CedarPolicy,
    new: &CedarPolicy,
    question: &Question,
    vocabulary: &Vocabulary,
    lookup: Option<RoleLookup<'_>>,
) -> Result<Option<Difference>, String> {
    let ask = |policy: &CedarPolicy| -> Result<Answer, String> {
        let asked = question.asked(policy, vocabulary, lookup)?;
        Ok(Answer::from(&policy.decide(&asked.query())))
    };
    let (before, after) = (ask(old)?, ask(new)?);
    let change = match (before.outcome, after.outcome) {
        _ if before == after => return Ok(None),
        (before, after) if before == after => Change::Otherwise,
        (_, Outcome::Allow) => Change::NewlyAllowed,
        (_, Outcome::Ask) => Change::NewlyAsking,
        (_, Outcome::Refuse) => Change::NewlyDenied,
    };
    Ok(Some(Difference { change, before, after }))
}

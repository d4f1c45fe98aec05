use crewgate_core::Divergence;
use crewgate_policy::{Policy as _, divergence};
use serde::Serialize;

use super::{Answer, Question, RoleLookup};
use crate::{CedarPolicy, Vocabulary};

/// One question that two sets of rules answer differently.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What becomes of it.
    pub change: Divergence,
    /// Under the old rules.
    pub before: Answer,
    /// Under the new ones.
    pub after: Answer,
}

/// Puts a question to both sets; `None` where a caller would see no difference.
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
    let decide = |policy: &CedarPolicy| -> Result<_, String> {
        Ok(policy.decide(&question.asked(policy, vocabulary, lookup)?.query()))
    };
    let (before, after) = (decide(old)?, decide(new)?);
    Ok(divergence(&before, &after).map(|change| Difference {
        change,
        before: Answer::from(&before),
        after: Answer::from(&after),
    }))
}

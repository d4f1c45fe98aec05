use std::{collections::BTreeSet, fmt};

use crewgate_core::{ApproverSet, Decision, Duties, RuleId};
use serde::{Deserialize, Serialize};

/// The three ways a question can end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(
    clippy::exhaustive_enums,
    reason = "every tool must treat a fourth outcome as a change of its contract"
)]
pub enum Outcome {
    /// May not pass.
    Refuse,
    /// May pass once people have said yes.
    Ask,
    /// May pass.
    Allow,
}

/// What was decided, as far as a caller can tell two decisions apart: exact, so that what a test does not say is not
/// expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// How it ends.
    pub outcome: Outcome,
    /// Who must still say yes.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub approvals: BTreeSet<ApproverSet>,
    /// Masks and rates, in the words of `context.done`: `mask:pii-basic`, `rate:10/h`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub duties: BTreeSet<String>,
    /// The guard that says no; none where nothing permits it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<RuleId>,
}

impl From<&Decision> for Answer {
    fn from(decision: &Decision) -> Self {
        let words = |duties: &Duties| {
            let beside_approvals = Duties { approvals: BTreeSet::new(), ..duties.clone() };
            crate::duty::done(&beside_approvals)
        };
        let (outcome, approvals, rule) = match decision {
            Decision::Allow { .. } => (Outcome::Allow, BTreeSet::new(), None),
            Decision::Ask { approvals, .. } => (Outcome::Ask, approvals.clone(), None),
            Decision::Refuse { rule, .. } => (Outcome::Refuse, BTreeSet::new(), rule.clone()),
        };
        Self { outcome, approvals, duties: decision.duties().map(words).unwrap_or_default(), rule }
    }
}

/// `allow with mask:pii-basic`, `ask hr-data-owners`, `refuse by prod-fresh-mfa`, `refuse: nothing permits it`.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.outcome, &self.rule) {
            (Outcome::Allow, _) => f.write_str("allow")?,
            (Outcome::Ask, _) => {
                f.write_str("ask")?;
                self.approvals.iter().try_for_each(|set| write!(f, " {set}"))?;
            }
            (Outcome::Refuse, Some(rule)) => write!(f, "refuse by {rule}")?,
            (Outcome::Refuse, None) => f.write_str("refuse: nothing permits it")?,
        }
        if !self.duties.is_empty() {
            f.write_str(" with")?;
            self.duties.iter().try_for_each(|duty| write!(f, " {duty}"))?;
        }
        Ok(())
    }
}

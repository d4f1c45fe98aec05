use crewgate_core::{Decision, Duties, Fact, InputValue, PrincipalKey, Timestamp};

use super::Question;

/// Why a recorded call cannot be asked of other rules.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotAsked {
    /// It never came to policy.
    Never,
    /// The values of these inputs are not on the record.
    Hidden(Vec<String>),
}

impl std::fmt::Display for NotAsked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Never => f.write_str("policy was not asked"),
            Self::Hidden(names) => write!(f, "not on the record: {}", names.join(", ")),
        }
    }
}

impl std::error::Error for NotAsked {}

impl Question {
    /// The question that was put to policy, from the facts of a recorded call. Whole or not at all: an input that is
    /// not on the record is not guessed.
    ///
    /// # Errors
    ///
    /// [`NotAsked`]
    pub fn recorded(facts: &[Fact]) -> Result<Self, NotAsked> {
        let mut question = Self::default();
        let mut asked = None;
        let mut expires = Timestamp::from_secs(0);
        let mut parts = 0;
        for fact in facts {
            match fact {
                Fact::Authenticated { principal, kind, expires: end, .. } => {
                    question.principal = principal.to_string();
                    question.kind = *kind;
                    expires = *end;
                    parts |= 1;
                }
                Fact::Described { action, resource, datasets, .. } => {
                    question.action = action.to_string();
                    // `Crew/support`
                    question.crew =
                        resource.split_once('/').map_or(resource.as_str(), |(_, name)| name).to_owned();
                    question.datasets = Some(datasets.clone());
                    parts |= 2;
                }
                Fact::Asked(of) => asked = Some(of),
                _ => {}
            }
        }
        let (Some(asked), 3) = (asked, parts) else { return Err(NotAsked::Never) };
        let hidden: Vec<String> =
            asked.inputs.iter().filter(|input| input.1.is_none()).map(|input| input.0.clone()).collect();
        if !hidden.is_empty() {
            return Err(NotAsked::Hidden(hidden));
        }
        let value = |(name, value): &(String, Option<InputValue>)| Some((name.clone(), value.clone()?));
        Ok(Self {
            roles: asked.roles.clone(),
            mfa: asked.mfa,
            sender_constrained: asked.sender_constrained,
            token_age: asked.at.since(asked.issued).as_secs(),
            token_lifetime: expires.since(asked.issued).as_secs(),
            at: asked.at,
            fleets: Some(asked.parents.clone()),
            input: asked.inputs.iter().filter_map(value).collect(),
            body_bytes: asked.body_bytes,
            prompts: asked.prompts.clone(),
            has_undeclared_inputs: asked.has_undeclared_inputs,
            webhook_hosts: asked.webhook_hosts.clone(),
            owner: asked.owner.as_ref().map(PrincipalKey::to_string),
            approved: asked.approved.clone(),
            ..question
        })
    }
}

/// What was decided of a recorded call, from its facts; `None` when nothing was. Of a refusal's hints the record says
/// nothing.
#[must_use]
pub fn decided(facts: &[Fact]) -> Option<Decision> {
    let asked = facts.iter().rev().find_map(|fact| match fact {
        Fact::Asked(asked) => Some(asked),
        _ => None,
    });
    facts.iter().rev().find_map(|fact| {
        let Fact::Decided { outcome, duties, reason, basis } = fact else { return None };
        let (duties, basis) = (duties.clone(), basis.clone());
        match outcome.as_str() {
            "allow" => Some(Decision::Allow { duties: duties?, basis }),
            "ask" => {
                let Duties { approvals, .. } = duties.as_ref()?;
                let given = asked.map(|asked| asked.approved.clone()).unwrap_or_default();
                let approvals = approvals.difference(&given).cloned().collect();
                Some(Decision::Ask { approvals, duties: duties?, basis })
            }
            "refuse" => {
                let rule = basis.rules.first().cloned();
                Some(Decision::Refuse { rule, reason: reason.clone()?, hints: Vec::new(), basis })
            }
            _ => None,
        }
    })
}

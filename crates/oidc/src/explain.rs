use std::fmt;

use crewgate_core::Principal;
use serde::Serialize;

use crate::{Reason, Rejection, Step};

/// What happened to a token, step by step. Holds claims of the token and nothing that opens a door: neither the token
/// nor its signature. For whoever holds the token, not for a caller's answer.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// Steps the token passed, in order.
    pub passed: Vec<Step>,
    /// Steps that could not be made here, in order: they say nothing of the token.
    pub unchecked: Vec<Step>,
    /// The step it did not pass.
    pub failed: Option<Failure>,
    /// Whom it proves, when it passed them all.
    pub principal: Option<Principal>,
}

/// The step a token did not pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Failure {
    /// Which step.
    pub step: Step,
    /// The stable code.
    pub code: &'static str,
    /// What was wrong.
    pub summary: &'static str,
    /// What would have been accepted.
    pub expected: String,
    /// What was there instead, escaped and cut.
    pub found: Option<String>,
    /// What to do about it.
    pub fix: &'static str,
}

impl Explanation {
    pub(crate) fn accepted(principal: Principal, unchecked: Vec<Step>) -> Self {
        let passed = Step::ALL.into_iter().filter(|step| !unchecked.contains(step)).collect();
        Self { passed, unchecked, failed: None, principal: Some(principal) }
    }

    pub(crate) fn rejected(rejection: &Rejection, unchecked: &[Step]) -> Self {
        let reason: Reason = rejection.reason();
        // Steps are made strictly in order, so those before the failed one were passed. The one exception are header
        // and key rules of an algorithm, which are told at the algorithm's step.
        let before = Step::ALL.into_iter().take_while(|step| *step < reason.step());
        let (unchecked, passed) = before.partition(|step| unchecked.contains(step));
        let failed = Failure {
            step: reason.step(),
            code: reason.code(),
            summary: reason.summary(),
            expected: rejection.expected().unwrap_or(reason.expected()).to_owned(),
            found: rejection.found().map(str::to_owned),
            fix: reason.advice(),
        };
        Self { passed, unchecked, failed: Some(failed), principal: None }
    }

    /// Whether no step refused the token.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.failed.is_none()
    }
}

/// One line per step, for a terminal.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.passed {
            writeln!(f, "ok    {}", name(*step))?;
        }
        for step in &self.unchecked {
            let why = match step {
                Step::Binding => "the token is bound to a key: whoever sends it must prove that they have it",
                _ => "not known here: ask the gateway",
            };
            writeln!(f, "?     {}: {why}", name(*step))?;
        }
        if let Some(failure) = &self.failed {
            writeln!(f, "FAIL  {}: {} [{}]", name(failure.step), failure.summary, failure.code)?;
            writeln!(f, "      expected: {}", failure.expected)?;
            if let Some(found) = &failure.found {
                writeln!(f, "      found:    {found}")?;
            }
            writeln!(f, "      fix:      {}", failure.fix)?;
        }
        if let Some(principal) = &self.principal {
            let kind = format!("{:?}", principal.kind).to_ascii_lowercase();
            writeln!(f, "is    {} ({kind})", principal.key)?;
            let groups: Vec<_> = principal.groups.iter().collect();
            writeln!(
                f,
                "in    {}",
                if groups.is_empty() { "no group".to_owned() } else { groups.join(", ") }
            )?;
            writeln!(f, "until {}", principal.token.expires)?;
        }
        Ok(())
    }
}

fn name(step: Step) -> &'static str {
    match step {
        Step::Credentials => "credentials",
        Step::Shape => "shape",
        Step::Header => "header",
        Step::Issuer => "issuer",
        Step::Algorithm => "algorithm",
        Step::Keys => "keys of the issuer",
        Step::Key => "key",
        Step::Signature => "signature",
        Step::Type => "type",
        Step::Claims => "claims",
        Step::Audience => "audience",
        Step::Time => "time",
        Step::Requirements => "requirements",
        Step::Binding => "binding",
        Step::Revocation => "revocation",
        Step::Groups => "groups",
    }
}

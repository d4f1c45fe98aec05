use std::{collections::BTreeSet, time::Duration};

use http::{Response, StatusCode};

use crate::{ApprovalId, ApproverSet, Hint, Layer, RuleId};

/// Why and how to authenticate: becomes `WWW-Authenticate` (RFC 6750 section 3, RFC 9449 section 7.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Challenge {
    /// RFC 6750 error code (`invalid_token`, `invalid_request`); `None` when no credentials were sent at all.
    pub error: Option<&'static str>,
    /// Signature algorithms, separated by spaces, of the proof of possession that is asked for; `None` for plain
    /// bearer tokens.
    pub proof: Option<&'static str>,
    /// A nonce for that proof.
    pub nonce: Option<String>,
}

/// One field of a request that is wrong. It names the field and what is allowed there, never what was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Where in the body: a JSON Pointer (RFC 6901), e.g. `/inputs/topic`.
    pub pointer: String,
    /// Stable machine-readable code, e.g. `input_type`.
    pub code: &'static str,
    /// What is wrong and what is allowed.
    pub detail: String,
}

/// A typed "no", carried in the *response* extensions of a bare status. One outer layer renders it; no layer
/// learns the wire format. It never holds a secret, a token or another caller's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Who refused.
    pub by: Layer,
    /// Status of the answer.
    pub status: StatusCode,
    /// Stable machine-readable code, e.g. `token_expired`.
    pub code: &'static str,
    /// For the caller: what was wrong and what to do.
    pub detail: String,
    /// The fields that are wrong, when it is about fields.
    pub fields: Vec<FieldError>,
    /// The policy rule that says no.
    pub rule: Option<RuleId>,
    /// What would help, as far as policy says that the caller may know.
    pub hints: Vec<Hint>,
    /// Sets of people whose yes it waits for.
    pub approvals: BTreeSet<ApproverSet>,
    /// When trying again may help.
    pub retry_after: Option<Duration>,
    /// The approval this refusal is about.
    pub approval: Option<ApprovalId>,
    /// Set on 401.
    pub challenge: Option<Challenge>,
}

impl Refusal {
    /// A refusal with the parts every refusal has.
    pub fn new(by: Layer, status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            by,
            status,
            code,
            detail: detail.into(),
            fields: Vec::new(),
            rule: None,
            hints: Vec::new(),
            approvals: BTreeSet::new(),
            retry_after: None,
            approval: None,
            challenge: None,
        }
    }

    /// Names the fields that are wrong.
    #[must_use]
    pub fn with_fields(mut self, fields: Vec<FieldError>) -> Self {
        self.fields = fields;
        self
    }

    /// Names the rule that says no.
    #[must_use]
    pub fn with_rule(mut self, rule: Option<RuleId>) -> Self {
        self.rule = rule;
        self
    }

    /// Says what would help.
    #[must_use]
    pub fn with_hints(mut self, hints: Vec<Hint>) -> Self {
        self.hints = hints;
        self
    }

    /// Names the people whose yes it waits for.
    #[must_use]
    pub fn with_approvals(mut self, approvals: BTreeSet<ApproverSet>) -> Self {
        self.approvals = approvals;
        self
    }

    /// Says when to try again.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Names the approval it is about.
    #[must_use]
    pub fn with_approval(mut self, approval: ApprovalId) -> Self {
        self.approval = Some(approval);
        self
    }

    /// Asks the caller to authenticate.
    #[must_use]
    pub fn with_challenge(mut self, challenge: Challenge) -> Self {
        self.challenge = Some(challenge);
        self
    }

    /// The bare answer: the status, an empty body, and this value in the response's extensions.
    #[must_use]
    pub fn into_response<B: Default>(self) -> Response<B> {
        let mut response = Response::new(B::default());
        *response.status_mut() = self.status;
        response.extensions_mut().insert(self);
        response
    }
}

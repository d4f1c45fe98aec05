use std::{
    collections::{BTreeSet, HashSet},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use crewgate_audit::{AuditStore, Entry, Lane, Phase};
use crewgate_core::{
    Clock, Fact, Layer as By, Principal, PrincipalKey, Rate, RateDuty, RequestId, RoleName, RuleId,
};
use crewgate_oidc::{Bearer, Exchange, Minted, Rejection, SubjectToken, UsedIds, Verifier};
use crewgate_policy::{Meter, RoleSource, TakeError};
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};

use super::{KEYS, TOKEN, form::Form, posted};

/// `grant_type` of an exchange (RFC 8693 section 2.1).
const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// Token types that are taken and given (RFC 8693 section 3).
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

/// Bytes of a request: two tokens and some words.
const MAX_FORM: usize = 64 * 1024;

/// Exchanges tokens of some issuers for short ones of ours.
pub(crate) struct TokenDesk {
    pub(crate) exchange: Exchange,
    /// Names of the issuers whose tokens are exchanged.
    pub(crate) issuers: HashSet<String>,
    /// Those of them whose tokens are exchanged once.
    pub(crate) once: HashSet<String>,
    /// Of one subject.
    pub(crate) rate: (NonZeroU32, Duration),
    /// The gateway's public address, which is what tokens are for.
    pub(crate) resource: String,
    pub(crate) verifier: Verifier,
    pub(crate) roles: Arc<dyn RoleSource>,
    pub(crate) meter: Arc<dyn Meter>,
    pub(crate) used: Arc<dyn UsedIds>,
    pub(crate) audit: Arc<dyn AuditStore>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Why there is no token (RFC 6749 section 5.2).
struct Refused {
    status: StatusCode,
    error: &'static str,
    /// Stable, for the record and for machines.
    code: &'static str,
    description: String,
    retry_after: Option<Duration>,
    /// Whose token it was, once that is proved.
    by: Option<PrincipalKey>,
}

impl Refused {
    fn new(error: &'static str, code: &'static str, description: impl Into<String>) -> Self {
        let status = StatusCode::BAD_REQUEST;
        Self { status, error, code, description: description.into(), retry_after: None, by: None }
    }

    fn request(description: impl Into<String>) -> Self {
        Self::new("invalid_request", "invalid_request", description)
    }

    fn later(status: StatusCode, code: &'static str, after: Duration, description: &str) -> Self {
        let retry_after = Some(after);
        Self { status, retry_after, ..Self::new("temporarily_unavailable", code, description) }
    }

    fn unavailable(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "a token cannot be exchanged");
        let text = "it cannot be done right now";
        Self::later(StatusCode::SERVICE_UNAVAILABLE, "unavailable", Duration::from_secs(5), text)
    }

    fn of(self, principal: &Principal) -> Self {
        Self { by: Some(principal.key.clone()), ..self }
    }
}

/// RFC 8693 section 2.2.2: a token that is not acceptable is an `invalid_request`.
impl From<Rejection> for Refused {
    fn from(rejection: Rejection) -> Self {
        let refusal = rejection.into_refusal();
        if refusal.status == StatusCode::SERVICE_UNAVAILABLE {
            let after = refusal.retry_after.unwrap_or(Duration::from_secs(1));
            return Self::later(refusal.status, refusal.code, after, &refusal.detail);
        }
        Self::new("invalid_request", refusal.code, format!("{}: {}", refusal.code, refusal.detail))
    }
}

impl TokenDesk {
    /// The metadata document of the issuer (RFC 8414 section 2).
    pub(crate) fn metadata(&self) -> Bytes {
        let at = |path: &str| format!("{}{path}", self.resource);
        let document = json!({
            "issuer": self.exchange.url(),
            "token_endpoint": at(TOKEN),
            "jwks_uri": at(KEYS),
            "grant_types_supported": [GRANT],
            "response_types_supported": [],
            "subject_types_supported": ["public"],
            "token_endpoint_auth_methods_supported": ["none"],
            "id_token_signing_alg_values_supported": ["ES256", "EdDSA"],
        });
        document.to_string().into()
    }

    pub(crate) async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let body = match posted(request, "application/x-www-form-urlencoded", MAX_FORM).await {
            Ok(body) => body,
            Err(status) => {
                let text = "POST application/x-www-form-urlencoded here";
                return self.refuse(Refused { status, ..Refused::request(text) }).await;
            }
        };
        match self.exchanged(&body).await {
            Ok((minted, roles)) => {
                let left = minted.expires.since(self.clock.now()).as_secs();
                let answer = json!({
                    "access_token": minted.token,
                    "issued_token_type": ACCESS_TOKEN,
                    "token_type": "Bearer",
                    "expires_in": left,
                    "scope": roles.iter().map(RoleName::as_str).collect::<Vec<_>>().join(" "),
                });
                super::json(StatusCode::OK, &answer)
            }
            Err(refused) => self.refuse(refused).await,
        }
    }

    async fn exchanged(&self, body: &[u8]) -> Result<(Minted, BTreeSet<RoleName>), Refused> {
        let form = Form::read(body).map_err(Refused::request)?;
        if form.need("grant_type").map_err(Refused::request)? != GRANT {
            let text = format!("only `{GRANT}` is answered");
            return Err(Refused::new("unsupported_grant_type", "unsupported_grant_type", text));
        }
        if !matches!(form.get("requested_token_type"), None | Some(ACCESS_TOKEN | JWT)) {
            return Err(Refused::request(format!("only `{ACCESS_TOKEN}` is issued")));
        }
        for name in ["resource", "audience"] {
            let asked = form.get(name).map(|asked| asked.trim_end_matches('/'));
            if asked.is_some_and(|asked| asked != self.resource) {
                let text = format!("`{name}` is {}, or left out", self.resource);
                return Err(Refused::new("invalid_target", "invalid_target", text));
            }
        }
        let mut subject = self.token(&form, "subject_token").await?;
        let principal = subject.principal.clone();
        if let Some(actor) = form.get("actor_token").map(|_| self.token(&form, "actor_token")) {
            subject = subject.acted_for_by(&actor.await?.principal);
        }
        let minted = self.mint(&form, &subject).await;
        minted.map_err(|refused| refused.of(&principal))
    }

    /// A token in the form, checked like any that opens the gateway. One that is bound to a key proves nothing here.
    async fn token(&self, form: &Form, name: &str) -> Result<SubjectToken, Refused> {
        let token = form.need(name).map_err(Refused::request)?;
        let kind = form.need(&format!("{name}_type")).map_err(Refused::request)?;
        if ![ACCESS_TOKEN, JWT, ID_TOKEN].contains(&kind) {
            return Err(Refused::request(format!("`{name}_type` is `{JWT}` or `{ACCESS_TOKEN}`")));
        }
        let found = self.verifier.subject_token(&Bearer::new(token)).await?;
        let issuer = &found.principal.key.issuer;
        if found.principal.token.exchanged.is_some() || !self.issuers.contains(issuer) {
            let text = format!("{name}: tokens of this issuer are not exchanged");
            return Err(Refused::new("invalid_request", "issuer_not_exchanged", text).of(&found.principal));
        }
        Ok(found)
    }

    async fn mint(
        &self,
        form: &Form,
        subject: &SubjectToken,
    ) -> Result<(Minted, BTreeSet<RoleName>), Refused> {
        let (principal, now) = (&subject.principal, self.clock.now());
        let rate = Rate { calls: self.rate.0, period: self.rate.1 };
        let duty = RateDuty { rule: RuleId::new("crewgate-token-exchange"), rate };
        self.meter.take(&principal.key, &[duty].into(), now).await.map_err(|error| match error {
            TakeError::Exhausted { retry_after, .. } => {
                let text = "too many tokens of this subject were exchanged";
                Refused::later(StatusCode::TOO_MANY_REQUESTS, "exchange_limited", retry_after, text)
            }
            TakeError::Unavailable { reason } => Refused::unavailable(&reason),
        })?;
        let scope = form.get("scope").unwrap_or_default();
        let asked: BTreeSet<RoleName> =
            scope.split(' ').filter(|role| !role.is_empty()).map(RoleName::new).collect();
        let held = self.roles.roles(principal, None, now).await;
        let held = held.map_err(|error| Refused::unavailable(&error))?;
        // What is not held and what does not exist look the same.
        if asked.is_empty() || !asked.iter().all(|role| held.iter().any(|held| held.name == *role)) {
            let text = "`scope` names the roles the token shall count for, each one that the subject holds";
            return Err(Refused::new("invalid_scope", "invalid_scope", text));
        }
        let minted = self.exchange.mint(subject, asked.clone(), now)?;
        if self.once.contains(&principal.key.issuer) {
            let id = subject.id.as_deref().ok_or_else(|| {
                Refused::new("invalid_request", "token_without_jti", "a token that counts once needs a jti")
            })?;
            // As long as the token could still be accepted, however the clocks differ.
            let until = principal.token.expires.saturating_add(crewgate_oidc::MAX_SKEW);
            let owner = format!("exchange {}", principal.key.issuer);
            let first = self.used.spend(&owner, id, until, now).await;
            if !first.map_err(|error| Refused::unavailable(&error))? {
                let text = "this token was exchanged before: each is once, get a fresh one";
                return Err(Refused::new("invalid_request", "token_used", text));
            }
        }
        // On the record first: no token of ours is out there that nobody knows of.
        let facts = [
            Fact::Control { by: Some(principal.key.clone()), what: "token.exchange".to_owned() },
            minted.fact.clone(),
        ];
        let entry = Entry::new(Phase::Control, RequestId::random(), now);
        let written = self.audit.append(Lane::Outcome, facts.into_iter().fold(entry, Entry::with_fact)).await;
        written.map_err(|error| Refused::unavailable(&error))?;
        Ok((minted, asked))
    }

    /// Best effort on the record, like every refusal of a stranger.
    async fn refuse(&self, refused: Refused) -> Response<Body> {
        let facts = [
            Fact::Control { by: refused.by, what: "token.exchange".to_owned() },
            Fact::Refused {
                by: By::Identity,
                status: refused.status.as_u16(),
                code: refused.code.to_owned(),
                rule: None,
                detail: refused.description.clone(),
            },
        ];
        let entry = Entry::new(Phase::Refused, RequestId::random(), self.clock.now());
        drop(self.audit.append(Lane::Refusal, facts.into_iter().fold(entry, Entry::with_fact)));
        let body: Value = json!({ "error": refused.error, "error_description": refused.description });
        let mut response = super::json(refused.status, &body);
        if let Some(after) = refused.retry_after {
            let after = http::HeaderValue::from(after.as_secs().max(1));
            response.headers_mut().insert(http::header::RETRY_AFTER, after);
        }
        response
    }
}

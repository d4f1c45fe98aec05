use axum::{Extension, Json, body::Body, extract::State as Of};
use crewgate_core::{Principal, RevokedTokens};
use crewgate_oidc::{Revocation, RevokeError, StoreError};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Console, approvals::reason, body, console::Revoking, problem::Problem};

type Answer = Result<Json<Value>, Problem>;

/// Bytes of a subject, a client or an id of a token.
const MAX_NAME: usize = 1024;

/// Which tokens, and why.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Words {
    tokens: Value,
    #[serde(default)]
    reason: Option<String>,
}

pub(crate) async fn list(Of(console): Of<Console>, Extension(who): Extension<Principal>) -> Answer {
    let revoking = console.revoking(&who).await?;
    console.note(&who, "access.revocations", None, None).await?;
    let standing = revoking.revocations.standing().await.map_err(store)?;
    Ok(Json(json!({ "revocations": standing.iter().map(view).collect::<Vec<_>>() })))
}

pub(crate) async fn revoke(
    Of(console): Of<Console>,
    Extension(who): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let revoking = console.revoking(&who).await?;
    let (tokens, words) = words(&headers, body).await?;
    let made = revoking.revocations.revoke(tokens, None, Some(who.key), words).await.map_err(refused)?;
    Ok(Json(view(&made)))
}

pub(crate) async fn lift(
    Of(console): Of<Console>,
    Extension(who): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let revoking = console.revoking(&who).await?;
    let (tokens, words) = words(&headers, body).await?;
    revoking.revocations.lift(tokens.clone(), who.key, words).await.map_err(refused)?;
    Ok(Json(json!({ "lifted": tokens })))
}

impl Console {
    async fn revoking(&self, who: &Principal) -> Result<&Revoking, Problem> {
        let revoking = self.revoking.as_ref().ok_or_else(Problem::not_found)?;
        if !revoking.by.revokes(who).await {
            let detail = "only who is entitled to revoke tokens does or sees this";
            return Err(Problem::new(StatusCode::FORBIDDEN, "not_revoker", detail));
        }
        Ok(revoking)
    }
}

async fn words(headers: &HeaderMap, body: Body) -> Result<(RevokedTokens, Option<String>), Problem> {
    let words: Words = body::json(headers, body, "a revocation").await?;
    let wrong = || {
        Problem::bad(
            "`tokens` is {kind: subject, issuer, subject}, {kind: client, issuer, client}, {kind: issuer, issuer} \
             or {kind: token, issuer, id}",
        )
    };
    let tokens: RevokedTokens = serde_json::from_value(words.tokens.clone()).map_err(|_| wrong())?;
    // A member too many may be the one that was meant: a subject beside a whole issuer.
    if json!(tokens) != words.tokens {
        return Err(wrong());
    }
    let texts = words.tokens.as_object().into_iter().flat_map(|members| members.values());
    if !texts.filter_map(Value::as_str).all(|text| (1..=MAX_NAME).contains(&text.len())) {
        return Err(Problem::bad(format!("a name in `tokens` has 1 to {MAX_NAME} bytes")));
    }
    Ok((tokens, reason(words.reason)?))
}

fn view(made: &Revocation) -> Value {
    json!({
        "tokens": made.tokens,
        "before": made.before.to_string(),
        "until": made.until.to_string(),
        "at": made.at.to_string(),
        "by": made.by.as_ref().map(ToString::to_string),
        "reason": made.reason,
    })
}

fn refused(error: RevokeError) -> Problem {
    let text = error.to_string();
    match error {
        RevokeError::Full => Problem::new(StatusCode::CONFLICT, "revocations_full", text),
        RevokeError::IssuerUnknown => Problem::new(StatusCode::NOT_FOUND, "issuer_unknown", text),
        RevokeError::NotRevoked => Problem::new(StatusCode::NOT_FOUND, "not_revoked", text),
        RevokeError::Store(error) => store(error),
        _ => Problem::unavailable(&text),
    }
}

fn store(error: StoreError) -> Problem {
    match error {
        StoreError::Unavailable(_) => Problem::unavailable(&error),
        StoreError::Unknown(_) => Problem::unknown(&error),
    }
}

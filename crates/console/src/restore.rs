use axum::{
    Extension, Json,
    body::Body,
    extract::{Path, State as Of},
};
use crewgate_core::{Fact, Principal, Refusal, RequestId, Trail};
use crewgate_runs::OwnedId;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Console, body, problem::Problem};

/// Bytes of a text in which masks are turned back, as JSON: a long answer of a crew.
pub const MAX_RESTORE_BYTES: usize = 1 << 20;

/// A text with what masks wrote in it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "whoever restores reads it")]
pub struct MaskedText {
    /// The text.
    pub text: String,
    /// Whether it is a JSON document, in which values are turned back as JSON spells them.
    #[serde(default)]
    pub json: bool,
}

/// A text with masks turned back.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "whoever restores makes it")]
pub struct Restored {
    /// The text.
    pub text: String,
    /// How many places of it were turned back; tokens that mean nothing in this run stay.
    pub restored: u64,
}

/// Turns back what masks wrote in a run.
pub trait Restore: Send + Sync + 'static {
    /// For those who are entitled to it now; what was decided, and on what grounds, is noted on the trail.
    fn restore<'a>(
        &'a self,
        who: &'a Principal,
        run: &'a OwnedId,
        masked: &'a MaskedText,
        trail: &'a Trail,
    ) -> BoxFuture<'a, Result<Restored, Refusal>>;
}

pub(crate) async fn restore(
    Of(console): Of<Console>,
    Extension(who): Extension<Principal>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let desk = console.restore.as_deref().ok_or_else(Problem::not_found)?;
    let masked: MaskedText = body::json_up_to(MAX_RESTORE_BYTES, &headers, body, "a text to restore").await?;
    let (run, trail) = (console.run(&who, &id).await?, Trail::new(RequestId::random()));
    match desk.restore(&who, &run, &masked, &trail).await {
        Ok(Restored { text, restored }) => {
            // On the record first: nothing is seen of which it does not know.
            console.note_trail(&who, "access.restore", run.run, &trail).await?;
            Ok(Json(json!({ "text": text, "restored": restored })))
        }
        Err(refusal) => {
            trail.note(Fact::Refused {
                by: refusal.by,
                status: refusal.status.as_u16(),
                code: refusal.code.to_owned(),
                rule: refusal.rule.clone(),
                detail: refusal.detail.clone(),
            });
            console.note_trail(&who, "access.restore_refused", run.run, &trail).await?;
            Err(Problem::new(refusal.status, refusal.code, refusal.detail))
        }
    }
}

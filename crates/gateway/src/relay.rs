//! Where CrewAI calls the gateway back when a task waits for a person.
//!
//! The address and its token go to CrewAI with a kickoff or resume of a crew that declares `human_input`. The token is
//! a MAC under the crew's own credential, which only CrewAI and the gateway hold: it needs no store and survives a
//! restart. What arrives is matched to its run, its task gets an id of ours, and it is masked and recorded.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use aws_lc_rs::hmac;
use axum::body::Body;
use crewgate_audit::{AuditStore, Entry, Frame, Lane, Phase};
use crewgate_core::{Clock, Fact, IdKind, Layer as By, Refusal, RequestId, RunId, TaskId};
use crewgate_crewai::{HumanInput, Relay, parse_human_input};
use crewgate_runs::{OwnedId, RunLedger};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use tokio::sync::Semaphore;

use crate::{config::CrewSettings, masks::Masks};

/// First segment of the relay's address.
const PATH: &str = "/relay/";

/// Begins every relay token; masks know it.
const TOKEN: &str = "cgr_";

/// Largest body CrewAI may send: the output of one task.
const MAX_BODY: usize = 1 << 20;

/// CrewAI may call back before its answer to the kickoff was registered, and it never calls twice.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Mints and checks relay tokens.
pub(crate) struct Relays {
    base: String,
    keys: HashMap<String, hmac::Key>,
}

impl fmt::Debug for Relays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relays").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Relays {
    /// Relays at this address of the gateway's, for crews that ask people.
    #[must_use]
    pub(crate) fn new(base: &str, crews: &[CrewSettings]) -> Self {
        let key = |crew: &CrewSettings| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, crew.credential.expose().as_bytes());
            (crew.name.clone(), key)
        };
        let keys = crews.iter().filter(|crew| crew.human_input).map(key).collect();
        Self { base: base.trim_end_matches('/').to_owned(), keys }
    }

    /// A relay for one call to this crew.
    ///
    /// # Errors
    ///
    /// 500 when the crew does not ask people.
    pub(crate) fn mint(&self, crew: &str) -> Result<Relay, Refusal> {
        let nonce = RequestId::random().as_uuid().simple().to_string();
        let key = self.keys.get(crew).ok_or_else(|| {
            let text = "this crew has no address to be called back at";
            Refusal::new(By::Describe, StatusCode::INTERNAL_SERVER_ERROR, "relay_missing", text)
        })?;
        let tag = hmac::sign(key, &message(crew, &nonce));
        let mac: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Relay { url: format!("{}{PATH}{crew}", self.base), token: format!("{TOKEN}{nonce}{mac}") })
    }

    /// Whether a token was minted for this crew.
    fn accepts(&self, crew: &str, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return false };
        let token = value
            .to_str()
            .ok()
            .and_then(|value| value.strip_prefix("Bearer "))
            .and_then(|t| t.strip_prefix(TOKEN));
        let Some((nonce, mac)) = token.and_then(|token| token.split_at_checked(32)) else { return false };
        let (Some(key), Some(mac)) = (self.keys.get(crew), bytes_of(mac)) else { return false };
        hmac::verify(key, &message(crew, nonce), &mac).is_ok()
    }
}

/// Lower-case hexadecimal digits as bytes.
fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let pairs = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
    pairs
        .map(|pair| pair.filter(|pair| pair.len() == 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect()
}

/// What a token's MAC is over.
fn message(crew: &str, nonce: &str) -> Vec<u8> {
    format!("crewgate-relay-v1\0{crew}\0{nonce}").into_bytes()
}

/// Takes what CrewAI tells.
#[derive(Clone)]
pub(crate) struct RelayDesk {
    pub(crate) relays: Arc<Relays>,
    pub(crate) runs: Arc<dyn RunLedger>,
    pub(crate) audit: Arc<dyn AuditStore>,
    pub(crate) masks: Masks,
    pub(crate) clock: Arc<dyn Clock>,
    /// Calls at once; each may keep a body in memory while it waits for its run.
    pub(crate) seats: Arc<Semaphore>,
}

/// Room for [`RelayDesk::seats`]: every run of a busy fleet may pause in the same moment.
pub(crate) const SEATS: usize = 64;

impl RelayDesk {
    /// Answers a request to a relay address; gives any other one back.
    pub(crate) async fn answer(&self, request: Request<Body>) -> Result<Response<Body>, Request<Body>> {
        let Some(crew) = request.uri().path().strip_prefix(PATH).map(str::to_owned) else {
            return Err(request);
        };
        let answer = match self.take(&crew, request).await {
            Ok(()) => {
                let mut response = Response::new(Body::from("{}"));
                response
                    .headers_mut()
                    .insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
                response
            }
            Err(refusal) => crate::problem::answer(refusal),
        };
        Ok(answer)
    }

    async fn take(&self, crew: &str, request: Request<Body>) -> Result<(), Refusal> {
        let refuse = |status, code, text: &str| Refusal::new(By::Gateway, status, code, text);
        // Before anything is read: a stranger learns neither which crews exist nor fills the record.
        if request.method() != Method::POST || !self.relays.accepts(crew, request.headers()) {
            return Err(refuse(StatusCode::UNAUTHORIZED, "relay_refused", "this address is for CrewAI"));
        }
        let Ok(_seat) = self.seats.try_acquire() else {
            return Err(refuse(StatusCode::SERVICE_UNAVAILABLE, "relay_busy", "too many calls at once"));
        };
        let body = Limited::new(request.into_body(), MAX_BODY).collect().await;
        let body = body.map_err(|_| {
            refuse(StatusCode::PAYLOAD_TOO_LARGE, "webhook_too_large", "the body is too large")
        })?;
        let body = body.to_bytes();
        let told = parse_human_input(&body)?;
        let run = self.run(crew, &told).await;
        let registered = match &run {
            Some(run) => self.register(run, &told).await,
            None => Err("no run of this crew is known by that id".to_owned()),
        };
        // On the record stand our ids, as everywhere a person may read.
        let body =
            registered.iter().flatten().fold(String::from_utf8_lossy(&body).into_owned(), |body, id| {
                id.upstream
                    .as_ref()
                    .map_or(body.clone(), |upstream| body.replace(upstream, &id.own.to_string()))
            });
        self.record(crew, run.as_ref(), body.as_bytes()).await?;
        registered.map(|_| ()).map_err(|error| {
            tracing::warn!(crew, error, "a task that waits for a person cannot be shown");
            refuse(StatusCode::SERVICE_UNAVAILABLE, "webhook_unmatched", "the run is not known here")
        })
    }

    async fn run(&self, crew: &str, told: &HumanInput) -> Option<OwnedId> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let ids = vec![told.execution_id.clone(), told.kickoff_id.clone()];
            let found = self.runs.find_upstream(crew, ids).await.unwrap_or_default();
            if let Some(run) = found.into_iter().find(|id| id.kind == IdKind::Run) {
                return Some(run);
            }
            if tokio::time::Instant::now() >= deadline {
                return None;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn register(&self, run: &OwnedId, told: &HumanInput) -> Result<Vec<OwnedId>, String> {
        let ids = vec![
            (IdKind::Run, told.execution_id.clone()),
            (IdKind::Run, told.kickoff_id.clone()),
            (IdKind::Task, told.task_id.clone()),
        ];
        let owned =
            self.runs.register(run.run, ids, self.clock.now()).await.map_err(|error| error.to_string())?;
        if owned.iter().any(|id| id.run != run.run) {
            return Err("it names two runs".to_owned());
        }
        let own = |kind| owned.iter().find(|id| id.kind == kind).map(|id| id.own);
        let (Some(execution), Some(task)) = (own(IdKind::Run), own(IdKind::Task)) else {
            return Err("its ids were not registered".to_owned());
        };
        let (execution, task) = (RunId::from_uuid(execution), TaskId::from_uuid(task));
        self.runs.task_waiting(run.run, execution, task).await.map_err(|error| error.to_string())?;
        Ok(owned)
    }

    async fn record(&self, crew: &str, run: Option<&OwnedId>, body: &[u8]) -> Result<(), Refusal> {
        let unavailable = || {
            let text = "the call could not be put on the record";
            Refusal::new(By::Audit, StatusCode::SERVICE_UNAVAILABLE, "audit_unavailable", text)
        };
        let masker = self.masks.stored(crew).ok_or_else(unavailable)?;
        let (masked, profiles) =
            (masker.mask_json(body).map_err(|_| unavailable())?, masker.profiles().clone());
        let mut entry = Entry::new(Phase::Webhook, RequestId::random(), self.clock.now())
            .with_fact(Fact::Webhook { kind: "human_input".to_owned(), crew: crew.to_owned() })
            .with_fact(Fact::Masked { profiles, hits: masked.findings.hits() })
            .with_run(run.map(|run| run.run));
        entry.frames = vec![Frame { offset_micros: 0, bytes: masked.text.into() }];
        self.audit.append(Lane::Outcome, entry).await.map(|_| ()).map_err(|_| unavailable())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relays() -> Relays {
        let key = |name: &str, secret: &[u8]| (name.to_owned(), hmac::Key::new(hmac::HMAC_SHA256, secret));
        let keys = HashMap::from([key("payroll", b"org-1"), key("other", b"org-2")]);
        Relays { base: "http://127.0.0.1:1".to_owned(), keys }
    }

    fn bearer(token: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap())])
    }

    #[test]
    fn a_token_opens_the_relay_it_was_minted_for_and_no_other() {
        let (relays, relay) = (relays(), relays().mint("payroll").unwrap());
        assert_eq!(relay.url, "http://127.0.0.1:1/relay/payroll");
        assert!(relays.accepts("payroll", &bearer(&relay.token)));
        assert!(!relays.accepts("other", &bearer(&relay.token)));
        assert!(!relays.accepts("nobody", &bearer(&relay.token)));
        assert!(relays.mint("nobody").is_err());
        for cut in [0, 3, 20, 40, relay.token.len() - 1] {
            assert!(!relays.accepts("payroll", &bearer(relay.token.get(..cut).unwrap())), "{cut}");
        }
        assert!(!relays.accepts("payroll", &HeaderMap::new()));
    }

    #[test]
    fn a_relay_token_is_masked_wherever_it_is_stored_or_shown() {
        let relay = relays().mint("payroll").unwrap();
        let masker = crewgate_masking::Masker::of([crewgate_masking::Entity::ApiKey]);
        assert_eq!(masker.mask_text(&relay.token).text, "<API_KEY>");
    }
}

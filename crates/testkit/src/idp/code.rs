//! The browser's way: authorization codes with PKCE, and the ID tokens they are worth.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use crewgate_core::Timestamp;
use serde_json::{Value, json};

use super::{
    Shared, TokenBuilder,
    grants::{Fields, Refused, decoded},
};

type Change = Arc<dyn Fn(TokenBuilder) -> TokenBuilder + Send + Sync>;

/// Who sits at the browser, and the codes they brought back.
pub(super) struct Codes {
    state: Mutex<State>,
    serial: AtomicU64,
}

#[derive(Default)]
struct State {
    person: Option<Person>,
    codes: BTreeMap<String, Code>,
    change: Option<Change>,
}

#[derive(Clone)]
struct Person {
    subject: String,
    groups: Vec<String>,
    sid: String,
    since: Timestamp,
}

struct Code {
    person: Person,
    asked: Fields,
}

impl Codes {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), serial: AtomicU64::new(0) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self, what: &str) -> String {
        format!("{what}-{}", self.serial.fetch_add(1, Ordering::SeqCst))
    }

    pub(super) fn sign_in(&self, subject: &str, groups: &[&str], now: Timestamp) -> String {
        let sid = self.next("sid");
        self.state().person = Some(Person {
            subject: subject.to_owned(),
            groups: groups.iter().map(ToString::to_string).collect(),
            sid: sid.clone(),
            since: now,
        });
        sid
    }

    pub(super) fn sign_out(&self) {
        self.state().person = None;
    }

    pub(super) fn change(&self, change: Change) {
        self.state().change = Some(change);
    }

    /// Where a browser that was sent here with this query is sent on to; `None` when it was not sent rightly.
    pub(super) fn authorize(&self, shared: &Shared, query: &str) -> Option<String> {
        let asked: Fields = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let field = |name: &str| asked.get(name).map(String::as_str);
        let rightly = field("response_type") == Some("code")
            && field("code_challenge_method") == Some("S256")
            && field("client_id").is_some()
            && field("nonce").is_some()
            && field("scope")?.split(' ').any(|scope| scope == "openid");
        if !rightly {
            return None;
        }
        let back = field("redirect_uri")?.to_owned();
        let mut answer = form_urlencoded::Serializer::new(String::new());
        answer.append_pair("iss", &shared.url).append_pair("state", field("state")?);
        let (mut state, now) = (self.state(), shared.clock.now());
        match &mut state.person {
            Some(person) => {
                let most = field("max_age").and_then(|age| age.parse::<u64>().ok());
                if most.is_some_and(|most| now.since(person.since).as_secs() > most) {
                    person.since = now;
                }
                let (code, person) = (self.next("code"), person.clone());
                answer.append_pair("code", &code);
                state.codes.insert(code, Code { person, asked });
            }
            None => {
                answer.append_pair("error", "access_denied");
            }
        }
        Some(format!("{back}?{}", answer.finish()))
    }

    /// RFC 6749 section 4.1.3, RFC 7636 section 4.6, OpenID Connect Core 1.0 section 3.1.3.3.
    pub(super) fn redeem(
        &self,
        shared: &Arc<Shared>,
        fields: &Fields,
        basic: Option<&str>,
    ) -> Result<Value, Refused> {
        let field = |name: &str| fields.get(name).map(String::as_str);
        // Once, whatever comes of it.
        let code = field("code").and_then(|code| self.state().codes.remove(code));
        let Code { person, asked } = code.ok_or(Refused("invalid_grant"))?;
        let client = asked.get("client_id").ok_or(Refused("invalid_grant"))?;
        match basic.map(decoded) {
            Some(Some((name, secret))) if name == *client && secret == format!("{client}-secret") => {}
            None if field("client_id") == Some(client) => {}
            _ => return Err(Refused("invalid_client")),
        }
        let challenge =
            field("code_verifier").map(|text| URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes())));
        if challenge.as_ref() != asked.get("code_challenge")
            || field("redirect_uri") != asked.get("redirect_uri").map(String::as_str)
        {
            return Err(Refused("invalid_grant"));
        }
        let access_token = self.next("access");
        let hash = digest(&SHA256, access_token.as_bytes());
        let half: Vec<u8> = hash.as_ref().iter().copied().take(16).collect();
        let mut token = TokenBuilder::new(Arc::clone(shared))
            .subject(&person.subject)
            .groups(person.groups.iter().map(String::as_str))
            .audience(client)
            .claim("nonce", asked.get("nonce").cloned())
            .claim("auth_time", person.since.as_secs())
            .claim("sid", person.sid)
            .claim("at_hash", URL_SAFE_NO_PAD.encode(half));
        if let Some(class) = asked.get("acr_values").and_then(|classes| classes.split(' ').next()) {
            token = token.claim("acr", class);
        }
        let change = self.state().change.clone();
        let token = change.map_or(token.clone(), |change| change(token));
        Ok(json!({
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": 300,
            "id_token": token.sign(),
        }))
    }
}

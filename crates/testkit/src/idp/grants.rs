//! What the token endpoint grants: device codes, refresh tokens that rotate, and programs' own tokens.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use crewgate_core::Timestamp;
use serde_json::{Value, json};

use super::{Shared, TokenBuilder};

/// A form, each field once.
pub(super) type Fields = BTreeMap<String, String>;

/// RFC 6749 section 5.2.
#[derive(Clone, Copy)]
pub(super) struct Refused(pub(super) &'static str);

/// Seconds between two questions about a device code, and how long it counts.
const INTERVAL: u64 = 1;
const LIFE: Duration = Duration::from_secs(600);

/// Everything granted so far.
pub(super) struct Grants {
    state: Mutex<State>,
    serial: AtomicU64,
    granted: AtomicU64,
    lifetime_secs: AtomicU64,
}

#[derive(Default)]
struct State {
    devices: BTreeMap<String, Device>,
    /// Refresh tokens that count. One that has been used is not here any more.
    refresh: BTreeMap<String, Person>,
}

struct Device {
    user_code: String,
    asked: Timestamp,
    /// When it was asked about last, by which `slow_down` is said.
    last: Option<Timestamp>,
    answer: Option<Result<Person, ()>>,
}

#[derive(Debug, Clone)]
struct Person {
    subject: String,
    groups: Vec<String>,
}

impl Grants {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::default(),
            serial: AtomicU64::new(0),
            granted: AtomicU64::new(0),
            lifetime_secs: AtomicU64::new(300),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self, what: &str) -> String {
        format!("{what}-{}", self.serial.fetch_add(1, Ordering::SeqCst))
    }

    pub(super) fn set_lifetime(&self, lifetime: Duration) {
        self.lifetime_secs.store(lifetime.as_secs(), Ordering::SeqCst);
    }

    pub(super) fn granted(&self) -> u64 {
        self.granted.load(Ordering::SeqCst)
    }

    pub(super) fn end_logins(&self) {
        self.state().refresh.clear();
    }

    pub(super) fn logins(&self) -> usize {
        self.state().refresh.len()
    }

    /// Answers a device code; `false` when nobody asked for it, or it was answered.
    pub(super) fn answer(&self, user_code: &str, answer: Option<(&str, &[&str])>) -> bool {
        let mut state = self.state();
        let waiting = state.devices.values_mut().find(|device| device.user_code == user_code);
        let Some(device) = waiting.filter(|device| device.answer.is_none()) else { return false };
        device.answer = Some(match answer {
            Some((subject, groups)) => Ok(Person {
                subject: subject.to_owned(),
                groups: groups.iter().map(ToString::to_string).collect(),
            }),
            None => Err(()),
        });
        true
    }

    /// RFC 8628 section 3.2.
    pub(super) fn device(&self, shared: &Shared) -> Value {
        let (device_code, user_code) = (self.next("device"), self.next("CODE"));
        let page = format!("{}/device", shared.url);
        let complete = format!("{page}?user_code={user_code}");
        let answer = json!({
            "device_code": device_code,
            "user_code": user_code,
            "verification_uri": page,
            "verification_uri_complete": complete,
            "expires_in": LIFE.as_secs(),
            "interval": INTERVAL,
        });
        let device = Device { user_code, asked: shared.clock.now(), last: None, answer: None };
        self.state().devices.insert(device_code, device);
        answer
    }

    /// RFC 6749 section 5.
    pub(super) fn token(
        &self,
        shared: &Arc<Shared>,
        fields: &Fields,
        basic: Option<&str>,
    ) -> Result<Value, Refused> {
        let field = |name: &str| fields.get(name).map(String::as_str);
        match field("grant_type") {
            Some("urn:ietf:params:oauth:grant-type:device_code") => {
                let person =
                    self.device_answer(field("device_code").ok_or(Refused("invalid_request"))?, shared)?;
                Ok(self.login(shared, person))
            }
            Some("authorization_code") => shared.codes.redeem(shared, fields, basic),
            Some("refresh_token") => {
                let token = field("refresh_token").ok_or(Refused("invalid_request"))?;
                let person = self.state().refresh.remove(token).ok_or(Refused("invalid_grant"))?;
                Ok(self.login(shared, person))
            }
            Some("client_credentials") => {
                let form = field("client_id").zip(field("client_secret"));
                let header = basic.and_then(decoded);
                let (client, secret) = match (&header, form) {
                    (Some((client, secret)), None) => (client.as_str(), secret.as_str()),
                    (None, Some(pair)) => pair,
                    _ => return Err(Refused("invalid_client")),
                };
                if secret != format!("{client}-secret") {
                    return Err(Refused("invalid_client"));
                }
                let person = Person { subject: client.to_owned(), groups: Vec::new() };
                Ok(self.access(shared, &person))
            }
            _ => Err(Refused("unsupported_grant_type")),
        }
    }

    fn device_answer(&self, code: &str, shared: &Shared) -> Result<Person, Refused> {
        let now = shared.clock.now();
        let mut state = self.state();
        let device = state.devices.get_mut(code).ok_or(Refused("invalid_grant"))?;
        if now.since(device.asked) >= LIFE {
            return Err(Refused("expired_token"));
        }
        let last = device.last.replace(now);
        // A tenth for clocks and networks.
        if last.is_some_and(|last| now.since(last) < Duration::from_millis(INTERVAL * 900)) {
            return Err(Refused("slow_down"));
        }
        match device.answer.clone() {
            None => Err(Refused("authorization_pending")),
            Some(Err(())) => Err(Refused("access_denied")),
            Some(Ok(person)) => {
                // Once.
                state.devices.remove(code);
                Ok(person)
            }
        }
    }

    fn login(&self, shared: &Arc<Shared>, person: Person) -> Value {
        let mut answer = self.access(shared, &person);
        let refresh = self.next("refresh");
        if let Some(members) = answer.as_object_mut() {
            members.insert("refresh_token".to_owned(), json!(refresh));
        }
        self.state().refresh.insert(refresh, person);
        answer
    }

    fn access(&self, shared: &Arc<Shared>, person: &Person) -> Value {
        self.granted.fetch_add(1, Ordering::SeqCst);
        let lifetime = self.lifetime_secs.load(Ordering::SeqCst);
        let token = TokenBuilder::new(Arc::clone(shared))
            .subject(&person.subject)
            .groups(person.groups.iter().map(String::as_str))
            .lifetime(Duration::from_secs(lifetime))
            .claim("jti", self.next("token"))
            .sign();
        json!({ "access_token": token, "token_type": "Bearer", "expires_in": lifetime })
    }

    /// RFC 7009: an unknown token is as good as revoked.
    pub(super) fn revoke(&self, fields: &Fields) {
        if let Some(token) = fields.get("token") {
            self.state().refresh.remove(token);
        }
    }
}

/// `Basic`, as RFC 6749 section 2.3.1 writes it; names here need no further decoding.
pub(super) fn decoded(header: &str) -> Option<(String, String)> {
    let bytes = STANDARD.decode(header.strip_prefix("Basic ")?).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    text.split_once(':').map(|(client, secret)| (client.to_owned(), secret.to_owned()))
}

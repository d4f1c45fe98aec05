//! Security events an issuer tells us (OpenID SSF and CAEP), as signed tokens that are pushed (RFC 8417, RFC 8935).
//!
//! A session that was revoked, claims or a credential that changed: each means that tokens issued before it must not
//! count any more, so each becomes a [revocation](crate::Revocations) of the subject with the event's time as watermark.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use crewgate_core::{Clock, PrincipalKey, RevokedTokens, Timestamp};

use crate::{
    Fetch, InvalidConfig, IssuerConfig, Jws, MAX_TOKEN, Reason, Rejection, Revocations, RevokeError,
    claims::{audience, instant},
    issuer::Issuer,
    json::{Json, Object},
    signed::signer,
    used::UsedIds,
};

/// How long after it was issued an event counts; transmitters repeat what was not acknowledged for days.
pub const EVENT_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Bytes of a `jti`.
const MAX_JTI: usize = 256;

/// Begins the names of the CAEP events that end tokens.
const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type/";

/// Those events.
const ENDING: [&str; 3] = ["session-revoked", "token-claims-change", "credential-change"];

/// What a transmitter sends to see whether its events arrive.
const VERIFICATION: &str = "https://schemas.openid.net/secevent/ssf/event-type/verification";

/// Who tells events, about whose tokens.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_structs, reason = "two issuers: one that tells and one that is told about")]
pub struct EventSource {
    /// The transmitter: its name and URL (`iss`), the audience of its events, its algorithms and keys. Everything else
    /// of the configuration means nothing here.
    pub transmitter: IssuerConfig,
    /// Name of the issuer whose tokens the events are about.
    pub about: String,
    /// Its URL, as events name it.
    pub about_url: String,
}

/// What became of an event that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventOutcome {
    /// Tokens were revoked.
    Revoked,
    /// It was taken before.
    Repeated,
    /// It only asked whether we hear.
    Verified,
}

/// Why an event was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventError {
    code: Option<&'static str>,
    description: String,
}

impl EventError {
    fn new(code: &'static str, description: impl Into<String>) -> Self {
        Self { code: Some(code), description: description.into() }
    }

    fn unavailable(error: &dyn fmt::Display) -> Self {
        Self { code: None, description: error.to_string() }
    }

    /// The code of RFC 8935 section 2.4; `None` when it is our fault, and the transmitter should repeat it.
    #[must_use]
    pub fn code(&self) -> Option<&'static str> {
        self.code
    }

    /// A human-readable description; holds nothing of the event.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }
}

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.unwrap_or("unavailable"), self.description)
    }
}

impl std::error::Error for EventError {}

/// Takes events. Clones share keys.
#[derive(Clone)]
pub struct EventReceiver(Arc<Inner>);

struct Inner {
    sources: HashMap<String, Source>,
    revocations: Revocations,
    used: Arc<dyn UsedIds>,
    clock: Arc<dyn Clock>,
}

struct Source {
    issuer: Arc<Issuer>,
    about: String,
    about_url: String,
}

impl fmt::Debug for EventReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventReceiver").field("sources", &self.0.sources.keys()).finish_non_exhaustive()
    }
}

impl EventReceiver {
    /// Takes events of these sources, whose keys are fetched by these means.
    ///
    /// # Errors
    ///
    /// When a source cannot be right, or two have one URL.
    pub fn new(
        sources: impl IntoIterator<Item = (EventSource, Arc<dyn Fetch>)>,
        revocations: Revocations,
        used: Arc<dyn UsedIds>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, InvalidConfig> {
        let mut known = HashMap::new();
        for (source, fetch) in sources {
            let EventSource { transmitter, about, about_url } = source;
            transmitter.check()?;
            let url = transmitter.url.clone();
            let issuer = Arc::new(Issuer::new(transmitter, fetch));
            if known.insert(url.clone(), Source { issuer, about, about_url }).is_some() {
                return Err(InvalidConfig(format!("events: {url} tells events twice")));
            }
        }
        Ok(Self(Arc::new(Inner { sources: known, revocations, used, clock })))
    }

    /// Takes one event as it was pushed: `application/secevent+jwt`.
    ///
    /// # Errors
    ///
    /// [`EventError`]. Without a code nothing is wrong with the event, and it must be sent again.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the event may have been taken; taking it again changes nothing.
    pub async fn receive(&self, body: &[u8]) -> Result<EventOutcome, EventError> {
        let inner = &*self.0;
        let invalid = |what: &str| EventError::new("invalid_request", what);
        let text = std::str::from_utf8(body).map_err(|_| invalid("not text"))?.trim();
        let jws = Jws::parse(text).map_err(|_| invalid("not a signed JWT in compact form"))?;
        if !jws.is("secevent+jwt") {
            return Err(invalid("typ must be secevent+jwt"));
        }
        let claims = jws.payload_object().map_err(|_| invalid("the payload is no JSON object"))?;
        let source = claims.get("iss").and_then(Json::as_str).and_then(|url| inner.sources.get(url));
        let source =
            source.ok_or_else(|| EventError::new("invalid_issuer", "its events are not taken here"))?;
        signer(&source.issuer, &jws).await.map_err(|rejection| unsigned(&rejection))?;

        let config = &source.issuer.config;
        if !audience(&claims).any(|name| config.audience.contains(name)) {
            return Err(EventError::new("invalid_audience", "it is meant for somebody else"));
        }
        // SSF 1.0 section 4.1: what would make it look like another kind of token.
        if let Some(name) = ["exp", "sub", "nonce", "at_hash"].iter().find(|name| claims.contains_key(name)) {
            return Err(invalid(&format!("an event has no {name}")));
        }
        let now = inner.clock.now();
        let issued = instant(&claims, "iat").ok().flatten().ok_or_else(|| invalid("iat is missing"))?;
        if issued > now.saturating_add(config.skew) || issued.saturating_add(EVENT_AGE) <= now {
            return Err(invalid("iat lies ahead, or is too long ago"));
        }
        let id = claims.get("jti").and_then(Json::as_str).filter(|id| (1..=MAX_JTI).contains(&id.len()));
        let id = id.ok_or_else(|| invalid("jti must be a string of 1 to 256 bytes"))?;
        let told = source.told(&claims, issued).map_err(|what| invalid(&what))?;

        let owner = format!("events {}", config.name);
        if inner.used.is_used(&owner, id).await.map_err(|error| EventError::unavailable(&error))? {
            return Ok(EventOutcome::Repeated);
        }
        let outcome = if told.is_empty() { EventOutcome::Verified } else { EventOutcome::Revoked };
        for (event, tokens, before) in told {
            let reason = Some(format!("{event} told by {} ({id})", config.name));
            inner.revocations.revoke(tokens, Some(before), None, reason).await.map_err(
                |error| match error {
                    RevokeError::IssuerUnknown => invalid("the issuer it is about is not configured here"),
                    error => EventError::unavailable(&error),
                },
            )?;
        }
        // Only now: what was not done must be done when it comes again.
        let until = issued.saturating_add(EVENT_AGE).saturating_add(config.skew);
        let spent = inner.used.spend(&owner, id, until, now).await;
        spent.map_err(|error| EventError::unavailable(&error))?;
        Ok(outcome)
    }
}

impl Source {
    /// Which tokens the events end, those issued until when. Empty: they end none.
    fn told(
        &self,
        claims: &Object<'_>,
        issued: Timestamp,
    ) -> Result<Vec<(&'static str, RevokedTokens, Timestamp)>, String> {
        let events = match claims.get("events") {
            Some(Json::Object(events)) if events.iter().next().is_some() => events,
            _ => return Err("events must be an object with an event".to_owned()),
        };
        let mut told = Vec::new();
        for (name, event) in events.iter() {
            let Json::Object(event) = event else { return Err("an event must be an object".to_owned()) };
            if name == VERIFICATION {
                continue;
            }
            let known =
                name.strip_prefix(CAEP).and_then(|name| ENDING.into_iter().find(|known| *known == name));
            let known = known.ok_or_else(|| format!("only {} are taken", ENDING.join(", ")))?;
            // SSF 1.0 puts the subject beside the events, its drafts into each.
            let subject = match (claims.get("sub_id"), event.get("subject")) {
                (Some(subject), None) | (None, Some(subject)) => self.subject(subject)?,
                _ => return Err("one of sub_id and the event's subject must be there".to_owned()),
            };
            let at =
                instant(event, "event_timestamp").map_err(|_| "event_timestamp is no number of seconds")?;
            let principal = PrincipalKey::new(self.about.as_str(), subject);
            told.push((known, RevokedTokens::Subject { principal }, at.unwrap_or(issued)));
        }
        Ok(told)
    }

    /// RFC 9493. An e-mail address is nobody: it can be given to somebody else.
    fn subject(&self, subject: &Json<'_>) -> Result<String, String> {
        let Json::Object(members) = subject else { return Err("a subject must be an object".to_owned()) };
        let text = |name: &str| {
            let text = members.get(name).and_then(Json::as_str).filter(|text| !text.is_empty());
            text.ok_or_else(|| format!("a subject needs {name} as a string"))
        };
        // SSF drafts leave the format of a complex subject out.
        let complex = members.get("user").filter(|_| !members.contains_key("format"));
        if let Some(user) = complex {
            return self.subject(user);
        }
        match text("format")? {
            "iss_sub" if text("iss")? == self.about_url => text("sub").map(str::to_owned),
            "iss_sub" => Err("it is about another issuer's subject".to_owned()),
            "opaque" => text("id").map(str::to_owned),
            // A session is its user's; all of the user's tokens end.
            "complex" => match members.get("user") {
                Some(user @ Json::Object(inner))
                    if inner.get("format").and_then(Json::as_str) != Some("complex") =>
                {
                    self.subject(user)
                }
                _ => Err("a complex subject needs a user".to_owned()),
            },
            _ => Err("a subject's format must be iss_sub or opaque".to_owned()),
        }
    }
}

fn unsigned(rejection: &Rejection) -> EventError {
    match rejection.reason() {
        Reason::IssuerNotReady => EventError::unavailable(&"the transmitter's keys could not be fetched"),
        Reason::Signature => EventError::new("authentication_failed", "the signature is not right"),
        _ => {
            EventError::new("invalid_key", "it is not signed with a published key for an accepted algorithm")
        }
    }
}

/// Bytes of an event that are read.
pub const MAX_EVENT: usize = MAX_TOKEN;

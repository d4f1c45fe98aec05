//! Events that issuers push: which are taken, what they revoke, and what their senders are told.
#![expect(clippy::unwrap_used, reason = "tests")]
#![allow(dead_code, reason = "shared test support")]

mod support;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use crewgate_core::{Clock, PrincipalKey, RevokedTokens, Timestamp};
use crewgate_oidc::{
    Bearer, EVENT_AGE, EventOutcome, EventReceiver, EventSource, Fetch, FetchError, IssuerConfig,
    MemoryRevocations, MemoryUsed, Reason, Revocations, Verifier, VerifyToken,
};
use crewgate_testkit::{DevIdp, ManualClock, TokenBuilder};
use serde_json::{Value, json};
use support::{URL, builder};

const SIGNALS: &str = "https://signals.test";
const HERE: &str = "https://gate.test/oauth/events";
const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type/";

/// A provider whose tokens open something, and one that tells about them.
struct Told {
    idp: DevIdp,
    signals: DevIdp,
    clock: ManualClock,
    verifier: Verifier,
    revocations: Revocations,
    receiver: EventReceiver,
}

impl Told {
    async fn new() -> Self {
        let clock = ManualClock::new();
        let handle: Arc<dyn Clock> = Arc::new(clock.clone());
        let (idp, signals) =
            (DevIdp::offline(URL, Arc::clone(&handle)), DevIdp::offline(SIGNALS, Arc::clone(&handle)));
        let config = IssuerConfig::new("dev", URL, ["crewgate"]).unwrap();
        let revocations =
            Revocations::new(Arc::new(MemoryRevocations::new()), Arc::clone(&handle), [&config]);
        revocations.refresh().await.unwrap();
        let verifier = builder(&idp, &clock).issuer(config).revocations(revocations.clone()).build().unwrap();
        let documents = signals.clone();
        let fetch = move |uri: http::Uri| {
            let found = documents.document(&uri.to_string()).map(Bytes::from);
            async move { found.ok_or_else(|| FetchError::new("down")) }
        };
        let source = EventSource {
            transmitter: IssuerConfig::new("signals", SIGNALS, [HERE]).unwrap(),
            about: "dev".to_owned(),
            about_url: URL.to_owned(),
        };
        let fetch: Arc<dyn Fetch> = Arc::new(fetch);
        let used = Arc::new(MemoryUsed::default());
        let receiver =
            EventReceiver::new([(source, fetch)], revocations.clone(), used, Arc::clone(&handle)).unwrap();
        Self { idp, signals, clock, verifier, revocations, receiver }
    }

    async fn reason(&self, token: &str) -> Option<Reason> {
        self.verifier.verify(Bearer::new(token)).await.err().map(|rejection| rejection.reason())
    }

    /// An event about this subject, as a transmitter sends it.
    fn event(&self, name: &str, subject: &Value) -> TokenBuilder {
        let events = json!({ format!("{CAEP}{name}"): { "initiating_entity": "admin" } });
        self.signals
            .token()
            .header("typ", "secevent+jwt")
            .audience(HERE)
            .claim("jti", "756E69717565")
            .claim("sub_id", subject.clone())
            .claim("events", events)
            .without("sub")
            .without("exp")
    }

    async fn code(&self, body: &str) -> Option<String> {
        let error = self.receiver.receive(body.as_bytes()).await.err();
        error.map(|error| error.code().unwrap_or("again").to_owned())
    }
}

fn alice() -> Value {
    json!({ "format": "iss_sub", "iss": URL, "sub": "alice" })
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn each_event_ends_the_tokens_that_were_issued_before_it() {
    for name in ["session-revoked", "token-claims-change", "credential-change"] {
        let told = Told::new().await;
        let (old, bob) = (told.idp.token().sign(), told.idp.token().subject("bob").sign());
        assert_eq!(told.reason(&old).await, None);
        told.clock.advance(Duration::from_secs(10));
        let set = told.event(name, &alice()).sign();
        assert_eq!(told.receiver.receive(set.as_bytes()).await, Ok(EventOutcome::Revoked), "{name}");
        assert_eq!(told.reason(&old).await, Some(Reason::SubjectRevoked));
        assert_eq!(told.reason(&bob).await, None);
        // By the issuer's own clock: the very next second's token is a new one.
        told.clock.advance(Duration::from_secs(1));
        assert_eq!(told.reason(&told.idp.token().sign()).await, None);
        let row = told.revocations.standing().await.unwrap().pop().unwrap();
        assert!(row.by.is_none() && row.reason.unwrap().starts_with(&format!("{name} told by signals")));
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_is_taken_once_and_may_be_sent_again() {
    let told = Told::new().await;
    let set = told.event("session-revoked", &alice()).sign();
    assert_eq!(told.receiver.receive(set.as_bytes()).await, Ok(EventOutcome::Revoked));
    let tokens = RevokedTokens::Subject { principal: PrincipalKey::new("dev", "alice") };
    told.revocations.lift(tokens, PrincipalKey::new("dev", "sue"), None).await.unwrap();
    // What was lifted since is not brought back by a replay.
    assert_eq!(told.receiver.receive(set.as_bytes()).await, Ok(EventOutcome::Repeated));
    assert_eq!(told.revocations.standing().await.unwrap(), []);
    told.clock.advance(EVENT_AGE);
    assert_eq!(told.code(&set).await.as_deref(), Some("invalid_request"), "nor by a later one");
}

#[tokio::test(start_paused = true)]
async fn the_time_of_the_event_counts_and_one_that_lies_ahead_means_all() {
    for (at, issued, hit) in [(-100, -101, true), (-100, -99, false), (0, 0, true), (86_400_000, 29, true)] {
        let told = Told::new().await;
        let now = told.clock.now().as_secs();
        let events = json!({ format!("{CAEP}session-revoked"): { "event_timestamp": now + at } });
        let set = told.event("session-revoked", &alice()).claim("events", events).sign();
        assert_eq!(told.receiver.receive(set.as_bytes()).await, Ok(EventOutcome::Revoked));
        let issued_at = Timestamp::from_secs(now + issued);
        let token = told.idp.token().issued_at(issued_at).sign();
        assert_eq!(told.reason(&token).await == Some(Reason::SubjectRevoked), hit, "{at} {issued}");
    }
}

#[tokio::test(start_paused = true)]
async fn subjects_are_read_in_the_formats_that_name_one_and_in_no_other() {
    let complex =
        json!({ "format": "complex", "user": alice(), "session": { "format": "opaque", "id": "s1" } });
    for subject in
        [alice(), json!({ "format": "opaque", "id": "alice" }), complex, json!({ "user": alice() })]
    {
        let told = Told::new().await;
        let old = told.idp.token().sign();
        let set = told.event("session-revoked", &subject).sign();
        assert_eq!(told.receiver.receive(set.as_bytes()).await, Ok(EventOutcome::Revoked), "{subject}");
        assert_eq!(told.reason(&old).await, Some(Reason::SubjectRevoked), "{subject}");
    }
    let told = Told::new().await;
    for subject in [
        json!({ "format": "email", "email": "alice@acme.example" }),
        json!({ "format": "iss_sub", "iss": "https://idp.test/", "sub": "alice" }),
        json!({ "format": "iss_sub", "iss": URL }),
        json!({ "format": "opaque", "id": "" }),
        json!({ "format": "complex", "user": { "format": "complex", "user": alice() } }),
        json!({ "format": "complex", "session": { "format": "opaque", "id": "s1" } }),
        json!({ "sub": "alice" }),
        json!("alice"),
    ] {
        let set = told.event("session-revoked", &subject).sign();
        assert_eq!(told.code(&set).await.as_deref(), Some("invalid_request"), "{subject}");
    }
    // Drafts of SSF put it into the event; one place or the other.
    let inside = json!({ format!("{CAEP}session-revoked"): { "subject": alice() } });
    let twice = told.event("session-revoked", &alice()).claim("events", inside.clone()).sign();
    assert_eq!(told.code(&twice).await.as_deref(), Some("invalid_request"));
    assert_eq!(told.revocations.standing().await.unwrap(), []);
    let draft = told.event("session-revoked", &alice()).claim("events", inside).without("sub_id").sign();
    assert_eq!(told.receiver.receive(draft.as_bytes()).await, Ok(EventOutcome::Revoked));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_event_of_a_known_transmitter_is_refused_with_its_code() {
    let told = Told::new().await;
    let event = || told.event("session-revoked", &alice());
    let now = told.clock.now().as_secs();
    let tampered = {
        let good = event().sign();
        let mut parts: Vec<String> = good.split('.').map(str::to_owned).collect();
        parts[2] = "A".repeat(parts[2].len());
        parts.join(".")
    };
    let two = json!({ format!("{CAEP}session-revoked"): {}, "https://x.example/other": {} });
    for (what, body, code) in [
        ("nonsense", "x.y".to_owned(), "invalid_request"),
        ("an access token", told.signals.token().sign(), "invalid_request"),
        ("no typ", event().header("typ", Value::Null).sign(), "invalid_request"),
        ("the issuer itself", told.idp.token().header("typ", "secevent+jwt").sign(), "invalid_issuer"),
        ("none", event().sign_none(), "invalid_key"),
        ("an unknown key", event().sign_with_unknown_kid(), "invalid_key"),
        ("a wrong signature", tampered, "authentication_failed"),
        ("another audience", event().audience("https://other.test").sign(), "invalid_audience"),
        ("nonce", event().claim("nonce", "n").sign(), "invalid_request"),
        ("no jti", event().without("jti").sign(), "invalid_request"),
        ("a jti that is a number", event().claim("jti", 7).sign(), "invalid_request"),
        ("no iat", event().without("iat").sign(), "invalid_request"),
        ("iat ahead", event().claim("iat", now + 60).sign(), "invalid_request"),
        ("no events", event().claim("events", json!({})).sign(), "invalid_request"),
        ("an unknown event beside", event().claim("events", two).sign(), "invalid_request"),
        ("an unknown event", told.event("device-compliance-change", &alice()).sign(), "invalid_request"),
    ] {
        assert_eq!(told.code(&body).await.as_deref(), Some(code), "{what}");
    }
    assert_eq!(told.revocations.standing().await.unwrap(), []);
    // What makes an event look like a token of another kind.
    let exp = told.signals.sign_text(
        &json!({ "alg": "ES256", "typ": "secevent+jwt", "kid": told.signals.kid() }).to_string(),
        &json!({
            "iss": SIGNALS, "aud": HERE, "jti": "x", "iat": now, "exp": now + 60, "sub_id": alice(),
            "events": { format!("{CAEP}session-revoked"): {} },
        })
        .to_string(),
    );
    assert_eq!(told.code(&exp).await.as_deref(), Some("invalid_request"));
    // A transmitter that is down is not the event's fault.
    let down = Told::new().await;
    down.signals.set_down(true);
    assert_eq!(down.code(&down.event("session-revoked", &alice()).sign()).await.as_deref(), Some("again"));
}

#[tokio::test(start_paused = true)]
async fn a_verification_is_heard_and_ends_nothing() {
    let told = Told::new().await;
    let events =
        json!({ "https://schemas.openid.net/secevent/ssf/event-type/verification": { "state": "s" } });
    let stream = json!({ "format": "opaque", "id": "stream-1" });
    let set = told.event("session-revoked", &stream).claim("events", events).sign();
    assert_eq!(told.receiver.receive(set.as_bytes()).await, Ok(EventOutcome::Verified));
    assert_eq!(told.revocations.standing().await.unwrap(), []);
}

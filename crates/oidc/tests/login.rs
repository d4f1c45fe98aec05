//! People log in, and nobody else does.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{future::ready, sync::Arc, time::Duration};

use bytes::Bytes;
use crewgate_core::{PrincipalKind, RevokedTokens};
use crewgate_oidc::{
    Fetch, FetchError, Fetched, Form, HttpFetch, IssuerConfig, LOGIN_TIME, Login, LoginConfig, LoginError,
    MemoryRevocations, MemorySessions, MemoryUsed, Opened, Posted, Profile, Revocations, SESSION_IDLE,
    SessionId,
};
use crewgate_testkit::{DevIdp, KeyKind, ManualClock, TokenBuilder, suites};
use futures_util::future::BoxFuture;
use http::Uri;
use serde_json::json;

const TENANT: &str = "https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/v2.0";
const HERE: &str = "https://console.test/callback";

/// The network between us and a provider without a socket.
struct Offline(DevIdp);

impl Fetch for Offline {
    fn fetch(&self, uri: Uri, _: Option<String>) -> BoxFuture<'_, Result<Fetched, FetchError>> {
        let document = self.0.document(&uri.to_string()).map(Bytes::from);
        let fetched = document.map(|body| Fetched { body: Some(body), tag: None, max_age: None });
        Box::pin(ready(fetched.ok_or_else(|| FetchError::new("down"))))
    }

    fn post(&self, uri: Uri, form: Form) -> BoxFuture<'_, Result<Posted, FetchError>> {
        let basic = form.authorization.as_ref().and_then(|value| value.to_str().ok());
        let answer = self.0.grant(&uri.to_string(), &form.body, basic);
        let posted =
            answer.map(|body| Posted { content_type: "application/json".to_owned(), body: body.into() });
        Box::pin(ready(posted.ok_or_else(|| FetchError::new("refused"))))
    }
}

struct Desk {
    idp: DevIdp,
    clock: ManualClock,
    login: Login,
    revocations: Revocations,
}

impl Desk {
    async fn new() -> Self {
        Self::with(|config| config).await
    }

    async fn with(change: impl FnOnce(LoginConfig) -> LoginConfig) -> Self {
        let clock = ManualClock::new();
        let idp = DevIdp::start_at(([127, 0, 0, 1], 0).into(), Arc::new(clock.clone())).await.unwrap();
        Self::at(idp, clock, Arc::new(HttpFetch::new().unwrap()), |issuer| issuer, change).await
    }

    /// A provider at its real URL, without a socket.
    async fn of(profile: Profile, url: &str, settings: fn(IssuerConfig) -> IssuerConfig) -> Self {
        let clock = ManualClock::new();
        let idp = DevIdp::offline(url, Arc::new(clock.clone()));
        let _ = idp.add_key(KeyKind::Rs256);
        let fetch = Arc::new(Offline(idp.clone()));
        Self::at(idp, clock, fetch, |issuer| settings(issuer.profile(profile)), |config| config).await
    }

    async fn at(
        idp: DevIdp,
        clock: ManualClock,
        fetch: Arc<dyn Fetch>,
        settings: impl FnOnce(IssuerConfig) -> IssuerConfig,
        change: impl FnOnce(LoginConfig) -> LoginConfig,
    ) -> Self {
        let issuer = settings(IssuerConfig::new("dev", idp.url(), ["crewgate"]).unwrap());
        let config = LoginConfig {
            issuer: issuer.clone(),
            client_id: "console".to_owned(),
            client_secret: Some("console-secret".to_owned()),
            redirect_uri: HERE.to_owned(),
            after_logout: "https://console.test/".to_owned(),
            scopes: vec!["groups".to_owned()],
            acr: Vec::new(),
            fresh: Duration::from_secs(300),
        };
        let kept = [issuer.with_sessions()];
        let at: Arc<dyn crewgate_core::Clock> = Arc::new(clock.clone());
        let revocations = Revocations::new(Arc::new(MemoryRevocations::new()), Arc::clone(&at), &kept);
        revocations.refresh().await.unwrap();
        let login = Login::new(
            change(config),
            fetch,
            Arc::new(MemorySessions::new()),
            Arc::new(MemoryUsed::default()),
            revocations.clone(),
            at,
        );
        idp.sign_in("ana", &["approvers"]);
        Self { idp, clock, login: login.unwrap(), revocations }
    }

    /// A login up to the answer: the cookie and the query that come back.
    async fn half(&self) -> (String, String) {
        let begun = self.login.begin("/approvals/7", false).await.unwrap();
        let back = self.idp.send_back(&begun.location).unwrap();
        (begun.attempt, back.strip_prefix(&format!("{HERE}?")).unwrap().to_owned())
    }

    async fn enter(&self) -> Result<Opened, LoginError> {
        let (attempt, query) = self.half().await;
        self.login.finish(Some(&attempt), &query, None).await
    }

    async fn code(&self) -> &'static str {
        self.enter().await.unwrap_err().code()
    }

    fn logout_token(&self) -> TokenBuilder {
        let events = json!({ "http://schemas.openid.net/event/backchannel-logout": {} });
        let token = self.idp.token().subject("ana").audience("console").header("typ", "logout+jwt");
        token.claim("events", events).claim("jti", SessionId::random().unwrap().reveal())
    }
}

#[tokio::test]
async fn sessions_in_memory_are_what_sessions_must_be() {
    suites::session::conforms(async || Arc::new(MemorySessions::new()) as Arc<_>).await;
}

#[tokio::test]
async fn a_person_logs_in_and_goes_where_they_wanted_to() {
    let desk = Desk::new().await;
    let opened = desk.enter().await.unwrap();
    assert_eq!(opened.back, "/approvals/7");
    let session = desk.login.resume(&opened.id).await.unwrap().unwrap();
    assert_eq!((session.principal.key.to_string().as_str(), session.sub.as_str()), ("dev:ana", "ana"));
    assert_eq!(session.principal.kind, PrincipalKind::User);
    assert!(session.principal.groups.contains("dev:approvers"));
    assert!(desk.login.is_fresh(&session));
    desk.clock.advance(Duration::from_secs(300));
    assert!(!desk.login.is_fresh(&session), "groups and proof are of five minutes ago");
    desk.clock.advance(SESSION_IDLE);
    assert_eq!(desk.login.resume(&opened.id).await.unwrap(), None);
}

/// What each provider puts into the ID tokens of people, in the shape its documentation gives, and who it is.
#[tokio::test]
async fn people_of_every_provider_log_in_as_who_their_access_tokens_say() {
    let hd = |issuer: IssuerConfig| issuer.require(["hd"], ["acme.example"]);
    let minutes = |n: i64| n * 60;
    let cases = [
        (
            Profile::Okta,
            "https://acme.okta.com/oauth2/default",
            // In access tokens `sub` is the login, and this is `uid`.
            json!({ "sub": "00ujmkLgagxeRrAg20g3", "ver": 1, "amr": ["pwd"], "idp": "00o1", "jti": "ID.4eAWJO",
                "preferred_username": "maria.keller@acme.example", "groups": ["approvers"] }),
            minutes(60),
            ("00ujmkLgagxeRrAg20g3", "approvers"),
        ),
        (
            Profile::EntraV2,
            TENANT,
            json!({ "sub": "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ", "ver": "2.0", "aio": "x", "uti": "y",
                "oid": "690222be-ff1a-4d56-abd1-7e4f7d38e474", "tid": "11111111-2222-3333-4444-555555555555",
                "roles": ["Crews.Approve"], "groups": null, "preferred_username": "maria@acme.example" }),
            minutes(65),
            ("690222be-ff1a-4d56-abd1-7e4f7d38e474", "Crews.Approve"),
        ),
        (
            Profile::Google,
            "https://accounts.google.com",
            json!({ "sub": "113774077117203", "azp": "console", "hd": "acme.example", "email_verified": true,
                "email": "maria@acme.example", "groups": null }),
            minutes(60),
            ("113774077117203", ""),
        ),
        (
            Profile::Keycloak,
            "https://sso.acme.example/realms/main",
            json!({ "sub": "f7f8b6c2-0d6a", "typ": "ID", "azp": "console", "acr": "1", "session_state": "z",
                "groups": ["/approvers"], "preferred_username": "maria" }),
            minutes(5),
            ("f7f8b6c2-0d6a", "/approvers"),
        ),
        (
            Profile::Auth0,
            "https://acme.eu.auth0.com/",
            json!({ "sub": "auth0|62f1c3", "nickname": "maria", "updated_at": "2023-11-14T22:13:20.000Z",
                "permissions": ["approve:crews"] }),
            minutes(600),
            ("auth0|62f1c3", "approve:crews"),
        ),
    ];
    for (profile, url, claims, lifetime, (subject, group)) in cases {
        let settings = if profile == Profile::Google { hd } else { |issuer: IssuerConfig| issuer };
        let desk = Desk::of(profile, url, settings).await;
        let claims = claims.as_object().unwrap().clone();
        desk.idp.change_id_tokens(move |token| {
            let lifetime = Duration::from_secs(lifetime.unsigned_abs());
            claims.iter().fold(token.lifetime(lifetime), |token, (name, value)| match value {
                serde_json::Value::Null => token.without(name),
                value => token.claim(name, value.clone()),
            })
        });
        let opened = desk.enter().await.unwrap_or_else(|error| panic!("{}: {error:?}", profile.name()));
        let (key, kind) = (&opened.principal.key, opened.principal.kind);
        assert_eq!((key.subject.as_str(), kind), (subject, PrincipalKind::User), "{}", profile.name());
        let groups: Vec<_> = opened.principal.groups.iter().collect();
        let expected: Vec<_> =
            Some(format!("dev:{group}")).filter(|_| !group.is_empty()).into_iter().collect();
        assert_eq!(groups, expected, "{}", profile.name());
        let session = desk.login.resume(&opened.id).await.unwrap().unwrap();
        assert!(desk.login.is_fresh(&session), "{}", profile.name());
    }
}

#[tokio::test]
async fn a_made_up_cookie_leaves_nothing_behind() {
    let desk = Desk::new().await;
    let begun = desk.login.begin("/", false).await.unwrap();
    let state = begun.location.split(['?', '&']).find_map(|pair| pair.strip_prefix("state=")).unwrap();
    let query = format!("code=made-up&state={state}&iss={}", desk.idp.url());
    for _ in 0..2 {
        // Not "this login is over": what nobody was logged in by is not remembered.
        let refused = desk.login.finish(Some(&begun.attempt), &query, None).await.unwrap_err();
        assert_eq!(refused.code(), "login_provider");
    }
    let back = desk.idp.send_back(&begun.location).unwrap();
    let (_, query) = back.split_once('?').unwrap();
    desk.login.finish(Some(&begun.attempt), query, None).await.unwrap();
}

#[tokio::test]
async fn who_is_revoked_by_the_name_their_tokens_carry_is_out_of_the_browser_too() {
    let desk = Desk::of(Profile::EntraV2, TENANT, |issuer| issuer).await;
    desk.idp.change_id_tokens(|token| {
        let id = "690222be-ff1a-4d56-abd1-7e4f7d38e474";
        token.claim("oid", id).claim("ver", "2.0").claim("tid", "11111111-2222-3333-4444-555555555555")
    });
    let opened = desk.enter().await.unwrap();
    assert_eq!(desk.login.resume(&opened.id).await.unwrap().unwrap().sub, "ana");
    let principal = crewgate_core::PrincipalKey::new("dev", "ana");
    desk.revocations.revoke(RevokedTokens::Subject { principal }, None, None, None).await.unwrap();
    assert_eq!(desk.login.resume(&opened.id).await.unwrap_err().code(), "subject_revoked");
}

#[tokio::test]
async fn a_login_may_be_ended_on_any_thread() {
    let desk = Desk::new().await;
    let (attempt, query) = desk.half().await;
    let login = desk.login.clone();
    let opened = tokio::spawn(async move { login.finish(Some(&attempt), &query, None).await });
    opened.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_public_client_logs_people_in_by_pkce_alone() {
    let desk = Desk::with(|config| LoginConfig { client_secret: None, ..config }).await;
    desk.enter().await.unwrap();
}

#[tokio::test]
async fn a_step_up_asks_for_what_decisions_need() {
    let desk = Desk::with(|config| LoginConfig { acr: vec!["gold".to_owned()], ..config }).await;
    let plain = desk.enter().await.unwrap();
    let session = desk.login.resume(&plain.id).await.unwrap().unwrap();
    assert!(!desk.login.is_fresh(&session), "a login of no class decides nothing");
    desk.clock.advance(Duration::from_secs(600));
    let begun = desk.login.begin("/", true).await.unwrap();
    assert!(begun.location.contains("max_age=300") && begun.location.contains("acr_values=gold"));
    let back = desk.idp.send_back(&begun.location).unwrap();
    let query = back.split_once('?').unwrap().1;
    let opened = desk.login.finish(Some(&begun.attempt), query, Some(&plain.id)).await.unwrap();
    let session = desk.login.resume(&opened.id).await.unwrap().unwrap();
    assert!(desk.login.is_fresh(&session));
    assert_eq!(desk.login.resume(&plain.id).await.unwrap(), None, "the session before is over");
}

#[tokio::test]
async fn a_login_that_says_nothing_of_its_age_is_never_fresh() {
    let desk = Desk::new().await;
    desk.idp.change_id_tokens(|token| token.without("auth_time"));
    let opened = desk.enter().await.unwrap();
    assert!(!desk.login.is_fresh(&desk.login.resume(&opened.id).await.unwrap().unwrap()));
}

#[tokio::test]
async fn an_answer_counts_once_in_its_own_browser_and_in_time() {
    let desk = Desk::new().await;
    let (attempt, query) = desk.half().await;
    let (other, _) = desk.half().await;
    let refused = async |attempt: Option<&str>, query: &str| {
        desk.login.finish(attempt, query, None).await.unwrap_err().to_string()
    };
    assert!(refused(None, &query).await.contains("no login was begun"));
    assert!(refused(Some("a.b.c"), &query).await.contains("no login was begun"));
    assert!(refused(Some(&other), &query).await.contains("another browser"), "state");
    assert!(refused(Some(&attempt), &format!("{query}&code=other")).await.contains("cannot be read"));
    let iss = query.replace("iss=http", "iss=https");
    assert!(refused(Some(&attempt), &iss).await.contains("another issuer"));
    let (without, _): (String, _) =
        (query.split('&').filter(|pair| !pair.starts_with("iss=")).collect::<Vec<_>>().join("&"), ());
    assert!(refused(Some(&attempt), &without).await.contains("another issuer"), "it says that it says so");
    desk.login.finish(Some(&attempt), &query, None).await.unwrap();
    assert!(refused(Some(&attempt), &query).await.contains("this login is over"));
    let (attempt, query) = desk.half().await;
    desk.clock.advance(LOGIN_TIME);
    assert!(refused(Some(&attempt), &query).await.contains("too long"));
}

#[tokio::test]
async fn who_says_no_at_the_issuer_is_not_in() {
    let desk = Desk::new().await;
    desk.idp.sign_out();
    assert_eq!(desk.code().await, "login_denied");
}

#[tokio::test]
async fn a_code_is_worth_nothing_to_who_did_not_ask_for_it() {
    let desk = Desk::new().await;
    let (attempt, query) = desk.half().await;
    let (_, stolen) = desk.half().await;
    let part =
        |query: &str, name: &str| query.split('&').find(|pair| pair.starts_with(name)).unwrap().to_owned();
    // Somebody else's code under one's own state: PKCE is what it fails by.
    let query = query.replace(&part(&query, "code="), &part(&stolen, "code="));
    let refused = desk.login.finish(Some(&attempt), &query, None).await.unwrap_err();
    assert_eq!(refused.code(), "login_provider");
}

#[tokio::test]
async fn an_id_token_must_be_of_this_login_for_this_client() {
    type Change = fn(TokenBuilder) -> TokenBuilder;
    let cases: [(&str, Change); 9] = [
        ("token_claims", |token| token.claim("nonce", "another")),
        ("token_claims", |token| token.without("nonce")),
        ("token_claims", |token| token.claim("at_hash", "AAAAAAAAAAAAAAAAAAAAAA")),
        ("token_claims", |token| token.claim("azp", "another")),
        ("token_claims", |token| token.claim("aud", json!(["console", "another"]))),
        ("token_audience", |token| token.audience("crewgate")),
        ("token_issuer_unknown", |token| token.issuer("https://evil.test")),
        ("token_expired", |token| token.expired()),
        ("token_type", |token| token.header("typ", "logout+jwt")),
    ];
    for (expected, change) in cases {
        let desk = Desk::new().await;
        desk.idp.change_id_tokens(change);
        assert_eq!(desk.code().await, expected);
    }
    let desk = Desk::new().await;
    desk.idp
        .change_id_tokens(|token| token.claim("aud", json!(["console", "another"])).claim("azp", "console"));
    desk.enter().await.unwrap();
}

#[tokio::test]
async fn who_is_revoked_is_out_and_stays_out() {
    let desk = Desk::new().await;
    let opened = desk.enter().await.unwrap();
    let principal = opened.principal.key.clone();
    desk.revocations.revoke(RevokedTokens::Subject { principal }, None, None, None).await.unwrap();
    desk.revocations.refresh().await.unwrap();
    assert!(matches!(desk.login.resume(&opened.id).await, Err(LoginError::Token(_))));
}

#[tokio::test]
async fn a_logout_ends_the_session_here_and_leads_to_the_issuers() {
    let desk = Desk::new().await;
    let opened = desk.enter().await.unwrap();
    let next = desk.login.logout(&opened.id).await.unwrap().unwrap();
    assert!(next.starts_with(&format!("{}/end_session?client_id=console", desk.idp.url())), "{next}");
    assert_eq!(desk.login.resume(&opened.id).await.unwrap(), None);
}

#[tokio::test]
async fn an_issuer_ends_sessions_by_a_token_that_counts_once() {
    let desk = Desk::new().await;
    let opened = desk.enter().await.unwrap();
    let token = desk.logout_token().sign();
    assert_eq!(desk.login.told(&token).await.unwrap(), 1);
    assert_eq!(desk.login.resume(&opened.id).await.unwrap(), None);
    let again = desk.enter().await.unwrap();
    assert_eq!(desk.login.told(&token).await.unwrap_err().code(), "token_claims");
    assert!(desk.login.resume(&again.id).await.unwrap().is_some());
    let session = desk.login.resume(&again.id).await.unwrap().unwrap();
    let by_sid = desk.logout_token().without("sub").claim("sid", session.sid.unwrap()).sign();
    assert_eq!(desk.login.told(&by_sid).await.unwrap(), 1);
}

#[tokio::test]
async fn a_logout_token_is_nothing_else_and_nothing_else_is_one() {
    let desk = Desk::new().await;
    let opened = desk.enter().await.unwrap();
    let good = || desk.logout_token();
    let cases = [
        ("token_type", good().header("typ", "JWT")),
        ("token_claims", good().claim("nonce", "n")),
        ("token_claims", good().without("events")),
        ("token_claims", good().claim("events", json!({ "other": {} }))),
        (
            "token_claims",
            good().claim("events", json!(["http://schemas.openid.net/event/backchannel-logout"])),
        ),
        ("token_claims", good().without("sub")),
        ("token_claims", good().claim("sid", 7)),
        ("token_claims", good().without("jti")),
        ("token_claims", good().without("exp")),
        ("token_claims", good().without("iat")),
        ("token_expired", good().expired()),
        ("token_audience", good().audience("crewgate")),
        ("token_issuer_unknown", good().issuer("https://evil.test")),
    ];
    for (number, (expected, token)) in cases.into_iter().enumerate() {
        assert_eq!(desk.login.told(&token.sign()).await.unwrap_err().code(), expected, "case {number}");
    }
    assert!(desk.login.told(&good().sign_none()).await.is_err());
    assert!(desk.login.resume(&opened.id).await.unwrap().is_some());
}

#[tokio::test]
async fn an_issuer_that_is_down_is_said_to_be() {
    let desk = Desk::new().await;
    desk.idp.set_down(true);
    assert_eq!(desk.login.begin("/", false).await.unwrap_err().code(), "login_provider");
}

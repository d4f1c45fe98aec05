//! People in browsers at the console's door: what lets them in, what they see and decide, and what does neither.
#![expect(clippy::unwrap_used, reason = "tests")]

mod house;

use std::{collections::BTreeMap, time::Duration};

use crewgate_audit::{Phase, Query};
use crewgate_core::{Clock, Fact, SystemClock};
use crewgate_testkit::{DevIdp, ManualClock};
use house::{Answer, Ground, House, Plan, Wire, contains, request, verifies};
use serde_json::json;

fn plan() -> Plan {
    let login = "[console.login]\nissuer = \"dev\"\nclient_id = \"console\"\nscopes = [\"groups\"]\n\
                 client_secret = { file = \"console.key\" }\n";
    let revoke = "[revocation]\nroles = [\"data-owners\"]\n";
    Plan { tables: format!("{login}{revoke}"), ..Plan::default() }
}

async fn open() -> House {
    open_at(SystemClock).await
}

async fn open_at(clock: impl Clock) -> House {
    let ground = Ground::lay(plan()).await;
    ground.folder.write("console.key", "console-secret");
    House::start_at(ground, clock).await
}

/// A browser: cookies, and the headers one sends.
struct Browser<'a> {
    house: &'a House,
    cookies: BTreeMap<String, String>,
}

impl<'a> Browser<'a> {
    fn new(house: &'a House) -> Self {
        Self { house, cookies: BTreeMap::new() }
    }

    fn origin(&self) -> String {
        format!("http://{}", self.house.running.console().unwrap())
    }

    async fn send(&mut self, method: &str, path: &str, more: &[&str], body: &str) -> Answer {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = format!("cookie: {}", cookies.join("; "));
        let mut headers = vec!["connection: close", "accept: text/html"];
        headers.extend(more);
        if !self.cookies.is_empty() {
            headers.push(&cookies);
        }
        let mut wire = Wire::connect(self.house.running.console().unwrap()).await;
        wire.send(&request(method, path, &headers, body.as_bytes())).await;
        let answer = wire.answer().await.unwrap();
        for line in answer.headers.get_all("set-cookie") {
            let line = line.to_str().unwrap();
            assert!(line.contains("; HttpOnly; SameSite=Lax"), "{line}");
            let (name, value) = line.split(';').next().unwrap().split_once('=').unwrap();
            if line.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    async fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    /// A form as a page of the console sends it.
    async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let origin = format!("origin: {}", self.origin());
        self.post_from(path, &[&origin, "sec-fetch-site: same-origin"], fields).await
    }

    async fn post_from(&mut self, path: &str, from: &[&str], fields: &[(&str, &str)]) -> Answer {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let mut headers = vec!["content-type: application/x-www-form-urlencoded"];
        headers.extend(from);
        self.send("POST", path, &headers, &body).await
    }

    /// Where the identity provider sends it back to, as a path.
    async fn at_provider(&mut self, path: &str) -> String {
        let sent = self.get(path).await;
        assert_eq!(sent.status, 303, "{}", sent.text());
        let back = self.house.idp.send_back(sent.header("location").unwrap()).unwrap();
        back.strip_prefix(&self.origin()).unwrap().to_owned()
    }

    /// Logs in and gives where it leads.
    async fn log_in(&mut self, path: &str) -> String {
        let back = self.at_provider(path).await;
        let answer = self.get(&back).await;
        assert_eq!(answer.status, 303, "{}", answer.text());
        answer.header("location").unwrap().to_owned()
    }

    /// What stands in the page's hidden field of this name.
    async fn field(&mut self, path: &str, name: &str) -> String {
        let page = self.get(path).await.text();
        let (_, rest) = page.split_once(&format!("name=\"{name}\" value=\"")).unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_logs_in_sees_what_waits_approves_it_and_logs_out() {
    let house = open().await;
    house.ask(&house.alice()).await;
    house.idp.sign_in("dora", &["data-owners"]);
    let mut dora = Browser::new(&house);
    let first = dora.get("/").await;
    assert_eq!((first.status, first.header("location")), (303, Some("/login?to=/")));
    assert_eq!(dora.log_in("/login?to=/").await, "/");
    let page = dora.get("/").await;
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(page.text().contains("dev:dora") && page.text().contains("kickoff payroll"), "{}", page.text());
    let id = house.sheet().await.get("id").and_then(|id| id.as_str()).unwrap().to_owned();
    let path = format!("/approvals/{id}");
    assert!(page.text().contains(&format!("href=\"{path}\"")));
    let sheet = dora.get(&path).await.text();
    assert!(sheet.contains("E-2001") && !sheet.contains("<script"), "{sheet}");
    // Looking decides nothing, however often and by whatever method of looking.
    assert_eq!(dora.get(&format!("{path}/decision?verdict=approve")).await.status, 405);
    assert_eq!(house.waiting().await.len(), 1);

    let (token, digest) = (dora.field(&path, "token").await, dora.field(&path, "digest").await);
    let yes =
        [("token", token.as_str()), ("digest", digest.as_str()), ("verdict", "approve"), ("reason", "ok")];
    let done = dora.post(&format!("{path}/decision"), &yes).await;
    assert_eq!((done.status, done.header("location")), (303, Some(path.as_str())), "{}", done.text());
    assert!(dora.get(&path).await.text().contains("approved"));
    assert!(house.waiting().await.is_empty());

    let session = dora.cookies.clone();
    let out = dora.post("/logout", &[("token", &token)]).await;
    assert_eq!(out.status, 200);
    assert!(out.text().contains("/end_session?client_id=console"), "{}", out.text());
    assert!(dora.cookies.is_empty());
    dora.cookies = session;
    assert_eq!(dora.get("/").await.status, 303, "the cookie from before opens nothing any more");
    let told = house.entries(Query::default().phase(Phase::Control)).await;
    let told: Vec<_> = told.iter().flat_map(|entry| &entry.facts).collect();
    for expected in ["session.begin", "session.end"] {
        assert!(told.iter().any(|fact| matches!(fact, Fact::Control { by: Some(by), what } if what == expected && by.subject == "dora")));
    }
    let cookie = dora.cookies.values().next().unwrap().clone();
    let ground = house.stop().await;
    assert!(!contains(&ground.folder.database(), &cookie), "what opens a session is not kept");
    verifies(&ground.folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_no_page_of_this_session_sent_does_nothing() {
    let house = open().await;
    house.ask(&house.alice()).await;
    house.idp.sign_in("dora", &["data-owners"]);
    let (mut dora, mut other) = (Browser::new(&house), Browser::new(&house));
    dora.log_in("/login").await;
    other.log_in("/login").await;
    let id = house.sheet().await.get("id").and_then(|id| id.as_str()).unwrap().to_owned();
    let (path, to) = (format!("/approvals/{id}"), format!("/approvals/{id}/decision"));
    let (token, digest) = (dora.field(&path, "token").await, dora.field(&path, "digest").await);
    let theirs = other.field(&path, "token").await;
    let origin = format!("origin: {}", dora.origin());
    let same = "sec-fetch-site: same-origin";
    let fields = |token: &str| {
        [("token", token.to_owned()), ("digest", digest.clone()), ("verdict", "approve".to_owned())]
    };
    for (from, token) in [
        (vec!["origin: https://evil.test", "sec-fetch-site: cross-site"], token.as_str()),
        (vec!["origin: https://evil.test"], token.as_str()),
        (vec![origin.as_str(), "sec-fetch-site: same-site"], token.as_str()),
        (vec!["origin: null", same], token.as_str()),
        (vec![], token.as_str()),
        (vec![origin.as_str(), same], theirs.as_str()),
        (vec![origin.as_str(), same], ""),
    ] {
        let fields = fields(token);
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let refused = dora.post_from(&to, &from, &fields).await;
        assert_eq!(refused.status, 403, "{from:?}");
        assert!(refused.text().contains("nothing was done"), "{}", refused.text());
    }
    let missing = dora.post(&to, &[("digest", &digest), ("verdict", "approve")]).await;
    assert_eq!(missing.status, 403);
    // A session's cookie opens nothing of the API, and a token of the API needs no form.
    let api = dora.get("/api/approvals").await;
    assert_eq!(api.status, 401);
    assert_eq!(house.waiting().await.len(), 1);
    assert_eq!(dora.post("/logout", &[("token", &theirs)]).await.status, 403);
    assert_eq!(dora.get("/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_another_login_is_refused_and_says_why() {
    let house = open().await;
    house.idp.sign_in("dora", &["data-owners"]);
    let (mut dora, mut other) = (Browser::new(&house), Browser::new(&house));
    let back = dora.at_provider("/login").await;
    let stranger = other.get(&back).await;
    assert_eq!(stranger.status, 400);
    assert!(stranger.text().contains("no login was begun in this browser"));
    other.at_provider("/login").await;
    let mixed = other.get(&back).await;
    assert_eq!(mixed.status, 400, "a login somebody else began would log this person in as them");
    assert!(mixed.text().contains("another browser"));
    let forged = back.replace("iss=http", "iss=https");
    let wrong = dora.get(&forged).await;
    assert!(wrong.status == 400 && wrong.text().contains("another issuer"), "{}", wrong.text());
    let cookies = dora.cookies.clone();
    assert_eq!(dora.get(&back).await.status, 303);
    dora.cookies = cookies;
    let replayed = dora.get(&back).await;
    assert!(replayed.status == 400 && replayed.text().contains("this login is over"), "{}", replayed.text());
    house.idp.sign_out();
    let back = other.at_provider("/login").await;
    assert_eq!(other.get(&back).await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_leads_nowhere_else_and_a_program_is_not_sent_to_one() {
    let house = open().await;
    house.idp.sign_in("dora", &[]);
    let mut dora = Browser::new(&house);
    assert_eq!(dora.log_in("/login?to=https://evil.test/").await, "/");
    assert_eq!(dora.log_in("/login?to=//evil.test/").await, "/");
    let program = house.control("GET", "/", "", None).await;
    assert_eq!((program.status, program.header("location")), (401, None));
    let style = house.control("GET", "/style.css", "", None).await;
    assert_eq!((style.status, style.header("content-type")), (200, Some("text/css")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_needs_a_login_of_a_short_time_ago_and_a_session_ends() {
    let clock = ManualClock::at(SystemClock.now());
    let house = open_at(clock.clone()).await;
    house.ask(&house.alice()).await;
    house.idp.sign_in("dora", &["data-owners"]);
    let mut dora = Browser::new(&house);
    dora.log_in("/login").await;
    let id = house.sheet().await.get("id").and_then(|id| id.as_str()).unwrap().to_owned();
    let (path, to) = (format!("/approvals/{id}"), format!("/approvals/{id}/decision"));
    let (token, digest) = (dora.field(&path, "token").await, dora.field(&path, "digest").await);
    clock.advance(Duration::from_secs(301));
    let page = dora.get(&path).await.text();
    assert!(!page.contains("value=\"approve\"") && page.contains("value=\"deny\""), "{page}");
    assert!(
        page.contains(&format!("/login?fresh=true&to={path}")) || page.contains("/login?fresh=true&amp;to=")
    );
    let fields = [("token", token.as_str()), ("digest", digest.as_str()), ("verdict", "approve")];
    let stale = dora.post(&to, &fields).await;
    assert_eq!(stale.status, 403);
    assert!(stale.text().contains("Log in again"));
    assert_eq!(house.waiting().await.len(), 1);
    clock.advance(Duration::from_secs(15 * 60));
    assert_eq!(dora.get("/").await.status, 303, "nobody used it for a quarter of an hour");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_belongs_to_the_one_host_it_was_given_by_and_travels_encrypted_alone() {
    let ground = Ground::lay(plan()).await;
    ground.folder.write("console.key", "console-secret");
    let config = std::fs::read_to_string(&ground.config).unwrap();
    let public = "[console]\npublic_url = \"https://console.test\"\n";
    ground.folder.write("crewgate.toml", config.replacen("[console]\n", public, 1));
    let house = House::start(ground).await;
    house.idp.sign_in("dora", &["data-owners"]);
    let mut dora = Browser::new(&house);
    let sent = dora.get("/login").await;
    let back = house.idp.send_back(sent.header("location").unwrap()).unwrap();
    let entered = dora.get(back.strip_prefix("https://console.test").unwrap()).await;
    assert_eq!((entered.status, entered.header("location")), (303, Some("/")), "{}", entered.text());
    let given = [&sent, &entered].into_iter().flat_map(|answer| answer.headers.get_all("set-cookie"));
    let given: Vec<_> = given.map(|line| line.to_str().unwrap()).collect();
    assert!(given.len() >= 2, "{given:?}");
    for line in given {
        assert!(
            line.starts_with("__Host-") && line.contains("; Secure") && line.contains("; Path=/;"),
            "{line}"
        );
        assert!(!line.to_ascii_lowercase().contains("domain="), "{line}");
    }
    assert_eq!(dora.get("/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_the_issuer_ends_a_session() {
    let signals = DevIdp::start().await.unwrap();
    let audience = "https://gate.test/oauth/events";
    let mut plan = plan();
    plan.tables += &format!(
        "[[events]]\nissuer = \"dev\"\ntransmitter = \"{}\"\naudience = [\"{audience}\"]\n",
        signals.url()
    );
    let ground = Ground::lay(plan).await;
    ground.folder.write("console.key", "console-secret");
    let house = House::start(ground).await;
    house.idp.sign_in("dora", &["data-owners"]);
    let mut dora = Browser::new(&house);
    dora.log_in("/login").await;
    assert_eq!(dora.get("/").await.status, 200);
    let push = async |subject: &str| {
        let kind = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
        let about = json!({ "format": "iss_sub", "iss": house.idp.url(), "sub": subject });
        let event = signals.token().header("typ", "secevent+jwt").audience(audience).claim("jti", subject);
        let event = event.claim("sub_id", about).claim("events", json!({ kind: {} }));
        let event = event.without("sub").without("exp").sign();
        let mut wire = Wire::connect(house.data()).await;
        let headers = ["content-type: application/secevent+jwt", "connection: close"];
        wire.send(&request("POST", "/oauth/events", &headers, event.as_bytes())).await;
        assert_eq!(wire.answer().await.unwrap().status, 202);
    };
    push("somebody-else").await;
    assert_eq!(dora.get("/").await.status, 200);
    push("dora").await;
    let out = dora.get("/").await;
    assert_eq!((out.status, out.header("location")), (303, Some("/login?to=/")));
    verifies(&house.stop().await.folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_revoked_or_logged_out_elsewhere_is_out() {
    let house = open().await;
    house.idp.sign_in("dora", &["data-owners"]);
    let mut dora = Browser::new(&house);
    dora.log_in("/login").await;
    let events = json!({ "http://schemas.openid.net/event/backchannel-logout": {} });
    let token = house.idp.token().subject("dora").audience("console").header("typ", "logout+jwt");
    let token = token.claim("events", events).claim("jti", "logout-1").sign();
    let mut provider = Browser::new(&house);
    let told = provider.post_from("/backchannel-logout", &[], &[("logout_token", "a.b.c")]).await;
    assert_eq!(told.status, 400, "{}", told.text());
    assert_eq!(dora.get("/").await.status, 200);
    let told = provider.post_from("/backchannel-logout", &[], &[("logout_token", &token)]).await;
    assert_eq!(told.status, 200, "{}", told.text());
    assert_eq!(dora.get("/").await.status, 303);

    dora.log_in("/login").await;
    assert_eq!(dora.get("/").await.status, 200);
    let dora_token = house.dora();
    let tokens = json!({ "kind": "subject", "issuer": "dev", "subject": "dora" });
    let made =
        house.control("POST", "/api/revocations", &dora_token, Some(json!({ "tokens": tokens }))).await;
    assert_eq!(made.status, 200, "{}", made.text());
    assert_eq!(dora.get("/").await.status, 303);
}

//! `oidc-provider` in a Node process.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Stdio},
};

use ::http::{Request, header};
use serde_json::{Value, json};

use super::{Answer, Http};

/// PKCE pair of RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A running provider.
pub(crate) struct Idp {
    child: Child,
    pub(crate) issuer: String,
    /// Private key of the client `signer`, PEM.
    pub(crate) signer: String,
    redirect: String,
}

impl Idp {
    pub(crate) fn start(folder: &Path) -> Self {
        Self::start_at(folder, 0)
    }

    /// At this port of the loopback; any for zero.
    pub(crate) fn start_at(folder: &Path, port: u16) -> Self {
        Self::start_with(folder, port, 600)
    }

    /// A provider at which people log in for the console at this address.
    pub(crate) fn start_for(folder: &Path, console: &str) -> Self {
        Self::start_all(folder, 0, 600, console)
    }

    /// A provider whose access tokens live this many seconds.
    pub(crate) fn start_with(folder: &Path, port: u16, lifetime: u32) -> Self {
        Self::start_all(folder, port, lifetime, "http://127.0.0.1:1")
    }

    fn start_all(folder: &Path, port: u16, lifetime: u32, console: &str) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real/idp.mjs");
        let mut child = std::process::Command::new("node")
            .arg(script)
            .arg(port.to_string())
            .env("CREWGATE_REAL_IDP", folder)
            .env("CREWGATE_TOKEN_TTL", lifetime.to_string())
            .env("CREWGATE_CONSOLE", console)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("idp.mjs said {line:?}: {error}"));
        let text = |key: &str| ready.get(key).and_then(Value::as_str).unwrap().to_owned();
        Self { child, issuer: text("issuer"), signer: text("signer"), redirect: text("redirect") }
    }

    /// A fresh token for a CI job, by client credentials.
    pub(crate) async fn job(&self, client: &str) -> String {
        self.job_with(client, &[]).await
    }

    /// The same, proved with these headers.
    pub(crate) async fn job_with(&self, client: &str, headers: &[(&str, &str)]) -> String {
        let fields = format!(
            "grant_type=client_credentials&client_id={client}&client_secret={client}-secret-of-a-test&scope=crews"
        );
        token(&self.post("/token", headers, &fields).await)
    }

    /// What the provider answers to this form at this path of its own.
    pub(crate) async fn post(&self, path: &str, headers: &[(&str, &str)], fields: &str) -> Answer {
        let headers = headers.iter().chain(&[("content-type", "application/x-www-form-urlencoded")]);
        let request = headers
            .fold(Request::post(format!("{}{path}", self.issuer)), |request, (name, value)| {
                request.header(*name, *value)
            });
        Http::new().send(request.body(fields.to_owned().into()).unwrap()).await.unwrap()
    }

    /// How often the provider was asked for this path.
    pub(crate) async fn asked(&self, path: &str) -> u64 {
        let asked = Http::new().get(&format!("{}/asked", self.issuer)).await.expect(200).json();
        asked.get(path).and_then(Value::as_u64).unwrap_or_default()
    }

    /// A fresh token for a person, by authorization code with PKCE: signs in and consents as a browser would.
    pub(crate) async fn person(&self, name: &str) -> String {
        let mut browser = Browser::default();
        let start = format!(
            "{}/auth?client_id=desk&response_type=code&redirect_uri={}&scope=openid%20crews&resource=urn:crewgate\
             &code_challenge={CHALLENGE}&code_challenge_method=S256&state=of-{name}&nonce=n",
            self.issuer, self.redirect
        );
        let mut next = browser.get(&self.issuer, &start).await;
        for _ in 0..12 {
            if let Some(query) = next.strip_prefix(&self.redirect) {
                let field = |key: &str| {
                    query
                        .trim_start_matches('?')
                        .split('&')
                        .find_map(|pair| pair.strip_prefix(key))
                        .unwrap()
                        .to_owned()
                };
                assert_eq!(field("state="), format!("of-{name}"));
                let fields = format!(
                    "grant_type=authorization_code&client_id=desk&code={}&redirect_uri={}&code_verifier={VERIFIER}",
                    field("code="),
                    self.redirect
                );
                return token(&Http::new().form(&format!("{}/token", self.issuer), "", &fields).await);
            }
            next = browser.step(&self.issuer, &next, name).await;
        }
        panic!("{name} could not sign in, last at {next}");
    }

    /// Somebody opens the page of a device code, confirms the code, and signs in (RFC 8628 section 3.3).
    pub(crate) async fn enter(&self, page: &str, name: &str) {
        let mut browser = Browser::default();
        let device = format!("{}/device", self.issuer);
        let shown = browser.page(page).await;
        let code = format!("xsrf={}&user_code={}", input(&shown, "xsrf"), input(&shown, "user_code"));
        let answer = Http::new().form(&device, &browser.cookie(), &code).await.expect(200);
        browser.keep(&answer);
        let confirm = format!(
            "xsrf={}&user_code={}&confirm=yes",
            input(&answer.text(), "xsrf"),
            input(&shown, "user_code")
        );
        let mut next = browser.submit(&self.issuer, &device, &confirm).await;
        for _ in 0..12 {
            if next.starts_with(&format!("{device}/")) {
                let answer = Http::new().get_with_cookie(&next, &browser.cookie()).await;
                if answer.status == 200 {
                    assert!(answer.text().contains("Sign-in Success"), "{answer:?}");
                    return;
                }
                next = browser.follow(&self.issuer, &answer);
            } else {
                next = browser.step(&self.issuer, &next, name).await;
            }
        }
        panic!("{name} could not sign a device in, last at {next}");
    }

    /// New signing keys; the old public keys stay published only with `keep`.
    pub(crate) async fn rotate(&self, keep: bool) {
        let url = format!("{}/rotate{}", self.issuer, if keep { "?keep=1" } else { "" });
        Http::new().post(&url, &json!({})).await.expect(200);
    }
}

impl Drop for Idp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn token(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json().get("access_token").and_then(Value::as_str).unwrap().to_owned()
}

/// The value of a hidden field.
fn input<'p>(page: &'p str, name: &str) -> &'p str {
    let at = page.split_once(&format!("name=\"{name}\"")).unwrap_or_else(|| panic!("no {name} in {page}")).1;
    at.split_once("value=\"").unwrap().1.split_once('"').unwrap().0
}

/// Follows redirects and keeps cookies, as little as a sign-in needs.
#[derive(Default)]
struct Browser {
    cookies: BTreeMap<String, String>,
}

impl Browser {
    fn cookie(&self) -> String {
        self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    fn keep(&mut self, answer: &Answer) {
        for cookie in answer.headers.get_all(header::SET_COOKIE) {
            let (name, rest) = cookie.to_str().unwrap().split_once('=').unwrap();
            match rest.split(';').next().unwrap_or_default() {
                "" => self.cookies.remove(name),
                value => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
    }

    /// Where the answer sends the browser.
    fn follow(&mut self, issuer: &str, answer: &Answer) -> String {
        self.keep(answer);
        assert!(answer.status.is_redirection(), "{answer:?}");
        let location = answer.header(header::LOCATION);
        if location.starts_with('/') { format!("{issuer}{location}") } else { location }
    }

    async fn get(&mut self, issuer: &str, url: &str) -> String {
        let answer = Http::new().get_with_cookie(url, &self.cookie()).await;
        self.follow(issuer, &answer)
    }

    /// The next step of a sign-in: who it is, then yes.
    async fn step(&mut self, issuer: &str, next: &str, name: &str) -> String {
        if !next.contains("/interaction/") {
            return self.get(issuer, next).await;
        }
        let fields = if self.page(next).await.contains("name=\"login\"") {
            format!("prompt=login&login={name}&password=any")
        } else {
            "prompt=consent".to_owned()
        };
        self.submit(issuer, next, &fields).await
    }

    async fn page(&mut self, url: &str) -> String {
        let answer = Http::new().get_with_cookie(url, &self.cookie()).await.expect(200);
        self.keep(&answer);
        answer.text()
    }

    async fn submit(&mut self, issuer: &str, url: &str, fields: &str) -> String {
        let answer = Http::new().form(url, &self.cookie(), fields).await;
        self.follow(issuer, &answer)
    }
}

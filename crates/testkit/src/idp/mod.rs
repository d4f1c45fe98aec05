//! A development identity provider: discovery, JWKS, several keys, rotation, outages, and any token a test needs.

mod code;
mod grants;
mod key;
mod server;
mod token;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use crewgate_core::{Clock, SystemClock};
use serde_json::json;
use tokio::{net::TcpListener, task::JoinHandle};

use self::{code::Codes, grants::Grants, key::SigningKey};
pub use self::{key::KeyKind, token::TokenBuilder};

/// A development identity provider. Clones are the same provider; the listener ends with the last of them.
///
/// Whoever can reach it can have any token: it is for tests, examples and benches.
///
/// ```
/// use crewgate_testkit::DevIdp;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// let idp = DevIdp::start().await?;
/// assert!(idp.url().starts_with("http://127.0.0.1:"));
/// let token = idp.token().subject("alice").groups(["analysts"]).audience("crewgate").sign();
/// assert_eq!(token.split('.').count(), 3);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct DevIdp {
    shared: Arc<Shared>,
    // Ends the server when the last clone goes.
    _server: Option<Arc<Server>>,
}

/// How often each document was asked for, refused answers included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fetches {
    /// `/.well-known/openid-configuration`
    pub discovery: u64,
    /// `/jwks`
    pub jwks: u64,
}

impl DevIdp {
    /// A provider on an ephemeral loopback port with one ES256 key.
    ///
    /// # Errors
    ///
    /// When the port cannot be had.
    pub async fn start() -> io::Result<Self> {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Arc::new(SystemClock)).await
    }

    /// A provider at this address, telling time by this clock.
    ///
    /// # Errors
    ///
    /// When the address cannot be had.
    pub async fn start_at(listen: SocketAddr, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let shared = Arc::new(Shared::new(format!("http://{}", listener.local_addr()?), clock));
        let router = server::router(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            // Ends only by abort: `axum::serve` retries failed accepts by itself.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { shared, _server: Some(Arc::new(Server(task))) })
    }

    /// A provider without a socket: [`document`](Self::document) is its whole network. For tests under paused time,
    /// where a real socket would see every time-out expire at once.
    #[must_use]
    pub fn offline(url: impl Into<String>, clock: Arc<dyn Clock>) -> Self {
        Self { shared: Arc::new(Shared::new(url.into(), clock)), _server: None }
    }

    /// The issuer URL: the `iss` of its tokens and the base of its documents.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.shared.url
    }

    /// A token for `alice`, audience `crewgate`, five minutes from now, ready to be changed and signed.
    pub fn token(&self) -> TokenBuilder {
        TokenBuilder::new(Arc::clone(&self.shared))
    }

    /// Signs this header and these claims exactly as they are written, duplicates and nonsense included.
    #[must_use]
    pub fn sign_text(&self, header: &str, claims: &str) -> String {
        let key = self.shared.current();
        token::assemble(header, claims, |message| key.sign(message))
    }

    /// Publishes another key and signs with it from now on; the earlier ones stay published. Gives its kid.
    #[must_use = "the kid names the key in later calls"]
    pub fn add_key(&self, kind: KeyKind) -> String {
        self.shared.add(kind)
    }

    /// Replaces all keys by a new one of the kind that signs now, as after a leak. Gives its kid.
    pub fn rotate(&self) -> String {
        let kind = self.shared.current().kind();
        let kid = self.shared.add(kind);
        self.shared.keys().retain(|key| key.kid() == kid);
        kid
    }

    /// Takes this key out of the published set. The last key stays.
    pub fn retire(&self, kid: &str) {
        let mut keys = self.shared.keys();
        if keys.len() > 1 {
            keys.retain(|key| key.kid() != kid);
        }
    }

    /// Kid of the key that signs now.
    #[must_use]
    pub fn kid(&self) -> String {
        self.shared.current().kid().to_owned()
    }

    /// The current public key as PEM (`SubjectPublicKeyInfo`): what an attacker would use as an HMAC secret.
    #[must_use]
    pub fn public_key_pem(&self) -> String {
        self.shared.current().public_pem()
    }

    /// `true`: answers every request with 503 until it is set back.
    pub fn set_down(&self, down: bool) {
        self.shared.down.store(down, Ordering::SeqCst);
    }

    /// Waits this long before every answer over the network.
    pub fn set_delay(&self, delay: Duration) {
        let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.shared.delay_millis.store(millis, Ordering::SeqCst);
    }

    /// How long tokens of the token endpoint live (300 s), for those granted from now on.
    pub fn set_token_lifetime(&self, lifetime: Duration) {
        self.shared.grants.set_lifetime(lifetime);
    }

    /// The person in front of the browser enters this user code (RFC 8628) and is who is named here; `false` when no
    /// device waits for it.
    #[must_use = "a code that nobody waits for signs nobody in"]
    pub fn approve_device(&self, user_code: &str, subject: &str, groups: &[&str]) -> bool {
        self.shared.grants.answer(user_code, Some((subject, groups)))
    }

    /// The person in front of the browser says no; `false` when no device waits for it.
    #[must_use = "a code that nobody waits for refuses nobody"]
    pub fn deny_device(&self, user_code: &str) -> bool {
        self.shared.grants.answer(user_code, None)
    }

    /// Puts this person in front of the browser, logged in here since now; gives what the session is called (`sid`).
    pub fn sign_in(&self, subject: &str, groups: &[&str]) -> String {
        self.shared.codes.sign_in(subject, groups, self.shared.clock.now())
    }

    /// Nobody in front of the browser is logged in here: whoever is sent here comes back with `access_denied`.
    pub fn sign_out(&self) {
        self.shared.codes.sign_out();
    }

    /// Sends a browser that was sent to this place back, and gives where to; `None` when it was not sent rightly.
    #[must_use]
    pub fn send_back(&self, location: &str) -> Option<String> {
        let query = location.strip_prefix(&format!("{}/authorize?", self.shared.base()))?;
        self.shared.codes.authorize(&self.shared, query)
    }

    /// Changes every ID token before it is signed.
    pub fn change_id_tokens(&self, change: impl Fn(TokenBuilder) -> TokenBuilder + Send + Sync + 'static) {
        self.shared.codes.change(Arc::new(change));
    }

    /// Ends every login: no refresh token counts any more.
    pub fn end_logins(&self) {
        self.shared.grants.end_logins();
    }

    /// Logins that can be renewed: refresh tokens rotate, and one that is used twice is none.
    #[must_use]
    pub fn logins(&self) -> usize {
        self.shared.grants.logins()
    }

    /// Tokens the token endpoint has granted to logins and programs.
    #[must_use]
    pub fn granted(&self) -> u64 {
        self.shared.grants.granted()
    }

    /// Documents asked for so far.
    #[must_use]
    pub fn fetches(&self) -> Fetches {
        self.shared.fetches()
    }

    /// The document at this absolute URL, as the network would answer it: `None` while down, and for other URLs.
    #[must_use]
    pub fn document(&self, url: &str) -> Option<String> {
        let path = url.strip_prefix(self.shared.base())?;
        self.shared.document(path)
    }

    /// What the token endpoint answers to a form, when it grants something; `basic` is the `Authorization` sent with it.
    #[must_use]
    pub fn grant(&self, url: &str, form: &str, basic: Option<&str>) -> Option<String> {
        let form = form_urlencoded::parse(form.as_bytes()).into_owned().collect();
        let asked = url.strip_prefix(self.shared.base()) == Some("/token");
        let granted = asked.then(|| self.shared.grants.token(&self.shared, &form, basic).ok()).flatten();
        granted.map(|answer| answer.to_string())
    }
}

/// The serving task.
#[derive(Debug)]
struct Server(JoinHandle<()>);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What the server, the clones and the token builders share.
struct Shared {
    url: String,
    clock: Arc<dyn Clock>,
    // The last one signs.
    keys: Mutex<Vec<Arc<SigningKey>>>,
    serial: AtomicU64,
    down: AtomicBool,
    delay_millis: AtomicU64,
    discovery: AtomicU64,
    jwks: AtomicU64,
    grants: Grants,
    codes: Codes,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("url", &self.url)
            .field("fetches", &self.fetches())
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn new(url: String, clock: Arc<dyn Clock>) -> Self {
        let shared = Self {
            url,
            clock,
            keys: Mutex::default(),
            serial: AtomicU64::new(0),
            down: AtomicBool::new(false),
            delay_millis: AtomicU64::new(0),
            discovery: AtomicU64::new(0),
            jwks: AtomicU64::new(0),
            grants: Grants::new(),
            codes: Codes::new(),
        };
        shared.add(KeyKind::Es256);
        shared
    }

    fn add(&self, kind: KeyKind) -> String {
        let serial = self.serial.fetch_add(1, Ordering::SeqCst);
        let kid = format!("dev-{serial}");
        self.keys().push(Arc::new(SigningKey::generate(kind, kid.clone())));
        kid
    }

    fn keys(&self) -> MutexGuard<'_, Vec<Arc<SigningKey>>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[expect(
        clippy::expect_used,
        reason = "a provider is made with a key, and the last key cannot be retired"
    )]
    fn current(&self) -> Arc<SigningKey> {
        self.keys().last().cloned().expect("a provider always has a key")
    }

    fn key(&self, kid: &str) -> Option<Arc<SigningKey>> {
        self.keys().iter().find(|key| key.kid() == kid).cloned()
    }

    fn fetches(&self) -> Fetches {
        Fetches { discovery: self.discovery.load(Ordering::SeqCst), jwks: self.jwks.load(Ordering::SeqCst) }
    }

    /// What its documents' and endpoints' URLs begin with: an issuer's URL may end with a slash.
    fn base(&self) -> &str {
        self.url.trim_end_matches('/')
    }

    fn document(&self, path: &str) -> Option<String> {
        let base = self.base();
        let document = match path {
            "/.well-known/openid-configuration" => {
                self.discovery.fetch_add(1, Ordering::SeqCst);
                json!({
                    "issuer": self.url,
                    "jwks_uri": format!("{base}/jwks"),
                    "authorization_endpoint": format!("{base}/authorize"),
                    "end_session_endpoint": format!("{base}/end_session"),
                    "authorization_response_iss_parameter_supported": true,
                    "token_endpoint": format!("{base}/token"),
                    "device_authorization_endpoint": format!("{base}/device_authorization"),
                    "revocation_endpoint": format!("{base}/revoke"),
                    "id_token_signing_alg_values_supported": ["ES256", "RS256", "EdDSA"],
                    "subject_types_supported": ["public"],
                    "response_types_supported": ["code"],
                })
            }
            "/jwks" => {
                self.jwks.fetch_add(1, Ordering::SeqCst);
                json!({ "keys": self.keys().iter().map(|key| key.jwk()).collect::<Vec<_>>() })
            }
            _ => return None,
        };
        if self.down.load(Ordering::SeqCst) { None } else { Some(document.to_string()) }
    }
}

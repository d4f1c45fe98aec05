//! A way to one crew for clients that know one static bearer: a loopback proxy that puts a fresh token on each call.
//!
//! A client shows the *local secret* as its bearer; what leaves carries a token of [`Fresh`] in its place. The host a
//! client names must be this machine, so that no page of a browser can be made to speak to it under another name (DNS
//! rebinding), and the secret keeps other users of the machine from riding on it. Bodies stream both ways as they
//! come; nothing is ever sent twice; what the gateway answers is passed on, refusals included.

use std::{
    convert::Infallible,
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::body::Body;
use crewgate_core::{Challenge, Layer as By, Refusal};
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, header,
    uri::{Authority, PathAndQuery},
};
use sha2::{Digest, Sha256};
use tokio::{sync::watch, task::JoinHandle};
use tower::{ServiceBuilder, service_fn};

use crate::{
    client::{self, Client, chain},
    config::{ListenSettings, Secret, is_safe, name},
    listen::Listener,
    problem::RenderRefusalsLayer,
    tokens::{Fresh, PAUSE, SourceError},
    upstream::join,
    violations::RefuseViolationsLayer,
};

/// Shortest local secret: 128 bits in base64url.
pub const MIN_SECRET: usize = 22;

/// Connections at once.
const CONNECTIONS: usize = 256;

/// Time for the head of a request.
const HEAD: Duration = Duration::from_secs(10);

/// Headers that are about one connection (RFC 9110 section 7.6.1), and those that say who calls: the token says it.
const OWN: [HeaderName; 9] = [
    header::AUTHORIZATION,
    header::CONNECTION,
    header::COOKIE,
    header::HOST,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// What a proxy needs to know.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_structs, reason = "all of it is needed")]
pub struct ConnectSettings {
    /// Address of the gateway.
    pub gateway: Uri,
    /// The crew's name.
    pub crew: String,
    /// Where to listen.
    pub listen: SocketAddr,
    /// What a client must show as its bearer.
    pub secret: Secret,
    /// Certificate authorities of the gateway besides the system's, PEM.
    pub ca: Option<Vec<u8>>,
    /// Also listens where other machines are: whoever has the secret then is the caller.
    pub dangerously_listen_anywhere: bool,
}

/// Why there is no proxy.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// What was asked for is not to be had.
    Settings(String),
    /// The address cannot be had.
    Listen(io::Error),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings(text) => f.write_str(text),
            Self::Listen(error) => write!(f, "the address cannot be had: {error}"),
        }
    }
}

impl std::error::Error for ConnectError {}

/// A running proxy. It ends with [`stop`](Connect::stop), or with the value.
#[derive(Debug)]
pub struct Connect {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    served: JoinHandle<()>,
}

impl Connect {
    /// Starts to listen.
    ///
    /// # Errors
    ///
    /// [`ConnectError`]
    pub async fn start(settings: ConnectSettings, tokens: Fresh) -> Result<Self, ConnectError> {
        let wrong = |text: String| Err(ConnectError::Settings(text));
        if !settings.listen.ip().is_loopback() && !settings.dangerously_listen_anywhere {
            return wrong(format!("{} can be reached from other machines", settings.listen));
        }
        if settings.secret.expose().len() < MIN_SECRET {
            return wrong(format!("the local secret has fewer than {MIN_SECRET} characters"));
        }
        if !is_safe(&settings.gateway) {
            return wrong(format!("tokens would go to {} in clear: use https", settings.gateway));
        }
        let crew = name(&settings.crew).map_err(ConnectError::Settings)?;
        let crew = PathAndQuery::try_from(format!("/{crew}")).ok();
        let base = crew.and_then(|crew| join(&settings.gateway, &crew));
        let Some(base) = base else { return wrong("address and crew do not make a URL".to_owned()) };
        let client = client::build(settings.ca.as_deref()).map_err(ConnectError::Settings)?;
        let listen = ListenSettings { address: settings.listen, tls: None };
        let listener = Listener::bind(&listen, CONNECTIONS, HEAD).await.map_err(ConnectError::Listen)?;
        let address = listener.address().map_err(ConnectError::Listen)?;
        let proxy = Arc::new(Proxy {
            base,
            client,
            tokens,
            secret: Sha256::digest(settings.secret.expose()).into(),
            port: address.port(),
            anywhere: settings.dangerously_listen_anywhere,
        });
        let service = ServiceBuilder::new()
            .layer(RenderRefusalsLayer::default())
            .layer(RefuseViolationsLayer)
            .service(service_fn(move |request: Request<Body>| {
                let proxy = Arc::clone(&proxy);
                async move {
                    Ok::<_, Infallible>(proxy.call(request).await.unwrap_or_else(Refusal::into_response))
                }
            }));
        let (stop, stopped) = watch::channel(false);
        let served = tokio::spawn(listener.serve(service, stopped, HEAD));
        Ok(Self { address, stop, served })
    }

    /// The address it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more calls, and waits a little for those under way.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        let _ = self.served.await;
    }
}

/// One crew behind one local secret.
struct Proxy {
    base: Uri,
    client: Client<Body>,
    tokens: Fresh,
    secret: [u8; 32],
    port: u16,
    anywhere: bool,
}

impl Proxy {
    /// # Cancel safety
    ///
    /// Dropping the future ends the call to the gateway too, which knows what a caller that has left means.
    async fn call(&self, request: Request<Body>) -> Result<Response<Body>, Refusal> {
        self.is_for_us(request.headers())?;
        self.is_ours(request.headers())?;
        let token = self.tokens.token().await.map_err(no_token)?;
        let request = self.forwarded(request, token.expose())?;
        let mut response = self.client.request(request).await.map_err(|error| {
            tracing::warn!(error = chain(&error), "the gateway did not answer");
            if error.is_connect() {
                refusal(
                    StatusCode::BAD_GATEWAY,
                    "gateway_unreachable",
                    "the gateway cannot be reached; nothing was sent",
                )
            } else {
                let text = "the gateway broke off; whether it acted on the call is not known";
                refusal(StatusCode::BAD_GATEWAY, "gateway_cut", text)
            }
        })?;
        strip(response.headers_mut());
        Ok(response.map(Body::new))
    }

    /// The host a client names is this machine, by an address or as `localhost`: another name may have been made to
    /// point here.
    fn is_for_us(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let wrong = || {
            let text =
                "`host` must be the address this listens on; a name could be made to point here by anybody";
            refusal(StatusCode::FORBIDDEN, "local_host", text)
        };
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).ok_or_else(wrong)?;
        let host: Authority = host.parse().map_err(|_| wrong())?;
        let ip = host.host().trim_matches(['[', ']']).parse::<IpAddr>();
        let near = host.host() == "localhost" || ip.is_ok_and(|ip| self.anywhere || ip.is_loopback());
        // Behind a published port the port is another one.
        let same_port = self.anywhere || host.port_u16().unwrap_or(80) == self.port;
        if near && same_port { Ok(()) } else { Err(wrong()) }
    }

    /// The client shows the local secret.
    fn is_ours(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let shown = headers.get(header::AUTHORIZATION).and_then(|value| {
            let (scheme, secret) = value.as_bytes().split_at_checked(7)?;
            scheme.eq_ignore_ascii_case(b"bearer ").then_some(secret)
        });
        let digest: [u8; 32] = Sha256::digest(shown.unwrap_or_default()).into();
        // Of digests: how long it takes says nothing about how much is right.
        if verify_slices_are_equal(&digest, &self.secret).is_ok() {
            return Ok(());
        }
        let error = shown.map(|_| "invalid_token");
        let text = "this listens for clients that show its local secret as their bearer";
        Err(refusal(StatusCode::UNAUTHORIZED, "local_secret", text)
            .with_challenge(Challenge { error, ..Challenge::default() }))
    }

    fn forwarded(&self, request: Request<Body>, token: &str) -> Result<Request<Body>, Refusal> {
        let unusable = |what| refusal(StatusCode::BAD_REQUEST, "local_request", what);
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().ok_or_else(|| unusable("the request names no path"))?;
        parts.uri =
            join(&self.base, path).ok_or_else(|| unusable("the path cannot be joined to the crew's"))?;
        parts.extensions.clear();
        strip(&mut parts.headers);
        let mut bearer = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| unusable("the token cannot be a header"))?;
        bearer.set_sensitive(true);
        parts.headers.insert(header::AUTHORIZATION, bearer);
        Ok(Request::from_parts(parts, body))
    }
}

/// Takes away what is about one connection or about who calls.
fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let more = [HeaderName::from_static("keep-alive"), HeaderName::from_static("proxy-connection")];
    for name in OWN.iter().chain(&more).chain(&named) {
        headers.remove(name);
    }
}

fn no_token(error: SourceError) -> Refusal {
    let text = format!("there is no token for this call; nothing was sent: {error}");
    match error {
        SourceError::Unavailable(_) => {
            refusal(StatusCode::SERVICE_UNAVAILABLE, "token_unavailable", text).with_retry_after(PAUSE)
        }
        SourceError::LoginNeeded(_) => refusal(StatusCode::SERVICE_UNAVAILABLE, "login_needed", text),
        SourceError::Configuration(_) | SourceError::Refused(_) => {
            refusal(StatusCode::SERVICE_UNAVAILABLE, "token_refused", text)
        }
    }
}

fn refusal(status: StatusCode, code: &'static str, text: impl Into<String>) -> Refusal {
    Refusal::new(By::Gateway, status, code, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(anywhere: bool) -> Proxy {
        #[derive(Debug)]
        struct Nothing;
        impl crate::tokens::TokenSource for Nothing {
            fn obtain(
                &self,
            ) -> futures_util::future::BoxFuture<'_, Result<crate::tokens::Token, SourceError>> {
                Box::pin(async { Err(SourceError::Unavailable("nothing".to_owned())) })
            }
        }
        Proxy {
            base: Uri::from_static("https://crewgate.example/support"),
            client: client::build(None).unwrap(),
            tokens: Fresh::new(Arc::new(Nothing), Arc::new(crewgate_core::SystemClock)),
            secret: Sha256::digest("a secret").into(),
            port: 9000,
            anywhere,
        }
    }

    #[test]
    fn only_this_machine_by_its_own_names_is_the_host() {
        let accepts = |proxy: &Proxy, host: &str| {
            let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::try_from(host).unwrap())]);
            proxy.is_for_us(&headers).is_ok()
        };
        let (near, anywhere) = (proxy(false), proxy(true));
        for host in ["127.0.0.1:9000", "localhost:9000", "[::1]:9000", "127.0.0.2:9000"] {
            assert!(accepts(&near, host), "{host}");
        }
        for host in [
            "evil.example:9000",
            "127.0.0.1.evil.example:9000",
            "localhost.evil.example:9000",
            "127.0.0.1:9001",
            "127.0.0.1",
            "localhost@evil.example:9000",
            "192.0.2.7:9000",
            "0.0.0.0:9000",
            "",
        ] {
            assert!(!accepts(&near, host), "{host}");
        }
        for host in ["192.0.2.7:443", "localhost", "[2001:db8::1]:80"] {
            assert!(accepts(&anywhere, host), "{host}");
        }
        assert!(!accepts(&anywhere, "evil.example:9000"));
        assert!(near.is_for_us(&HeaderMap::new()).is_err());
    }

    #[test]
    fn headers_of_one_connection_and_of_the_client_itself_stay_here() {
        let request = Request::get("/status/1?verbose=1")
            .header("connection", "keep-alive, x-hop")
            .header("keep-alive", "timeout=5")
            .header("x-hop", "1")
            .header("host", "127.0.0.1:9000")
            .header("cookie", "a=b")
            .header("authorization", "Bearer local")
            .header("accept", "text/event-stream")
            .body(Body::empty())
            .unwrap();
        let sent = proxy(false).forwarded(request, "fresh").unwrap();
        assert_eq!(sent.uri(), "https://crewgate.example/support/status/1?verbose=1");
        let mut left: Vec<_> =
            sent.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        left.sort_unstable();
        assert_eq!(left, [("accept", "text/event-stream"), ("authorization", "Bearer fresh")]);
    }
}

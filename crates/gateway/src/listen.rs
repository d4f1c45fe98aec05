//! Listeners: accept, TLS, the strict gate, hyper, and a drain that lets calls end.

use std::{
    convert::Infallible,
    fmt, fs, io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::body::Body;
use http::{Request, Response, header};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use opentelemetry::metrics::Counter;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use tower::{Service, ServiceExt};

use crate::{
    client_certificate::{self, AnyCertificate},
    config::{ListenSettings, TlsSettings},
    gate::{Gate, Violation},
    telemetry::Instruments,
};
use crewgate_oidc::ClientCertificate;

/// Time for a TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Time until an HTTP/2 connection asks its first question.
const FIRST_REQUEST: Duration = Duration::from_secs(30);

/// Streams one HTTP/2 connection may have open.
const MAX_STREAMS: u32 = 32;

/// The other end's address, in the request's extensions.
#[derive(Debug, Clone, Copy)]
pub struct Remote(pub SocketAddr);

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy)]
struct Peer {
    remote: Remote,
    certificate: Option<ClientCertificate>,
}

/// A bound listener that is not serving yet.
pub struct Listener {
    tcp: TcpListener,
    tls: Option<TlsAcceptor>,
    seats: Arc<Semaphore>,
    patience: Duration,
    crowded: Counter<u64>,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("tcp", &self.tcp)
            .field("tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}

impl Listener {
    /// Binds the address.
    ///
    /// # Errors
    ///
    /// When the address cannot be bound or the certificate cannot be used.
    pub async fn bind(settings: &ListenSettings, connections: usize, head: Duration) -> io::Result<Self> {
        let tls = settings.tls.as_ref().map(acceptor).transpose()?;
        let tcp = TcpListener::bind(settings.address).await?;
        let (seats, crowded) = (Arc::new(Semaphore::new(connections)), Instruments::new().crowded);
        Ok(Self { tcp, tls, seats, patience: head, crowded })
    }

    /// The address it is bound to.
    ///
    /// # Errors
    ///
    /// When the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    /// Serves until `stop` turns true, then gives connections `drain` to end.
    pub async fn serve<S>(self, service: S, mut stop: watch::Receiver<bool>, drain: Duration)
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send + 'static,
    {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.tcp.accept() => accepted,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            let (tcp, remote) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors and the like: wait instead of spinning.
                    tracing::warn!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let Ok(seat) = Arc::clone(&self.seats).try_acquire_owned() else {
                self.crowded.add(1, &[]);
                tracing::debug!(%remote, "too many connections");
                continue;
            };
            let (service, stop, tls, patience) =
                (service.clone(), stop.clone(), self.tls.clone(), self.patience);
            connections.spawn(async move {
                if let Err(error) = connection(tcp, remote, tls, service, stop, patience).await {
                    tracing::debug!(%remote, %error, "connection ended");
                }
                drop(seat);
            });
        }
        let ended = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(drain, ended).await.is_err() {
            tracing::warn!("connections were still open when the time to drain had passed");
        }
    }
}

async fn connection<S>(
    tcp: TcpStream,
    remote: SocketAddr,
    tls: Option<TlsAcceptor>,
    service: S,
    stop: watch::Receiver<bool>,
    patience: Duration,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    tcp.set_nodelay(true)?;
    let peer = Peer { remote: Remote(remote), certificate: None };
    let Some(tls) = tls else { return http1(tcp, peer, service, stop, patience).await };
    let stream = tokio::time::timeout(HANDSHAKE, tls.accept(tcp)).await??;
    let connection = stream.get_ref().1;
    let peer = Peer { certificate: client_certificate::proved(connection), ..peer };
    if connection.alpn_protocol() == Some(b"h2") {
        http2(stream, peer, service, stop).await
    } else {
        http1(stream, peer, service, stop, patience).await
    }
}

async fn http1<IO, S>(
    io: IO,
    peer: Peer,
    service: S,
    mut stop: watch::Receiver<bool>,
    patience: Duration,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    let (gate, verdicts) = Gate::new(io, patience);
    let serve = hyper::service::service_fn(move |request| {
        let violation = verdicts.next();
        call(service.clone(), request, peer, violation)
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(true)
        .serve_connection(TokioIo::new(gate), serve);
    tokio::pin!(served);
    tokio::select! {
        end = served.as_mut() => return Ok(end?),
        _ = stop.wait_for(|stop| *stop) => served.as_mut().graceful_shutdown(),
    }
    Ok(served.await?)
}

async fn http2<IO, S>(
    io: IO,
    peer: Peer,
    service: S,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    let asked = Arc::new(AtomicBool::new(false));
    let first = Arc::clone(&asked);
    let serve = hyper::service::service_fn(move |request: Request<Incoming>| {
        first.store(true, Ordering::Relaxed);
        let violation = http2_violation(&request);
        call(service.clone(), request, peer, violation)
    });
    let served = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(32 * 1024)
        .keep_alive_interval(Some(Duration::from_secs(20)))
        .serve_connection(TokioIo::new(io), serve);
    tokio::pin!(served);
    // hyper waits for ever for a client that never begins; a connection that asks nothing gives its seat back.
    let silence = tokio::time::sleep(FIRST_REQUEST);
    tokio::pin!(silence);
    loop {
        tokio::select! {
            end = served.as_mut() => return Ok(end?),
            _ = stop.wait_for(|stop| *stop) => break,
            () = silence.as_mut(), if !asked.load(Ordering::Relaxed) => {
                if !asked.load(Ordering::Relaxed) {
                    return Err("nothing was asked".into());
                }
            }
        }
    }
    served.as_mut().graceful_shutdown();
    Ok(served.await?)
}

/// HTTP/2 has one framing; what is left to check is that it names one host and one caller.
fn http2_violation(request: &Request<Incoming>) -> Option<Violation> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let authority = request.uri().authority().map(http::uri::Authority::as_str);
    match (authority, hosts.next(), hosts.next()) {
        (_, _, Some(_)) => return Some(Violation::TwoHosts),
        (Some(authority), Some(host), None) if host.as_bytes() != authority.as_bytes() => {
            return Some(Violation::Host);
        }
        (None, None, None) => return Some(Violation::Host),
        _ => {}
    }
    if request.headers().get_all(header::AUTHORIZATION).iter().count() > 1 {
        return Some(Violation::TwoAuthorizations);
    }
    None
}

async fn call<S>(
    service: S,
    request: Request<Incoming>,
    peer: Peer,
    violation: Option<Violation>,
) -> Result<Response<Body>, Infallible>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(peer.remote);
    if let Some(certificate) = peer.certificate {
        request.extensions_mut().insert(certificate);
    }
    if let Some(violation) = violation {
        request.extensions_mut().insert(violation);
    }
    service.oneshot(request).await
}

fn acceptor(settings: &TlsSettings) -> io::Result<TlsAcceptor> {
    let bad = |what: &str, error: &dyn std::fmt::Debug| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("{what}: {error:?}"))
    };
    let chain = fs::read(&settings.certificate)?;
    let chain = CertificateDer::pem_slice_iter(&chain)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| bad("the certificate is not PEM", &error))?;
    let key = fs::read(&settings.key)?;
    let key =
        PrivateKeyDer::from_pem_slice(&key).map_err(|error| bad("the private key is not PEM", &error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| bad("TLS cannot be set up", &error))?;
    let config = if settings.client_certificates {
        config.with_client_cert_verifier(Arc::new(AnyCertificate(provider)))
    } else {
        config.with_no_client_auth()
    };
    let mut config =
        config.with_single_cert(chain, key).map_err(|error| bad("certificate and key do not fit", &error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

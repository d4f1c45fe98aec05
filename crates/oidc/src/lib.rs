#![forbid(unsafe_code)]
//! Turns bearer tokens into a [`Principal`](crewgate_core::Principal): who calls.
//!
//! [`AuthenticateLayer`] takes the one `Authorization: Bearer` header off a request, asks a [`VerifyToken`], and puts
//! the principal on the request, or answers with a typed refusal. [`Verifier`] is the `VerifyToken` for signed JWTs of
//! several issuers: it finds their keys by discovery, keeps them fresh, and checks every token in the order of
//! [`Step`], each step with a stable [`Reason`].
//!
//! It does **not know** what the caller wants to do or whether they may: a valid token is not a permission. It does
//! not know axum, CrewAI, or where principals are stored, and it never hands a token on.
//!
//! # Ten lines
//!
//! ```
//! use crewgate_core::Principal;
//! use crewgate_oidc::{AuthenticateLayer, IssuerConfig, Verifier};
//! use crewgate_testkit::DevIdp;
//! use http::{Request, Response, StatusCode};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let idp = DevIdp::start().await?;
//! let verifier = Verifier::builder().issuer(IssuerConfig::new("dev", idp.url(), ["crewgate"])?).build()?;
//! let hello = ServiceBuilder::new().layer(AuthenticateLayer::new(verifier)).service(service_fn(
//!     |request: Request<()>| async move {
//!         let caller = request.extensions().get::<Principal>().map(|principal| principal.key.to_string());
//!         Ok::<_, std::convert::Infallible>(Response::new(caller.unwrap_or_default()))
//!     },
//! ));
//!
//! let token = idp.token().subject("alice").sign();
//! let request = Request::builder().header("authorization", format!("Bearer {token}")).body(())?;
//! assert_eq!(hello.clone().oneshot(request).await?.body(), "dev:alice");
//! assert_eq!(hello.oneshot(Request::new(())).await?.status(), StatusCode::UNAUTHORIZED);
//! # Ok(()) }
//! ```
//!
//! # With a check of one's own
//!
//! ```
//! use crewgate_core::{Principal, Refusal};
//! use crewgate_oidc::{AuthenticateLayer, Bearer, Reason, Rejection};
//! use http::{Request, Response};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let introspect = |token: Bearer| async move {
//!     // Ask somebody; here everybody is unknown.
//!     let _ = token.as_str();
//!     Err::<Principal, Rejection>(Reason::IssuerUnknown.into())
//! };
//! let service = ServiceBuilder::new()
//!     .layer(AuthenticateLayer::new(introspect))
//!     .service(service_fn(|_: Request<()>| async { Ok::<_, std::convert::Infallible>(Response::new(())) }));
//!
//! let request = Request::builder().header("authorization", "Bearer opaque").body(())?;
//! let response = service.oneshot(request).await?;
//! assert_eq!(response.extensions().get::<Refusal>().map(|refusal| refusal.code), Some("token_issuer_unknown"));
//! # Ok(()) }
//! ```
//!
//! # Bounds
//!
//! | what | bound | why |
//! |---|---|---|
//! | token, header, `kid` | [`MAX_TOKEN`], [`MAX_HEADER`], [`MAX_KID`] | before anything is decoded |
//! | documents of an issuer | [`MAX_DOCUMENT`], [`MAX_KEYS`], [`FETCH_TIMEOUT`] | a broken issuer costs no more |
//! | fetches a stranger can cause | one per [`EXTRA_FETCH_PAUSE`] and issuer, [`EXTRA_FETCH_BURST`] at once, shared by all who wait | nor does a hostile caller |
//! | revocations | [`MAX_REVOCATIONS`], [`STALE`] | read several times a second, refused when they cannot be |
//! | exchanged tokens | [`EXCHANGED_LIFETIME`] | narrowed, and never longer than what they were made of |
//! | events | [`MAX_EVENT`], [`EVENT_AGE`] | transmitters repeat for days |
//! | sessions of browsers | [`MAX_SESSIONS`], [`MAX_SESSIONS_EACH`], [`SESSION_IDLE`], [`SESSION_LIFE`] | a screen left alone |
//! | ids that count once | [`MAX_USED`] | refused when they cannot be remembered |
//! | remembered tokens | [`DEFAULT_CACHED_TOKENS`] | by hash, until `exp`, while their key is published |

mod address;
mod algorithm;
mod bearer;
mod builder;
mod cache;
mod check;
mod ci;
mod claims;
mod config;
mod dpop;
mod events;
mod exchange;
mod explain;
mod fetch;
mod introspect;
mod inventory;
mod issuer;
mod json;
mod jws;
mod key;
mod keyset;
mod layer;
mod login;
mod object;
mod principal;
mod profile;
mod reason;
mod rejection;
mod replay;
mod revocation;
mod roca;
mod signed;
mod used;
mod verifier;
mod verify;

pub use self::{
    algorithm::{Algorithm, DEFAULT_ALGORITHMS, UnknownAlgorithm},
    bearer::Bearer,
    builder::VerifierBuilder,
    cache::DEFAULT_CACHED_TOKENS,
    claims::{Claims, MAX_SUBJECT},
    config::{
        DEFAULT_KEEP_KEYS, DEFAULT_MAX_LIFETIME, DEFAULT_REFRESH, DEFAULT_SKEW, InvalidConfig, IssuerConfig,
        KindRule, MAX_SKEW, REFRESH_BOUNDS,
    },
    dpop::PROOF_AGE,
    events::{EVENT_AGE, EventError, EventOutcome, EventReceiver, EventSource, MAX_EVENT},
    exchange::{EXCHANGED_LIFETIME, Exchange, Minted, OWN_ISSUER, SigningKey, SubjectToken},
    explain::{Explanation, Failure},
    fetch::{Fetch, FetchError, Fetched, Form, HttpFetch, Posted},
    introspect::{INACTIVE_AGE, INTROSPECTION_AGE, Introspection, MAX_INTROSPECTIONS},
    inventory::{MAX_SEEN, MemoryInventory, SeenTokens, Sighted, Sightings, TokenInventory},
    issuer::{EXTRA_FETCH_BURST, EXTRA_FETCH_PAUSE, FETCH_TIMEOUT, IssuerState},
    jws::{Jws, MAX_HEADER, MAX_KID, MAX_TOKEN},
    keyset::{KeySet, MAX_DOCUMENT, MAX_KEYS, RefusedKey},
    layer::{Authenticate, AuthenticateLayer, ClientCertificate},
    login::{
        Begun, DEFAULT_FRESH, LOGIN_TIME, Login, LoginConfig, LoginError, MAX_SESSIONS, MAX_SESSIONS_EACH,
        MemorySessions, NewSession, Opened, SESSION_IDLE, SESSION_LIFE, SESSION_TOUCH, Session, SessionId,
        SessionKey, SessionStore, SessionsOf,
    },
    profile::Profile,
    reason::{Reason, Step},
    rejection::Rejection,
    replay::{MAX_PROOFS, NONCE_LIFE},
    revocation::{
        Lift, MAX_REVOCATIONS, MemoryRevocations, REVOCATION_POLL, Revocable, Revocation, RevocationStore,
        Revocations, RevokeError, STALE, StoreError,
    },
    used::{MAX_USED, MemoryUsed, UsedIds},
    verifier::Verifier,
    verify::VerifyToken,
};

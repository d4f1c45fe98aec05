#![deny(unsafe_code)]
//! Masks personal data and secrets in text, JSON and server-sent events, whole or while they stream.
//!
//! Knows nothing of who asked or why: it is told which [`Profiles`] apply and finds what they name. Three doors:
//!
//! - [`Masker`] works on text, JSON bytes and [`Value`](crewgate_core::Value)s, without HTTP;
//! - [`MaskResponseLayer`] masks answers while they stream, in any tower stack;
//! - [`MaskRequestLayer`] masks the declared free text of an operation when policy made that a duty.
//!
//! # Laws
//!
//! - `masked(any split of the bytes) == masked(whole)`, down to one byte. A decision about a position reads a bounded
//!   window behind it and is made once that window is there, or once a character has come that no hit can span; so it
//!   cannot depend on how the bytes arrived.
//! - Nothing leaves that a later byte could turn into part of a hit. What waits is bounded by the window; a secret
//!   longer than it becomes *sticky*: its tag is sent once and the rest of it is swallowed to its end.
//! - Decoded string values are scanned, never frames: `\u0040` hides no at sign. JSON stays JSON, SSE stays SSE, and
//!   what is no hit passes byte for byte. JSON inside of strings is read too, and one level of escapes, percent and
//!   entity encodings, base64, and characters that nobody sees or that only look wider.
//! - A text told in pieces over several events is one text ([`Dialect::Sse`], [`Dialect::Lines`], [`MaskMessages`]): what
//!   is held leaves with a later piece, or in one more event before the one that ends it. Time alone lets go of nothing
//!   but the beginning of a word, and what comes of that is hidden.
//! - What cannot be read is not passed: invalid JSON, UTF-8 or compression ends the answer with an error.
//!
//! # Examples
//!
//! Without HTTP:
//!
//! ```
//! use crewgate_masking::{Entity, Masker};
//!
//! let masker = Masker::of([Entity::Email, Entity::Iban]);
//! let masked = masker.mask_text("Write to maria.keller@example.com, IBAN DE89 3704 0044 0532 0130 00.");
//! assert_eq!(masked.text, "Write to <EMAIL>, IBAN <IBAN>.");
//! assert_eq!(masked.findings.count(&Entity::Email), 1);
//!
//! let json = masker.mask_json(br#"{"to":"maria.keller\u0040example.com","n":1.10}"#).unwrap();
//! assert_eq!(json.text, r#"{"to":"<EMAIL>","n":1.10}"#);
//! ```
//!
//! As a layer around any service, with the built-in `pii-basic` profile:
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! use bytes::Bytes;
//! use crewgate_core::MaskProfile;
//! use crewgate_masking::{MaskResponseLayer, Profiles};
//! use http::{Request, Response};
//! use http_body_util::{BodyExt, Full};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! let masker = Profiles::builtin().masker(&[MaskProfile::new("pii-basic")].into()).unwrap();
//! let service = MaskResponseLayer::new(masker).layer(service_fn(|_: Request<()>| async {
//!     let mut answer = Response::new(Full::new(Bytes::from(r#"{"ssn":"536-90-4399"}"#)));
//!     answer.headers_mut().insert("content-type", "application/json".parse().unwrap());
//!     Ok::<_, std::convert::Infallible>(answer)
//! }));
//! let answer = service.oneshot(Request::new(())).await.unwrap();
//! let body = answer.into_body().collect().await.unwrap().to_bytes();
//! assert_eq!(body, r#"{"ssn":"<US_SSN>"}"#);
//! # });
//! ```

mod detect;
mod engine;
mod explain;
mod findings;
#[cfg(any(test, doctest))]
mod guide;
mod layer;
mod masked;
mod masker;
mod operator;
mod profile;
mod stream;

pub use self::{
    detect::{CustomDetector, CustomError, Entity},
    explain::Reason,
    findings::Findings,
    layer::{Mask, MaskBody, MaskRequest, MaskRequestLayer, MaskResponse, MaskResponseLayer},
    masked::{Masked, Span},
    masker::Masker,
    operator::{
        BoxFuture, CardPart, Issued, KeyError, Keys, MAX_ISSUED, MIN_KEY_BYTES, MemoryVault, Operator,
        OperatorError, Sealed, Session, Vault, VaultError, VaultKeys,
    },
    profile::{Numbers, OnRequest, Place, Profile, Profiles},
    stream::{Dialect, MaskError, MaskMessages, MaskStream},
};

/// What fuzz targets ask; no part of the interface.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz {
    /// Whether engine and definition find the same.
    pub fn engine(text: &str) -> bool {
        use std::sync::LazyLock;

        use crate::{detect, engine::Engine};

        fn rules() -> impl Iterator<Item = detect::Rule> {
            detect::detectors().map(detect::Rule::Table)
        }
        static BOTH: LazyLock<(Engine, detect::Oracle)> =
            LazyLock::new(|| (Engine::new(rules()), detect::Oracle::new(rules())));
        BOTH.0.hits(text) == BOTH.1.hits(text)
    }

    /// Whether vectors and table see the same classes.
    pub fn classes(low: [[u8; 16]; 4], high: [[u8; 16]; 4], required: [u8; 4], text: &[u8]) -> bool {
        crate::engine::simd::agree(low, high, required, text)
    }
}

#[cfg(doctest)]
#[doc = include_str!("../../../docs/detectors.md")]
struct DetectorsPage;

//! Tokens only their issuer can read (RFC 7662): it is asked, with bounds on how often and how many at once.

use std::{fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use crewgate_core::{Clock, Timestamp};
use http::HeaderValue;
use tokio::sync::Semaphore;

use crate::{
    FETCH_TIMEOUT, Jws, Reason, Rejection, check,
    claims::audience,
    fetch::Form,
    issuer::Issuer,
    json::{self, Json, Object},
    signed::signer,
};

/// Questions to one issuer at once. Anybody can send an unknown token; beyond this the next one is told to come again.
pub const MAX_INTROSPECTIONS: usize = 32;

/// How long an answer counts: for so long a token that its issuer has withdrawn still opens.
pub const INTROSPECTION_AGE: std::time::Duration = std::time::Duration::from_secs(60);

/// How long "not active" counts.
pub const INACTIVE_AGE: std::time::Duration = std::time::Duration::from_secs(10);

/// The type of a signed answer (RFC 9701 section 5).
const SIGNED: &str = "application/token-introspection+jwt";

/// Where and as whom an issuer is asked about opaque tokens.
#[derive(Clone)]
pub struct Introspection {
    pub(crate) endpoint: String,
    pub(crate) client: String,
    pub(crate) authorization: HeaderValue,
    pub(crate) prefix: String,
    pub(crate) signed: bool,
}

impl fmt::Debug for Introspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Introspection")
            .field("endpoint", &self.endpoint)
            .field("client", &self.client)
            .field("prefix", &self.prefix)
            .field("signed", &self.signed)
            .finish_non_exhaustive()
    }
}

impl Introspection {
    /// Asks at this address, as this client with this secret (RFC 6749 section 2.3.1, in the header).
    #[must_use]
    pub fn new(endpoint: impl Into<String>, client: &str, secret: &str) -> Self {
        let credentials = STANDARD.encode(format!("{}:{}", encoded(client), encoded(secret)));
        // Base64 is always a header value.
        let mut authorization = HeaderValue::try_from(format!("Basic {credentials}"))
            .unwrap_or_else(|_| HeaderValue::from_static("Basic"));
        authorization.set_sensitive(true);
        Self {
            endpoint: endpoint.into(),
            client: client.to_owned(),
            authorization,
            prefix: String::new(),
            signed: false,
        }
    }

    /// Asks only about tokens that begin like this: needed where several issuers have opaque tokens.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Takes signed answers alone (RFC 9701), so that nobody between the issuer and us can say yes.
    #[must_use]
    pub fn signed(mut self) -> Self {
        self.signed = true;
        self
    }
}

/// One issuer's opaque tokens.
pub(crate) struct Desk {
    pub(crate) settings: Introspection,
    seats: Semaphore,
}

impl Desk {
    pub(crate) fn new(settings: Introspection) -> Self {
        Self { settings, seats: Semaphore::new(MAX_INTROSPECTIONS) }
    }

    /// The claims of an active token, as the issuer tells them now.
    ///
    /// # Errors
    ///
    /// [`Reason::Inactive`] for a token the issuer does not vouch for, [`Reason::IssuerNotReady`] when it cannot be
    /// asked or its answer cannot be believed.
    pub(crate) async fn claims(
        &self,
        issuer: &Arc<Issuer>,
        token: &str,
        clock: &dyn Clock,
    ) -> Result<Object<'static>, Rejection> {
        let Ok(_seat) = self.seats.try_acquire() else {
            return Err(not_ready("too many questions at once"));
        };
        let settings = &self.settings;
        let uri = issuer.config.fetchable(&settings.endpoint).map_err(not_ready)?;
        let form = Form {
            body: format!("token={}&token_type_hint=access_token", encoded(token)),
            authorization: Some(settings.authorization.clone()),
            accept: if settings.signed {
                HeaderValue::from_static(SIGNED)
            } else {
                HeaderValue::from_static("application/token-introspection+jwt, application/json;q=0.9")
            },
        };
        let answer = match tokio::time::timeout(FETCH_TIMEOUT, issuer.fetch.post(uri, form)).await {
            Ok(answer) => answer.map_err(|error| not_ready(&error.to_string()))?,
            Err(_) => return Err(not_ready("no answer within 3 s")),
        };
        let kind = answer.content_type.split(';').next().unwrap_or_default().trim();
        let mut claims = if kind.eq_ignore_ascii_case(SIGNED) {
            self.signed(issuer, &answer.body, clock.now()).await?
        } else if settings.signed {
            return Err(not_ready("an answer that is not signed"));
        } else {
            json::parse_object(&answer.body).map_err(|error| not_ready(&error))?.into_owned()
        };
        match claims.remove("active") {
            Some(Json::Bool(true)) => {}
            Some(Json::Bool(false)) => return Err(Reason::Inactive.into()),
            _ => return Err(not_ready("an answer without active as true or false")),
        }
        match claims.get("iss") {
            None => {}
            Some(Json::String(stated)) if *stated == issuer.config.url => {}
            Some(_) => return Err(not_ready("an answer about another issuer's token")),
        }
        // Others than access tokens are active too. RFC 6749 section 5.1 names what says so; `token_use` is how some issuers
        // tell what theirs is for.
        let is = |name: &str, kinds: &[&str]| match claims.get(name) {
            None => true,
            Some(Json::String(kind)) => kinds.iter().any(|known| known.eq_ignore_ascii_case(kind)),
            Some(_) => false,
        };
        if !is("token_type", &["Bearer", "DPoP", "access_token"])
            || !is("token_use", &["access_token", "access"])
        {
            return Err(Rejection::new(Reason::Type)
                .expecting("an access token")
                .finding("another kind of token"));
        }
        check::not_of_a_login(&issuer.config, &claims)?;
        // RFC 7662 leaves both open; a program's token has no user, and is its client's.
        if let (None, Some(client)) = (claims.get("sub"), claims.get("client_id").cloned()) {
            claims.insert("sub", client);
        }
        Ok(claims)
    }

    /// RFC 9701 section 5: signed by the issuer's own keys, for us, now. It does not say about which token, so that an
    /// answer of yesterday would do for any other of today.
    async fn signed(
        &self,
        issuer: &Arc<Issuer>,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Object<'static>, Rejection> {
        let wrong = |what: &str| not_ready(&format!("a signed answer with {what}"));
        let text = std::str::from_utf8(body).map_err(|_| wrong("bytes that are no text"))?;
        let jws = Jws::parse(text.trim_end()).map_err(|_| wrong("another shape than a JWT's"))?;
        if jws.typ.as_deref() != Some("token-introspection+jwt") {
            return Err(wrong("another typ"));
        }
        signer(issuer, &jws).await.map_err(|rejection| match rejection.reason() {
            Reason::AlgRefused => wrong("another alg"),
            Reason::KeyUnknown => wrong("an unknown key"),
            Reason::Signature => wrong("a wrong signature"),
            _ => rejection,
        })?;
        let mut claims = jws.payload_object().map_err(|_| wrong("a payload that is no object"))?;
        let meant = audience(&claims).any(|name| name == self.settings.client);
        if claims.get("iss").and_then(Json::as_str) != Some(&issuer.config.url) || !meant {
            return Err(wrong("another iss or aud"));
        }
        let fresh = |made: Timestamp| now.since(made).max(made.since(now)) <= INTROSPECTION_AGE;
        match claims.get("iat") {
            Some(Json::Integer(secs)) if fresh(Timestamp::from_secs(*secs)) => {}
            _ => return Err(wrong("no iat of now")),
        }
        match claims.remove("token_introspection") {
            Some(Json::Object(inner)) => Ok(inner.into_owned()),
            _ => Err(wrong("no token_introspection")),
        }
    }
}

fn not_ready(why: &str) -> Rejection {
    Rejection::new(Reason::IssuerNotReady)
        .finding(&format!("introspection: {why}"))
        .retry_after(std::time::Duration::from_secs(1))
}

/// `application/x-www-form-urlencoded` (WHATWG URL section 5.2), without the plus for a space that some do not read.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

use super::{Login, LoginError, SessionsOf, text};
use crate::{
    Jws, Reason, Rejection,
    claims::{Claims, audience, instant},
    json::Json,
    signed::signer,
};

/// The one event of a logout token.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

impl Login {
    /// Ends the sessions an issuer's logout token names (OpenID Back-Channel Logout 1.0 section 2.6) and gives their
    /// number. One token counts once.
    ///
    /// # Errors
    ///
    /// [`LoginError::Token`] for what is no such token; [`LoginError::Provider`] and [`LoginError::Store`] when it must
    /// come again.
    pub async fn told(&self, token: &str) -> Result<usize, LoginError> {
        let inner = &*self.0;
        let wrong = |reason: Reason, expected: &str, found: &str| {
            LoginError::from(Rejection::new(reason).expecting(expected.to_owned()).finding(found))
        };
        let jws = Jws::parse(token)?;
        if !jws.is("logout+jwt") {
            return Err(wrong(Reason::Type, "typ logout+jwt", jws.typ.as_deref().unwrap_or("no typ")));
        }
        let payload = jws.payload_object()?;
        let (issuer, now) = (inner.provider.issuer(), inner.clock.now());
        let config = &issuer.config;
        if text(&payload, "iss") != Some(config.url.as_str()) {
            return Err(wrong(Reason::IssuerUnknown, &config.url, "another"));
        }
        signer(issuer, &jws).await?;
        // Its `sub` may be missing where `sid` is there, so it is not read as an access token's claims are.
        let wrong = |expected: &str| wrong(Reason::Claims, expected, "another");
        if !audience(&payload).any(|name| name == inner.config.client_id) {
            return Err(LoginError::Token(Reason::Audience.into()));
        }
        let times = Claims::times(&payload)?;
        times.check(now, config.skew, config.max_lifetime)?;
        if payload.contains_key("nonce") {
            return Err(wrong("no nonce, which marks an ID token"));
        }
        let is_logout = match payload.get("events") {
            Some(Json::Object(events)) => matches!(events.get(EVENT), Some(Json::Object(_))),
            _ => false,
        };
        if !is_logout {
            return Err(wrong("events with a logout"));
        }
        let named = |name: &str| match payload.get(name) {
            None => Ok(None),
            Some(value) => {
                value.as_str().filter(|text| !text.is_empty()).map(|text| Some(text.to_owned())).ok_or(())
            }
        };
        let which = match (named("sid"), named("sub")) {
            (Ok(Some(sid)), Ok(subject)) => SessionsOf::Sid { issuer: config.name.clone(), sid, subject },
            (Ok(None), Ok(Some(subject))) => SessionsOf::Subject { issuer: config.name.clone(), subject },
            _ => return Err(wrong("sub or sid as a string")),
        };
        let id = text(&payload, "jti").filter(|id| (1..=256).contains(&id.len()));
        let id = id.ok_or_else(|| wrong("jti of 1 to 256 bytes"))?;
        let expires = instant(&payload, "exp")?.unwrap_or(now).saturating_add(config.skew);
        let owner = format!("logout {}", config.name);
        if inner.used.is_used(&owner, id).await? {
            return Err(wrong("a jti that has not come before"));
        }
        let ended = inner.sessions.end_all(which, now).await?;
        // Only now: what was not done must be done when it comes again.
        inner.used.spend(&owner, id, expires, now).await?;
        Ok(ended)
    }
}

//! What one token must be for its issuer, each by itself.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use crewgate_core::Principal;

use crate::{
    IssuerConfig, Jws, Profile, Reason, Rejection,
    cache::{Binding, Names},
    claims::Claims,
    json::{Json, Object},
    principal::at,
};

/// `cnf` (RFC 7800) with the one member we can check. What we cannot check binds all the same.
pub(crate) fn binding(claims: &Object<'_>) -> Result<Binding, Rejection> {
    let Some(cnf) = claims.get("cnf") else { return Ok(Binding::None) };
    let wrong = |found: &str| {
        Rejection::new(Reason::Bound).expecting("cnf with jkt or x5t#S256 alone").finding(found)
    };
    let Json::Object(members) = cnf else { return Err(wrong(cnf.kind())) };
    let mut members = members.iter();
    match (members.next(), members.next()) {
        (Some((name, Json::String(thumbprint))), None) => {
            let bytes =
                URL_SAFE_NO_PAD.decode(thumbprint.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
            match (name, bytes) {
                ("jkt", Some::<[u8; 32]>(_)) => Ok(Binding::Key(thumbprint.as_ref().into())),
                ("x5t#S256", Some(bytes)) => Ok(Binding::Certificate(bytes)),
                _ => Err(wrong(name)),
            }
        }
        _ => Err(wrong("others")),
    }
}

/// By what a token can be revoked.
pub(crate) fn names(config: &IssuerConfig, claims: &Claims<'_>, principal: &Principal) -> Names {
    let id = claims.all.get("jti").and_then(Json::as_str);
    let id = id.map(|id| (config.name.as_str().into(), id.into()));
    let alias = (claims.subject != principal.key.subject).then(|| claims.subject.as_ref().into());
    Names { alias, ids: id.into_iter().collect(), dated: true }
}

pub(crate) fn token_type(
    config: &IssuerConfig,
    jws: &Jws<'_>,
    payload: &Object<'_>,
) -> Result<(), Rejection> {
    let usual = || jws.typ.is_none() || ["JWT", "JOSE"].iter().any(|usual| jws.is(usual));
    let expected = match &config.token_type {
        Some(only) if jws.is(only) => None,
        Some(only) => Some(only.as_str()),
        None if usual() => None,
        // JWT-SVID section 2.3: these and no others.
        None if config.profile == Profile::Spiffe => Some("typ absent, JWT or JOSE"),
        None if jws.is("at+jwt") => None,
        // Proofs, logout and security event tokens are signed by the same keys and mean something else.
        None => Some("typ absent, JWT, JOSE or at+jwt"),
    };
    if let Some(expected) = expected {
        let found = jws.typ.as_deref().unwrap_or("no typ");
        return Err(Rejection::new(Reason::Type).expecting(expected).finding(found));
    }
    not_of_a_login(config, payload)
}

/// An ID token says who logged in somewhere, not who may call here.
pub(crate) fn not_of_a_login(config: &IssuerConfig, payload: &Object<'_>) -> Result<(), Rejection> {
    let mark = ["nonce", "at_hash", "c_hash"].into_iter().find(|mark| payload.contains_key(mark));
    match mark {
        Some(mark) if !config.id_tokens => Err(Rejection::new(Reason::Type)
            .expecting("no nonce, at_hash or c_hash, which mark an ID token")
            .finding(mark)),
        _ => Ok(()),
    }
}

pub(crate) fn audience(config: &IssuerConfig, claims: &Claims<'_>) -> Result<(), Rejection> {
    if claims.audience().any(|audience| config.audience.contains(audience)) {
        return Ok(());
    }
    let ours: Vec<_> = config.audience.iter().map(String::as_str).collect();
    Err(Rejection::new(Reason::Audience)
        .expecting(ours.join(" or "))
        .finding(&claims.audience().collect::<Vec<_>>().join(", ")))
}

/// What settings and profile demand of this issuer's tokens beyond what every token must be.
pub(crate) fn requirements(config: &IssuerConfig, claims: &Claims<'_>) -> Result<(), Rejection> {
    if !config.clients.is_empty()
        && !claims.client.as_ref().is_some_and(|id| config.clients.contains(id.as_ref()))
    {
        return Err(Rejection::new(Reason::ClientRefused)
            .expecting(config.clients.iter().map(String::as_str).collect::<Vec<_>>().join(" or "))
            .finding(claims.client.as_deref().unwrap_or("no client")));
    }
    for (path, values) in &config.require {
        let found = at(&claims.all, path).ok().flatten();
        let texts = found.map(Json::as_texts).unwrap_or_default();
        if !texts.iter().any(|text| values.contains(text)) {
            return Err(Rejection::new(Reason::Requirement)
                .expecting(format!(
                    "{} {}",
                    path.join("."),
                    values.iter().map(String::as_str).collect::<Vec<_>>().join(" or ")
                ))
                .finding(&if found.is_some() { texts.join(", ") } else { "nothing".to_owned() }));
        }
    }
    config.profile.check_token(config, claims)
}

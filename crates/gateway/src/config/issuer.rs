//! `[[issuer]]`: whose tokens count.

use std::collections::BTreeSet;

use crewgate_oidc::{Algorithm, Introspection, IssuerConfig, KindRule, Profile};

use super::{
    check::{Checker, name, url},
    crew, raw,
    settings::{IssuerSettings, Reach},
    units::duration,
};

pub(super) fn issuer(check: &mut Checker<'_>, raw: &raw::Issuer) -> Option<IssuerSettings> {
    let before = check.found.len();
    let short = check.parse(&raw.name, |text| match text {
        crate::identity::LEGACY | crewgate_oidc::OWN_ISSUER => Err(format!("`{text}` is the gateway's own")),
        _ => name(text),
    });
    let address = |check: &mut Checker<'_>, text| {
        check.parse(text, |text| url(text, raw.dangerously_allow_http).map(|_| text.to_owned()))
    };
    let own = address(check, &raw.url);
    let mut audience: BTreeSet<String> =
        raw.audience.get_ref().iter().filter(|text| !text.is_empty()).cloned().collect();
    if audience.is_empty() {
        let help = "without one, every token of this issuer for any service would open this gateway";
        check.wrong(raw.audience.span(), "an audience is mandatory", Some(help));
        // A stand-in, so that whatever refers to this issuer is checked in the same run.
        audience.insert(short.clone().unwrap_or_default());
    }
    let ca = raw.ca.as_ref().and_then(|path| {
        let beside = check.beside();
        check.parse(path, |path| crew::pem(&beside.join(path)))
    });
    let profile = check.parse_or(raw.profile.as_ref(), Profile::Generic, |text| {
        Profile::named(text).ok_or_else(|| {
            let known: Vec<_> = Profile::ALL.iter().map(|profile| profile.name()).collect();
            format!("`{text}` is no profile: {}", known.join(", "))
        })
    });
    let jwks_uri = raw.jwks_uri.as_ref().and_then(|text| address(check, text));
    let (short, own) = (short?, own?);
    // What is left wrong here has been told already, with its own place.
    let mut config = IssuerConfig::new(&short, &own, audience).ok()?.profile(profile);
    if let Some(uri) = jwks_uri {
        config = config.jwks_uri(uri);
    }
    config = claims(check, raw, config);
    config = limits(check, raw, config);
    if let Some(asked) = &raw.introspection {
        config = config.introspection(introspection(check, asked, raw.dangerously_allow_http)?);
    }
    if raw.dangerously_allow_http {
        config = config.dangerously_allow_http();
    }
    if raw.dangerously_accept_pull_requests {
        config = config.dangerously_accept_pull_requests();
    }
    if check.found.len() == before
        && let Err(error) = config.check()
    {
        check.wrong(raw.name.span(), error.to_string(), None);
    }
    // A cluster's own issuer is in it.
    let private_network = raw.private_network.unwrap_or(profile == Profile::Kubernetes);
    Some(IssuerSettings { name: short, url: own, config, reach: Reach { ca, private_network } })
}

/// Which claims say what, and which must be there.
fn claims(check: &mut Checker<'_>, raw: &raw::Issuer, mut config: IssuerConfig) -> IssuerConfig {
    if let Some(paths) = &raw.groups {
        let mut paths = match paths.get_ref() {
            raw::ClaimPaths::Dotted(path) => vec![dotted(path)],
            raw::ClaimPaths::Names(names) => vec![names.clone()],
            raw::ClaimPaths::Several(paths) => paths.clone(),
        }
        .into_iter();
        if let Some(first) = paths.next() {
            config = paths.fold(config.groups_claim(first), IssuerConfig::and_groups_claim);
        }
    }
    for (path, values) in &raw.require {
        let values = match values.get_ref() {
            raw::OneOrMore::One(value) => vec![value.clone()],
            raw::OneOrMore::More(values) => values.clone(),
        };
        config = config.require(dotted(path), values);
    }
    if let Some(clients) = &raw.clients {
        if clients.get_ref().is_empty() {
            check.wrong(clients.span(), "no client is named", Some("leave it out to accept all clients"));
        }
        config = config.clients(clients.get_ref().clone());
    }
    if let Some(domain) = &raw.trust_domain {
        config = config.trust_domain(domain.get_ref());
    }
    let kind = check.parse_or(raw.kind.as_ref(), KindRule::Auto, |text| match text {
        "auto" => Ok(KindRule::Auto),
        "service" => Ok(KindRule::Service),
        "user" => Ok(KindRule::User),
        _ => Err(format!("`{text}` is neither `auto`, `user` nor `service`")),
    });
    config = config.kind(kind);
    if let Some(typ) = &raw.token_type {
        config = config.token_type(typ.get_ref());
    }
    config
}

/// Where and as whom the issuer is asked about opaque tokens.
fn introspection(check: &mut Checker<'_>, raw: &raw::Introspection, plain: bool) -> Option<Introspection> {
    let place = check.parse(&raw.url, |text| url(text, plain).map(|_| text.to_owned()));
    let secret = match check.secret(raw.client_secret.get_ref()) {
        Ok(secret) => Some(secret),
        Err(message) => {
            check.wrong(raw.client_secret.span(), message, None);
            None
        }
    };
    let mut asked = Introspection::new(place?, raw.client_id.get_ref(), secret?.expose());
    if let Some(prefix) = &raw.prefix {
        asked = asked.prefix(prefix.get_ref());
    }
    Some(if raw.signed { asked.signed() } else { asked })
}

/// How tokens may be signed and how long they and the keys count.
fn limits(check: &mut Checker<'_>, raw: &raw::Issuer, mut config: IssuerConfig) -> IssuerConfig {
    if let Some(list) = &raw.algorithms {
        match list.get_ref().iter().map(|name| name.parse()).collect::<Result<Vec<Algorithm>, _>>() {
            Ok(known) if !known.is_empty() => config = config.algorithms(known),
            _ => {
                let help = "signatures by a key pair only: RS256, PS256, ES256, ES384, EdDSA and their kin";
                check.wrong(list.span(), "an algorithm is not known, or none is named", Some(help));
            }
        }
    }
    let mut time = |text: &Option<raw::Text>| text.as_ref().and_then(|text| check.parse(text, duration));
    let (lifetime, skew) = (time(&raw.max_lifetime), time(&raw.skew));
    let (refresh, keep) = (time(&raw.refresh_keys), time(&raw.keep_keys));
    config = lifetime.into_iter().fold(config, IssuerConfig::max_lifetime);
    config = skew.into_iter().fold(config, IssuerConfig::skew);
    config = refresh.into_iter().fold(config, IssuerConfig::refresh_every);
    keep.into_iter().fold(config, IssuerConfig::keep_keys)
}

fn dotted(path: &str) -> Vec<String> {
    path.split('.').map(str::to_owned).collect()
}

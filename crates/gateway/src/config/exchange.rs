//! `[exchange]` and `[[events]]`: tokens of our own, and what issuers tell of theirs.

use std::{collections::BTreeSet, time::Duration};

use crewgate_oidc::{EXCHANGED_LIFETIME, EventSource, IssuerConfig, Profile, SigningKey};

use super::{
    check::{Checker, name, url},
    crew, raw,
    settings::{IssuerSettings, Reach},
    units::{Secret, duration, rate},
};

/// Tokens of ours for those of others.
#[derive(Debug, Clone)]
pub struct ExchangeSettings {
    /// Private keys in PEM: the first signs, all are published. None where secrets are not read.
    pub keys: Vec<Secret>,
    /// Issuers whose tokens are exchanged.
    pub issuers: BTreeSet<String>,
    /// Those whose tokens are exchanged once (default: those of CI jobs).
    pub once: BTreeSet<String>,
    /// How long tokens live (default and most 5 min).
    pub lifetime: Duration,
    /// Exchanges of one subject (default 30/min: a pipeline's jobs, not a loop).
    pub rate: (u32, Duration),
}

/// Who tells events about whose tokens.
#[derive(Debug, Clone)]
pub struct EventSettings {
    /// The transmitter, and the issuer it tells about.
    pub source: EventSource,
    /// How the transmitter is reached: as its issuer is, with a certificate authority of its own.
    pub reach: Reach,
}

pub(super) fn exchange(
    check: &mut Checker<'_>,
    raw: &raw::Exchange,
    issuers: &[IssuerSettings],
) -> Option<ExchangeSettings> {
    let mut keys = Vec::new();
    for reference in &raw.keys {
        let read = check.pem(reference.get_ref()).and_then(|pem| match &pem {
            Some(text) => {
                SigningKey::from_pem(text.expose().as_bytes()).map(|_| pem).map_err(|error| error.to_string())
            }
            None => Ok(None),
        });
        match read {
            Ok(pem) => keys.extend(pem),
            Err(message) => {
                let help = "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out exchange.pem";
                check.wrong(reference.span(), message, Some(help));
            }
        }
    }
    if raw.keys.is_empty() {
        check.wrong(raw.issuers.span(), "`keys` names no key to sign with", None);
    }
    let known = |text: &str| match issuers.iter().any(|issuer| issuer.name == text) {
        true => Ok(text.to_owned()),
        false => Err(format!("no issuer `{text}`")),
    };
    let named: BTreeSet<String> =
        raw.issuers.get_ref().iter().filter_map(|text| check.parse(text, known)).collect();
    if raw.issuers.get_ref().is_empty() {
        check.wrong(raw.issuers.span(), "nobody's tokens are exchanged: name an issuer", None);
    }
    let once = match &raw.once {
        Some(once) => once
            .iter()
            .filter_map(|text| {
                check.parse(text, |text| match named.contains(text) {
                    true => Ok(text.to_owned()),
                    false => Err(format!("`{text}` is not among `issuers`")),
                })
            })
            .collect(),
        None => issuers
            .iter()
            .filter(|issuer| {
                matches!(issuer.config.used_profile(), Profile::GithubActions | Profile::Gitlab)
                    && named.contains(&issuer.name)
            })
            .map(|issuer| issuer.name.clone())
            .collect(),
    };
    let lifetime = check.parse_or(raw.lifetime.as_ref(), EXCHANGED_LIFETIME, |text| {
        duration(text).and_then(|life| match life <= EXCHANGED_LIFETIME && life.as_secs() > 0 {
            true => Ok(life),
            false => Err(format!("`{text}` is not between 1s and 5m")),
        })
    });
    let minute = Duration::from_secs(60);
    let rate = check.parse_or(raw.rate.as_ref(), (30, minute), rate);
    Some(ExchangeSettings { keys, issuers: named, once, lifetime, rate })
}

pub(super) fn events(
    check: &mut Checker<'_>,
    raw: &raw::Events,
    issuers: &[IssuerSettings],
) -> Option<EventSettings> {
    let about = check.parse(&raw.issuer, |text| {
        issuers.iter().find(|issuer| issuer.name == text).ok_or_else(|| format!("no issuer `{text}`"))
    });
    let transmitter = raw.transmitter.as_ref().unwrap_or(&raw.issuer);
    let own = match &raw.transmitter {
        Some(text) => check.parse(text, |text| url(text, false).map(|_| text.to_owned())),
        None => about.map(|issuer| issuer.url.clone()),
    };
    let keys = match &raw.jwks_uri {
        Some(text) => Some(check.parse(text, |text| url(text, false).map(|_| text.to_owned()))?),
        None => None,
    };
    let ca = raw.ca.as_ref().and_then(|path| {
        let beside = check.beside();
        check.parse(path, |path| crew::pem(&beside.join(path)))
    });
    let (about, own) = (about?, own?);
    let short = check.parse(&raw.issuer, name)?;
    let mut config = match IssuerConfig::new(&short, &own, raw.audience.get_ref().clone()) {
        Ok(config) => config,
        Err(error) => {
            check.wrong(raw.audience.span(), error.to_string(), None);
            return None;
        }
    };
    if let Some(keys) = keys {
        config = config.jwks_uri(keys);
    }
    if let Err(error) = config.check() {
        check.wrong(transmitter.span(), error.to_string(), None);
    }
    let source = EventSource { transmitter: config, about: short, about_url: about.url.clone() };
    let reach = Reach { ca, private_network: about.reach.private_network };
    Some(EventSettings { source, reach })
}

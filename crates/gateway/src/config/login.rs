//! `[console.login]`: where people log in.

use std::{net::SocketAddr, time::Duration};

use crewgate_oidc::{DEFAULT_FRESH, IssuerConfig, LoginConfig};

use super::{
    check::{Checker, url},
    raw,
    settings::{IssuerSettings, Reach, Settings},
    units::{Secret, duration},
};

/// The longest that a login may count as fresh: a session's idle time.
const MAX_FRESH: Duration = crewgate_oidc::SESSION_IDLE;

/// Where people log in, and as which client.
#[derive(Debug, Clone)]
pub struct LoginSettings {
    /// The issuer.
    pub issuer: IssuerConfig,
    /// How it is reached.
    pub reach: Reach,
    /// What it knows the console by.
    pub client_id: String,
    /// With what the console proves it; absent: a public client.
    pub client_secret: Option<Secret>,
    /// Asked for beside `openid`.
    pub scopes: Vec<String>,
    /// How a person must have proved who they are before they approve something; empty: however.
    pub acr: Vec<String>,
    /// How long ago at most (default 5 min, at most 15 min).
    pub fresh: Duration,
    /// The console's address as browsers know it; absent: what it is bound to.
    pub public_url: Option<String>,
}

impl LoginSettings {
    /// The console's address as browsers know it, without a slash at its end: `public_url`, or what it is bound to.
    pub(crate) fn base(&self, settings: &Settings, bound: SocketAddr) -> String {
        self.public_url.clone().unwrap_or_else(|| {
            let tls = settings.console.as_ref().is_some_and(|listen| listen.tls.is_some());
            format!("{}://{bound}", if tls { "https" } else { "http" })
        })
    }

    /// Logins that come back to this address, which ends without a slash.
    pub(crate) fn at(&self, base: &str) -> LoginConfig {
        LoginConfig {
            issuer: self.issuer.clone(),
            client_id: self.client_id.clone(),
            client_secret: self.client_secret.as_ref().map(|secret| secret.expose().to_owned()),
            redirect_uri: format!("{base}/callback"),
            after_logout: format!("{base}/"),
            scopes: self.scopes.clone(),
            acr: self.acr.clone(),
            fresh: self.fresh,
        }
    }
}

pub(super) fn login(
    check: &mut Checker<'_>,
    console: &raw::Console,
    issuers: &[IssuerSettings],
) -> Option<LoginSettings> {
    let public = console.public_url.as_ref().and_then(|text| {
        check.parse(text, |text| match url(text, false)?.path() {
            "/" => Ok(text.trim_end_matches('/').to_owned()),
            _ => Err(format!("`{text}` must have no path: the console's pages begin at its root")),
        })
    });
    let raw = match (&console.login, &console.public_url) {
        (Some(login), _) => login,
        (None, Some(text)) => {
            check.wrong(text.span(), "only people who log in need it: give `[console.login]`", None);
            return None;
        }
        (None, None) => return None,
    };
    let local = console.listen.get_ref().parse::<SocketAddr>().is_ok_and(|at| at.ip().is_loopback());
    if console.public_url.is_none() && !local {
        let help =
            "give `console.public_url`: the issuer sends people back to it, and cookies are for it alone";
        check.wrong(raw.issuer.span(), "people log in at the console's public address", Some(help));
    }
    let issuer = check.parse(&raw.issuer, |text| {
        issuers.iter().find(|issuer| issuer.name == text).ok_or_else(|| format!("no issuer `{text}`"))
    });
    let word = |text: &str| match text.is_empty() || text.contains(char::is_whitespace) {
        true => Err(format!("`{text}` is not one word")),
        false => Ok(text.to_owned()),
    };
    let client_id = check.parse(&raw.client_id, word);
    let client_secret = match &raw.client_secret {
        Some(reference) => match check.secret(reference.get_ref()) {
            Ok(secret) => Some(secret),
            Err(message) => {
                check.wrong(reference.span(), message, None);
                return None;
            }
        },
        None => None,
    };
    let scopes = raw.scopes.iter().filter_map(|text| check.parse(text, word)).collect();
    let acr = raw.acr.iter().filter_map(|text| check.parse(text, word)).collect();
    let fresh = check.parse_or(raw.fresh.as_ref(), DEFAULT_FRESH, |text| {
        duration(text).and_then(|fresh| match fresh <= MAX_FRESH && fresh.as_secs() > 0 {
            true => Ok(fresh),
            false => Err(format!("`{text}` is not between 1s and 15m")),
        })
    });
    let issuer = issuer?;
    Some(LoginSettings {
        issuer: issuer.config.clone(),
        reach: issuer.reach.clone(),
        client_id: client_id?,
        client_secret,
        scopes,
        acr,
        fresh,
        public_url: public,
    })
}

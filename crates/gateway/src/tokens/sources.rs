//! From settings to sources.

use std::{path::Path, sync::Arc};

use crewgate_core::Clock;

use super::{
    Authority, Client, ClientCredentials, Exchange, Fresh, GitHub, Http, Keep, Login, SourceError, TokenFile,
    TokenSource, Variable, assertion::ClientKey, authority::Proof, private_file::folder,
};
use crate::config::{ClientSettings, Source};

/// What a login asks for where nothing else is said: who it is, and a way to renew it.
const LOGIN_SCOPES: &str = "openid offline_access";

/// The variable of a GitLab job that holds its token where nothing else is said.
const GITLAB_VARIABLE: &str = "CREWGATE_TOKEN";

/// Tokens as these settings want them, kept fresh.
///
/// # Errors
///
/// [`SourceError::Configuration`]: what is missing or wrong.
pub fn source(settings: &ClientSettings, clock: &Arc<dyn Clock>) -> Result<Fresh, SourceError> {
    let http = http(settings)?;
    let own = || Arc::clone(clock);
    let plain: Arc<dyn TokenSource> = match settings.source() {
        Source::Login => Arc::new(login(settings, clock)?),
        Source::Github => {
            let audience = needed(settings.audience.as_deref(), "audience", "the gateway's audience")?;
            Arc::new(GitHub::from_environment(http.clone(), audience, own())?)
        }
        Source::Gitlab => {
            Arc::new(Variable::read(settings.token_env.as_deref().unwrap_or(GITLAB_VARIABLE), own())?)
        }
        Source::Kubernetes => {
            let path = settings.token_file.as_deref();
            Arc::new(TokenFile::new(
                needed(path, "token_file", "where the projected token is mounted")?,
                own(),
            ))
        }
        Source::ClientCredentials => {
            let client = client(settings, "")?;
            if matches!(client.proof, Proof::Public) {
                let text = "client credentials need `client_secret` or `client_key`";
                return Err(SourceError::Configuration(text.to_owned()));
            }
            Arc::new(ClientCredentials::new(authority(settings, http.clone())?, client, own()))
        }
    };
    let wanted =
        if settings.exchange == Some(true) { exchange(settings, http, plain, clock)? } else { plain };
    Ok(Fresh::new(wanted, own()))
}

/// The login of these settings' profile.
///
/// # Errors
///
/// As [`source`].
pub fn login(settings: &ClientSettings, clock: &Arc<dyn Clock>) -> Result<Login, SourceError> {
    let folder = folder().ok_or_else(|| {
        SourceError::Configuration(
            "neither `XDG_CONFIG_HOME` nor `HOME` is set: nowhere to keep a login".to_owned(),
        )
    })?;
    let keep = Keep::new(folder, &settings.profile, settings.keep)?;
    let client = client(settings, LOGIN_SCOPES)?;
    Ok(Login::new(authority(settings, http(settings)?)?, client, keep, Arc::clone(clock)))
}

/// The exchange at the gateway, whose issuer is below its public address.
fn exchange(
    settings: &ClientSettings,
    http: Http,
    subject: Arc<dyn TokenSource>,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<dyn TokenSource>, SourceError> {
    let gateway = needed(settings.gateway.as_ref(), "gateway", "the gateway's public address")?.to_string();
    if settings.roles.is_empty() {
        let text =
            "`roles` is missing: what the exchanged token may be used for (in `client.toml`, or `--role`)";
        return Err(SourceError::Configuration(text.to_owned()));
    }
    let authority = Arc::new(Authority::new(http, format!("{}/oauth", gateway.trim_end_matches('/'))));
    Ok(Arc::new(Exchange::new(authority, &settings.roles, subject, Arc::clone(clock))))
}

fn authority(settings: &ClientSettings, http: Http) -> Result<Arc<Authority>, SourceError> {
    let issuer = needed(settings.issuer.as_deref(), "issuer", "the issuer's URL, as its tokens name it")?;
    Ok(Arc::new(Authority::new(http, issuer)))
}

fn client(settings: &ClientSettings, scopes: &str) -> Result<Client, SourceError> {
    let id = needed(settings.client_id.as_deref(), "client_id", "as whom to ask the issuer")?;
    let secret = settings.client_secret().map_err(SourceError::Configuration)?;
    let proof = match (secret, &settings.client_key) {
        (None, None) => Proof::Public,
        (Some(secret), None) => Proof::Secret(secret),
        (None, Some(path)) => Proof::Key(Arc::new(ClientKey::read(path)?)),
        (Some(_), Some(_)) => {
            let text = "`client_secret` and `client_key` are two ways to be the same client: give one";
            return Err(SourceError::Configuration(text.to_owned()));
        }
    };
    let said = settings.scopes.join(" ");
    Ok(Client {
        id: id.to_owned(),
        proof,
        scopes: if said.is_empty() { scopes.to_owned() } else { said },
        audience: settings.audience.clone(),
        resource: settings.resource.clone(),
        id_token: settings.id_token.unwrap_or_default(),
    })
}

fn http(settings: &ClientSettings) -> Result<Http, SourceError> {
    Http::new(authorities(settings.ca.as_deref())?.as_deref())
}

/// The certificate authorities in a file.
pub(crate) fn authorities(ca: Option<&Path>) -> Result<Option<Vec<u8>>, SourceError> {
    let read = |path: &Path| {
        std::fs::read(path)
            .map_err(|error| SourceError::Configuration(format!("{}: {error}", path.display())))
    };
    ca.map(read).transpose()
}

fn needed<'a, T: ?Sized>(value: Option<&'a T>, name: &str, what: &str) -> Result<&'a T, SourceError> {
    value.ok_or_else(|| {
        let flag = name.replace('_', "-");
        SourceError::Configuration(format!("`{name}` is missing: {what} (in `client.toml`, or `--{flag}`)"))
    })
}

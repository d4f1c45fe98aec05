//! `client.toml`: whom callers' commands talk to, and where their tokens come from.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use http::Uri;
use serde::Deserialize;
use toml::Spanned;

use super::{
    check::{Checker, name, url},
    diagnostic::{ConfigError, Diagnostic},
    raw::{SecretRef, Text},
    units::{Secret, secret},
};

/// The name of the profile that is the top of the file.
pub(crate) const DEFAULT_PROFILE: &str = "default";

/// What a caller's command needs to know. Each comes from its flag, else from the profile in `client.toml`, else from
/// the top of that file.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
#[non_exhaustive]
pub struct ClientSettings {
    /// The profile these settings are of.
    #[arg(skip)]
    pub profile: String,
    /// Address of the gateway.
    #[arg(long, env = "CREWGATE_GATEWAY", value_name = "URL", value_parser = safe_url)]
    pub gateway: Option<Uri>,
    /// Address of the console.
    #[arg(skip)]
    pub console: Option<Uri>,
    /// The issuer, as its tokens name it.
    #[arg(long, value_name = "URL", value_parser = issuer)]
    pub issuer: Option<String>,
    /// As whom the issuer is asked.
    #[arg(long, value_name = "ID")]
    pub client_id: Option<String>,
    /// Environment variable that holds the client's secret.
    #[arg(long, value_name = "VARIABLE", conflicts_with = "client_secret_file")]
    pub client_secret_env: Option<String>,
    /// File that holds the client's secret.
    #[arg(long, value_name = "FILE")]
    pub client_secret_file: Option<PathBuf>,
    /// Private key of the client, PKCS#8 in PEM, instead of a secret.
    #[arg(long, value_name = "FILE")]
    pub client_key: Option<PathBuf>,
    /// A scope to ask for; may be given more than once.
    #[arg(long = "scope", value_name = "SCOPE")]
    pub scopes: Vec<String>,
    /// The audience to ask for.
    #[arg(long)]
    pub audience: Option<String>,
    /// The resource to ask for (RFC 8707).
    #[arg(long)]
    pub resource: Option<String>,
    /// Present the ID token: where access tokens are opaque to everybody but their issuer.
    #[arg(skip)]
    pub id_token: Option<bool>,
    /// Where tokens come from.
    #[arg(long, value_enum)]
    pub source: Option<Source>,
    /// Environment variable that holds a GitLab job's token.
    #[arg(long, value_name = "VARIABLE")]
    pub token_env: Option<String>,
    /// File in which Kubernetes keeps a token.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Exchange the token for one of the gateway's (RFC 8693).
    #[arg(long, num_args = 0, default_missing_value = "true")]
    pub exchange: Option<bool>,
    /// A role the exchanged token is narrowed to; may be given more than once.
    #[arg(long = "role", value_name = "ROLE")]
    pub roles: Vec<String>,
    /// Where a login is kept.
    #[arg(skip)]
    pub keep: Option<KeepIn>,
    /// Certificate authorities of gateway, console and issuer, PEM.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
}

/// Where tokens come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Source {
    /// A client's secret or key.
    ClientCredentials,
    /// A GitHub Actions job.
    Github,
    /// A GitLab job's `id_tokens`.
    Gitlab,
    /// A projected token of Kubernetes.
    Kubernetes,
    /// `crewgate login`.
    #[default]
    Login,
}

/// Where a login is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "the two places there are")]
pub enum KeepIn {
    /// A file only its owner may read.
    File,
    /// The keyring of the operating system.
    Keyring,
}

impl ClientSettings {
    /// Reads the file and finds the profile; `None` is the top of the file alone.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with everything that is wrong, each with its place.
    pub fn load(file: &Path, profile: Option<&str>) -> Result<Self, ConfigError> {
        let text = super::settings::text_of(file)?;
        Self::parse(file, &text, profile)
    }

    /// As [`ClientSettings::load`], from the text of the file; relative paths in it start at `file`'s folder.
    ///
    /// # Errors
    ///
    /// As [`ClientSettings::load`].
    pub fn parse(file: &Path, text: &str, profile: Option<&str>) -> Result<Self, ConfigError> {
        let raw: File = super::settings::toml_of(file, text)?;
        let mut check = Checker::new(file, text, false);
        let top = raw.settings(&mut check);
        let mut profiles: BTreeMap<String, Self> = BTreeMap::new();
        for (key, raw) in &raw.profile {
            let own = raw.settings(&mut check);
            if let Some(inner) = raw.profile.keys().next() {
                check.wrong(inner.span(), "a profile has no profiles of its own", None);
            }
            if let Some(key) = check.parse(key, name) {
                profiles.insert(key, own);
            }
        }
        let mut settings = match profile {
            None => top,
            Some(profile) => match profiles.remove(profile) {
                Some(own) => own.or(top),
                None => {
                    check.found.push(Diagnostic::whole(file, format!("no profile `{profile}`")));
                    top
                }
            },
        };
        settings.profile = profile.unwrap_or(DEFAULT_PROFILE).to_owned();
        if check.found.is_empty() { Ok(settings) } else { Err(ConfigError(check.found)) }
    }

    /// These, and what they leave open from `below`.
    #[must_use]
    pub fn or(self, below: Self) -> Self {
        let list = |own: Vec<String>, below| if own.is_empty() { below } else { own };
        // One place for the secret: a file's must not stand beside a flag's.
        let own_proof = self.client_secret_env.is_some()
            || self.client_secret_file.is_some()
            || self.client_key.is_some();
        let (secret_env, secret_file, key) = if own_proof {
            (self.client_secret_env, self.client_secret_file, self.client_key)
        } else {
            (below.client_secret_env, below.client_secret_file, below.client_key)
        };
        Self {
            profile: if self.profile.is_empty() { below.profile } else { self.profile },
            gateway: self.gateway.or(below.gateway),
            console: self.console.or(below.console),
            issuer: self.issuer.or(below.issuer),
            client_id: self.client_id.or(below.client_id),
            client_secret_env: secret_env,
            client_secret_file: secret_file,
            client_key: key,
            scopes: list(self.scopes, below.scopes),
            audience: self.audience.or(below.audience),
            resource: self.resource.or(below.resource),
            id_token: self.id_token.or(below.id_token),
            source: self.source.or(below.source),
            token_env: self.token_env.or(below.token_env),
            token_file: self.token_file.or(below.token_file),
            exchange: self.exchange.or(below.exchange),
            roles: list(self.roles, below.roles),
            keep: self.keep.or(below.keep),
            ca: self.ca.or(below.ca),
        }
    }

    /// Where tokens come from; a login where nothing is said.
    #[must_use]
    pub fn source(&self) -> Source {
        self.source.unwrap_or_default()
    }

    /// The client's secret, read now.
    pub(crate) fn client_secret(&self) -> Result<Option<Secret>, String> {
        let file = self.client_secret_file.as_ref().map(|path| path.display().to_string());
        let reference = SecretRef { env: self.client_secret_env.clone(), file };
        if reference.env.is_none() && reference.file.is_none() {
            return Ok(None);
        }
        secret(&reference, Path::new("")).map(Some)
    }
}

/// The file as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    gateway: Option<Text>,
    console: Option<Text>,
    issuer: Option<Text>,
    client_id: Option<String>,
    client_secret: Option<Spanned<SecretRef>>,
    client_key: Option<PathBuf>,
    #[serde(default)]
    scopes: Vec<String>,
    audience: Option<String>,
    resource: Option<String>,
    id_token: Option<bool>,
    source: Option<Source>,
    token_env: Option<String>,
    token_file: Option<PathBuf>,
    exchange: Option<bool>,
    #[serde(default)]
    roles: Vec<String>,
    keep: Option<KeepIn>,
    ca: Option<PathBuf>,
    #[serde(default)]
    profile: BTreeMap<Text, File>,
}

impl File {
    /// What is written here, checked.
    fn settings(&self, check: &mut Checker<'_>) -> ClientSettings {
        let beside = check.beside();
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| beside.join(path));
        let mut address = |text: &Option<Text>| text.as_ref().and_then(|text| check.parse(text, safe_url));
        let (gateway, console) = (address(&self.gateway), address(&self.console));
        let issuer = self.issuer.as_ref().and_then(|text| check.parse(text, issuer));
        let (secret_env, secret_file) =
            match self.client_secret.as_ref().map(|secret| (secret, secret.get_ref())) {
                None => (None, None),
                Some((_, SecretRef { env: Some(name), file: None })) => (Some(name.clone()), None),
                Some((_, SecretRef { env: None, file: Some(file) })) => (None, Some(beside.join(file))),
                Some((secret, _)) => {
                    check.wrong(secret.span(), "a secret is given by exactly one of `env` and `file`", None);
                    (None, None)
                }
            };
        ClientSettings {
            profile: String::new(),
            gateway,
            console,
            issuer,
            client_id: self.client_id.clone(),
            client_secret_env: secret_env,
            client_secret_file: secret_file,
            client_key: path(&self.client_key),
            scopes: self.scopes.clone(),
            audience: self.audience.clone(),
            resource: self.resource.clone(),
            id_token: self.id_token,
            source: self.source,
            token_env: self.token_env.clone(),
            token_file: path(&self.token_file),
            exchange: self.exchange,
            roles: self.roles.clone(),
            keep: self.keep,
            ca: path(&self.ca),
        }
    }
}

/// An address that tokens may be sent to.
fn safe_url(text: &str) -> Result<Uri, String> {
    url(text, false)
}

/// An issuer as its tokens name it: to the letter.
fn issuer(text: &str) -> Result<String, String> {
    url(text, false).map(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
gateway = "https://crewgate.acme.example"
issuer = "https://acme.okta.com/oauth2/default"
client_id = "crewgate-cli"
scopes = ["openid", "offline_access", "crews"]
ca = "acme.pem"

[profile.nightly]
source = "client-credentials"
client_id = "nightly"
client_secret = { file = "nightly.secret" }
scopes = ["crews"]

[profile.pod]
source = "kubernetes"
token_file = "/var/run/secrets/crewgate/token"
"#;

    fn parse(text: &str, profile: Option<&str>) -> Result<ClientSettings, String> {
        ClientSettings::parse("/home/a/.config/crewgate/client.toml".as_ref(), text, profile)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_profile_stands_on_the_top_of_the_file_and_flags_on_both() {
        let top = parse(FILE, None).unwrap();
        assert_eq!((top.profile.as_str(), top.source()), ("default", Source::Login));
        assert_eq!(top.ca.as_deref(), Some("/home/a/.config/crewgate/acme.pem".as_ref()));
        let nightly = parse(FILE, Some("nightly")).unwrap();
        assert_eq!((nightly.profile.as_str(), nightly.source()), ("nightly", Source::ClientCredentials));
        assert_eq!((nightly.client_id.as_deref(), &nightly.issuer), (Some("nightly"), &top.issuer));
        assert_eq!(nightly.scopes, ["crews"]);
        let flags = ClientSettings {
            client_secret_env: Some("SECRET".to_owned()),
            scopes: vec!["runs".to_owned()],
            ..ClientSettings::default()
        };
        let all = flags.or(nightly);
        assert_eq!((all.client_secret_env.as_deref(), all.client_secret_file), (Some("SECRET"), None));
        assert_eq!((all.scopes, all.profile.as_str()), (vec!["runs".to_owned()], "nightly"));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, line, what) in [
            ("gatway = \"https://a.example\"", 1, "unknown field"),
            ("\ngateway = \"http://a.example\"", 2, "plain HTTP"),
            ("issuer = \"a.example\"", 1, "not an http"),
            ("source = \"okta\"", 1, "unknown variant"),
            ("client_secret = { env = \"A\", file = \"b\" }", 1, "exactly one"),
            ("[profile.Big]\nclient_id = \"x\"", 1, "not a name"),
            ("[profile.a.profile.b]\n", 1, "no profiles of its own"),
        ] {
            let error = parse(text, None).unwrap_err();
            assert!(
                error.contains(what) && error.contains(&format!("client.toml:{line}:")),
                "{text}: {error}"
            );
        }
        assert!(parse(FILE, Some("weekly")).unwrap_err().contains("no profile `weekly`"));
    }
}

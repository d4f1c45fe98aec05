//! An authorization server: what it says about itself, and the one form every grant is.

use std::{fmt, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use crewgate_core::Timestamp;
use http::{HeaderValue, StatusCode, Uri};
use serde_json::Value;
use tokio::sync::OnceCell;

use super::{
    SourceError, Token,
    assertion::ClientKey,
    http::{Answer, Http},
};
use crate::config::{Secret, is_safe};

/// An authorization server, found by discovery when it is first needed.
#[derive(Debug)]
pub struct Authority {
    http: Http,
    issuer: String,
    metadata: OnceCell<Metadata>,
}

/// The endpoints this program uses (OpenID Connect Discovery 1.0, RFC 8414).
#[derive(Debug)]
pub(super) struct Metadata {
    token: Uri,
    pub(super) device: Option<Uri>,
    revocation: Option<Uri>,
    /// Whether it takes a secret in the header (RFC 6749 section 2.3.1), as all should, or only in the form.
    basic: bool,
}

/// As whom grants are asked for, and for what.
#[derive(Clone)]
pub struct Client {
    pub(super) id: String,
    pub(super) proof: Proof,
    pub(super) scopes: String,
    pub(super) audience: Option<String>,
    pub(super) resource: Option<String>,
    /// The ID token is what counts where access tokens are opaque to everybody.
    pub(super) id_token: bool,
}

/// How a client shows that it is this client.
#[derive(Clone)]
pub(super) enum Proof {
    /// Nobody asks but who has the token that is shown.
    Nothing,
    /// Not at all: a public client.
    Public,
    Secret(Secret),
    Key(std::sync::Arc<ClientKey>),
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("id", &self.id).field("scopes", &self.scopes).finish_non_exhaustive()
    }
}

impl Client {
    /// What is asked for, as fields of a form: the same for every grant (RFC 8707 for `resource`).
    pub(super) fn wishes(&self) -> Vec<(&str, &str)> {
        let scopes = (!self.scopes.is_empty()).then_some(self.scopes.as_str());
        let wishes = [
            ("scope", scopes),
            ("audience", self.audience.as_deref()),
            ("resource", self.resource.as_deref()),
        ];
        wishes.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// What was granted.
#[derive(Debug, Clone)]
pub(super) struct Granted {
    pub(super) token: Token,
    pub(super) refresh: Option<Secret>,
}

/// Why nothing was granted.
#[derive(Debug)]
pub(super) enum GrantError {
    /// RFC 6749 section 5.2: the code, and what the user may read.
    Refused { code: String, text: String },
    /// There was no such answer.
    Other(SourceError),
}

impl From<SourceError> for GrantError {
    fn from(error: SourceError) -> Self {
        Self::Other(error)
    }
}

impl From<GrantError> for SourceError {
    fn from(error: GrantError) -> Self {
        match error {
            GrantError::Refused { text, .. } => Self::Refused(text),
            GrantError::Other(error) => error,
        }
    }
}

impl Authority {
    /// The server with this issuer identifier.
    pub fn new(http: Http, issuer: impl Into<String>) -> Self {
        Self { http, issuer: issuer.into(), metadata: OnceCell::new() }
    }

    /// Its issuer identifier.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// What it says about itself, asked once.
    pub(super) async fn metadata(&self) -> Result<&Metadata, SourceError> {
        self.metadata.get_or_try_init(|| self.discover()).await
    }

    async fn discover(&self) -> Result<Metadata, SourceError> {
        let wrong = |what: &str| SourceError::Unavailable(format!("the issuer {}: {what}", self.issuer));
        let mut found = None;
        for place in self.places() {
            let place: Uri = place
                .parse()
                .map_err(|_| SourceError::Configuration(format!("`{}` is not a URL", self.issuer)))?;
            let answer = self.http.get(&place, None).await?;
            if answer.status == StatusCode::OK {
                found = Some(answer);
                break;
            }
        }
        let found = found.ok_or_else(|| wrong("there is no discovery document"))?;
        // RFC 8414 section 3.3: to the letter, or somebody else's endpoints would get our secrets.
        if found.text("issuer") != Some(&self.issuer) {
            return Err(wrong("its discovery document names another issuer"));
        }
        let local = self.issuer.starts_with("http:");
        let endpoint = |name: &str| match found.text(name).map(str::parse::<Uri>) {
            None => Ok(None),
            // A public issuer cannot send us to a port of our own machine.
            Some(Ok(uri)) if uri.scheme_str() == Some("https") || (local && is_safe(&uri)) => Ok(Some(uri)),
            Some(_) => Err(wrong(&format!("its `{name}` is not an https URL"))),
        };
        let methods = found.body.get("token_endpoint_auth_methods_supported").and_then(Value::as_array);
        Ok(Metadata {
            token: endpoint("token_endpoint")?.ok_or_else(|| wrong("it has no token endpoint"))?,
            device: endpoint("device_authorization_endpoint")?,
            revocation: endpoint("revocation_endpoint")?,
            basic: methods.is_none_or(|methods| methods.iter().any(|method| method == "client_secret_basic")),
        })
    }

    /// Where the document may be: as OpenID Connect puts it, then as RFC 8414 section 3.1 does.
    fn places(&self) -> [String; 2] {
        let base = self.issuer.trim_end_matches('/');
        let root = base.find("://").and_then(|at| base.get(at + 3..)?.find('/').map(|slash| at + 3 + slash));
        let (origin, path) = base.split_at_checked(root.unwrap_or(base.len())).unwrap_or((base, ""));
        [
            format!("{base}/.well-known/openid-configuration"),
            format!("{origin}/.well-known/oauth-authorization-server{path}"),
        ]
    }

    /// Asks for tokens with these fields beside those of the client.
    pub(super) async fn grant(
        &self,
        client: &Client,
        fields: &[(&str, &str)],
        now: Timestamp,
    ) -> Result<Granted, GrantError> {
        let metadata = self.metadata().await?;
        let wishes = client.wishes();
        let answer = self.ask(&metadata.token, client, &[&wishes, fields].concat(), now).await?;
        self.granted(client, &answer, now)
    }

    /// A form of this client's to an endpoint.
    pub(super) async fn ask(
        &self,
        endpoint: &Uri,
        client: &Client,
        fields: &[(&str, &str)],
        now: Timestamp,
    ) -> Result<Answer, SourceError> {
        let mut fields = fields.to_vec();
        let (assertion, authorization);
        match &client.proof {
            Proof::Secret(secret) if self.metadata().await?.basic => {
                authorization = Some(basic(&client.id, secret.expose()));
            }
            Proof::Secret(secret) => {
                fields.extend([("client_id", client.id.as_str()), ("client_secret", secret.expose())]);
                authorization = None;
            }
            Proof::Key(key) => {
                assertion = key.assertion(&client.id, &self.issuer, now)?;
                fields.extend([
                    ("client_id", client.id.as_str()),
                    ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
                    ("client_assertion", assertion.as_str()),
                ]);
                authorization = None;
            }
            Proof::Nothing => authorization = None,
            Proof::Public => {
                fields.push(("client_id", client.id.as_str()));
                authorization = None;
            }
        }
        self.http.post(endpoint, &fields, authorization).await
    }

    /// RFC 6749 sections 5.1 and 5.2.
    fn granted(&self, client: &Client, answer: &Answer, now: Timestamp) -> Result<Granted, GrantError> {
        let wrong = |what: &str| SourceError::Unavailable(format!("the issuer {}: {what}", self.issuer));
        if answer.status != StatusCode::OK {
            return Err(self.refusal(answer));
        }
        if !answer.text("token_type").is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")) {
            return Err(wrong("it grants tokens of another type than Bearer").into());
        }
        let name = if client.id_token { "id_token" } else { "access_token" };
        let value = answer.text(name).ok_or_else(|| wrong(&format!("it granted no `{name}`")))?;
        // The lifetime is the access token's; an ID token says its own.
        let life = answer.body.get("expires_in").and_then(Value::as_u64).filter(|_| !client.id_token);
        let token = Token::granted(value, life.map(Duration::from_secs), now)
            .map_err(|error| wrong(&format!("its `{name}` is {error}")))?;
        Ok(Granted { token, refresh: answer.text("refresh_token").map(Secret::new) })
    }

    /// The refusal in an answer that is none of success.
    pub(super) fn refusal(&self, answer: &Answer) -> GrantError {
        let said_no = |code: &&str| answer.status.is_client_error() && *code != "temporarily_unavailable";
        let Some(code) = answer.text("error").filter(said_no) else {
            let text = format!("the issuer {} answered {}", self.issuer, answer.status);
            return SourceError::Unavailable(text).into();
        };
        let description = answer.text("error_description").unwrap_or("no reason given");
        let text = printable(&format!("the issuer {} says no: {code} ({description})", self.issuer));
        GrantError::Refused { code: code.to_owned(), text }
    }

    /// Takes a refresh token back (RFC 7009); `false` when the server has no such endpoint.
    pub(super) async fn revoke(
        &self,
        client: &Client,
        refresh: &Secret,
        now: Timestamp,
    ) -> Result<bool, SourceError> {
        let Some(endpoint) = &self.metadata().await?.revocation else { return Ok(false) };
        let fields = [("token", refresh.expose()), ("token_type_hint", "refresh_token")];
        let answer = self.ask(endpoint, client, &fields, now).await?;
        if answer.status == StatusCode::OK { Ok(true) } else { Err(self.refusal(&answer).into()) }
    }
}

/// RFC 6749 section 2.3.1: encoded as in a form, then as in RFC 7617.
fn basic(id: &str, secret: &str) -> HeaderValue {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let credentials = STANDARD.encode(format!("{}:{}", encoded(id), encoded(secret)));
    // Base64 is always a header value.
    HeaderValue::try_from(format!("Basic {credentials}"))
        .unwrap_or_else(|_| HeaderValue::from_static("Basic"))
}

/// Text of a server for a terminal: no control characters, which could move the cursor or hide what is shown, and
/// not endless.
pub(super) fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(512).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_looked_for_where_both_standards_put_it() {
        let places = |issuer: &str| Authority::new(Http::new(None).unwrap(), issuer).places();
        assert_eq!(
            places("https://acme.okta.com/oauth2/default"),
            [
                "https://acme.okta.com/oauth2/default/.well-known/openid-configuration",
                "https://acme.okta.com/.well-known/oauth-authorization-server/oauth2/default",
            ]
        );
        assert_eq!(
            places("https://acme.eu.auth0.com/"),
            [
                "https://acme.eu.auth0.com/.well-known/openid-configuration",
                "https://acme.eu.auth0.com/.well-known/oauth-authorization-server",
            ]
        );
    }

    #[test]
    fn a_secret_with_special_characters_is_encoded_before_it_is_joined() {
        let value = basic("a b", "p:w+d");
        let text = value.to_str().unwrap().strip_prefix("Basic ").unwrap();
        assert_eq!(STANDARD.decode(text).unwrap(), b"a+b:p%3Aw%2Bd");
    }

    #[test]
    fn a_server_cannot_move_the_cursor() {
        assert_eq!(printable("code\u{1b}[2J\r\nX"), "code[2JX");
    }
}

//! The issuer's side of a login: where its doors are, and what is said at them.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use http::{HeaderValue, StatusCode, header};
use openidconnect::{
    AsyncHttpClient, AuthUrl, AuthenticationContextClass, AuthenticationFlow, AuthorizationCode, ClientId,
    ClientSecret, CsrfToken, HttpRequest, HttpResponse, IssuerUrl, JsonWebKeySet, Nonce, OAuth2TokenResponse,
    PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, Scope, TokenResponse, TokenUrl,
    core::{CoreClient, CoreResponseType},
    url::Url,
};
use tokio::{sync::Mutex, time::Instant};

use super::{LoginConfig, LoginError, SESSION_LIFE, attempt::Attempt};
use crate::{
    FETCH_TIMEOUT, Fetch, FetchError, Form, InvalidConfig, Verifier,
    issuer::Issuer,
    json::{Json, Object},
};

/// For so long the issuer's word on its endpoints counts, and its silence for as long as the second.
const KEEP: (Duration, Duration) = (Duration::from_secs(15 * 60), Duration::from_secs(1));

/// What the discovery document says (OpenID Connect Discovery 1.0, RP-Initiated Logout 1.0, RFC 9207).
#[derive(Clone)]
struct Endpoints {
    authorization: String,
    token: String,
    end_session: Option<String>,
    names_itself: bool,
}

type Known = (Instant, Result<Endpoints, FetchError>);

pub(super) struct Provider {
    issuer: Arc<Issuer>,
    fetch: Arc<dyn Fetch>,
    // Held while the document is fetched: whoever comes meanwhile waits for the same.
    endpoints: Mutex<Option<Known>>,
}

/// What a code was worth.
pub(super) struct Tokens {
    pub(super) id_token: String,
    pub(super) access_token: String,
}

impl Provider {
    pub(super) fn new(
        config: &LoginConfig,
        verifier: &Verifier,
        fetch: Arc<dyn Fetch>,
    ) -> Result<Self, InvalidConfig> {
        let wrong = |what: &str| InvalidConfig(format!("login at {}: {what}", config.issuer.name));
        let issuer = verifier.only_issuer().ok_or_else(|| wrong("no issuer"))?;
        RedirectUrl::new(config.redirect_uri.clone()).map_err(|_| wrong("the redirect URI is no URL"))?;
        IssuerUrl::new(issuer.config.url.clone()).map_err(|_| wrong("the issuer is no URL"))?;
        Ok(Self { issuer, fetch, endpoints: Mutex::default() })
    }

    /// The issuer whose keys these are.
    pub(super) fn issuer(&self) -> &Arc<Issuer> {
        &self.issuer
    }

    /// Where a browser goes to log in.
    pub(super) async fn authorize(
        &self,
        config: &LoginConfig,
        attempt: &Attempt,
        fresh: bool,
    ) -> Result<String, LoginError> {
        let endpoints = self.endpoints().await?;
        let client =
            self.client(config)?.set_auth_uri(AuthUrl::new(endpoints.authorization).map_err(invalid)?);
        let (verifier, state, nonce) =
            (PkceCodeVerifier::new(attempt.verifier()), attempt.state(), attempt.nonce());
        let mut request = client
            .authorize_url(
                AuthenticationFlow::<CoreResponseType>::AuthorizationCode,
                move || CsrfToken::new(state),
                move || Nonce::new(nonce),
            )
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
            .add_scopes(config.scopes.iter().cloned().map(Scope::new));
        // In any case: an issuer that is asked for an age must say what it is (OpenID Connect Core 1.0 section 3.1.2.1).
        request = request.set_max_age(if fresh { config.fresh } else { SESSION_LIFE });
        for class in config.acr.iter().filter(|_| fresh) {
            request = request.add_auth_context_value(AuthenticationContextClass::new(class.clone()));
        }
        Ok(request.url().0.into())
    }

    /// RFC 9207: an answer says whose it is, when the issuer says that its answers do.
    pub(super) async fn check_issuer(&self, said: Option<&str>) -> Result<(), LoginError> {
        match said {
            Some(said) if said == self.issuer.config.url => Ok(()),
            None if !self.endpoints().await?.names_itself => Ok(()),
            _ => Err(LoginError::Attempt("the answer is another issuer's")),
        }
    }

    /// The tokens for a code.
    pub(super) async fn redeem(
        &self,
        config: &LoginConfig,
        code: String,
        attempt: &Attempt,
    ) -> Result<Tokens, LoginError> {
        let endpoints = self.endpoints().await?;
        let client = self.client(config)?.set_token_uri(TokenUrl::new(endpoints.token).map_err(invalid)?);
        let answer = client
            .exchange_code(AuthorizationCode::new(code))
            .set_pkce_verifier(PkceCodeVerifier::new(attempt.verifier()))
            .request_async(self)
            .await
            .map_err(|error| LoginError::Provider(format!("the code brought no token: {error}")))?;
        let id_token = answer.id_token();
        let id_token =
            id_token.ok_or_else(|| LoginError::Provider("the code brought no ID token".to_owned()))?;
        Ok(Tokens { id_token: id_token.to_string(), access_token: answer.access_token().secret().clone() })
    }

    /// Where a browser goes to end the issuer's session.
    pub(super) async fn logout(&self, config: &LoginConfig) -> Option<String> {
        let mut url = Url::parse(&self.endpoints().await.ok()?.end_session?).ok()?;
        url.query_pairs_mut()
            .append_pair("client_id", &config.client_id)
            .append_pair("post_logout_redirect_uri", &config.after_logout);
        Some(url.into())
    }

    fn client(&self, config: &LoginConfig) -> Result<CoreClient, LoginError> {
        let issuer = IssuerUrl::new(self.issuer.config.url.clone()).map_err(invalid)?;
        // No keys: ID tokens are judged by the pipeline that judges all.
        let client =
            CoreClient::new(ClientId::new(config.client_id.clone()), issuer, JsonWebKeySet::default())
                .set_redirect_uri(RedirectUrl::new(config.redirect_uri.clone()).map_err(invalid)?);
        Ok(match &config.client_secret {
            Some(secret) => client.set_client_secret(ClientSecret::new(secret.clone())),
            None => client,
        })
    }

    async fn endpoints(&self) -> Result<Endpoints, LoginError> {
        let mut known = self.endpoints.lock().await;
        let lasts = |(at, read): &Known| at.elapsed() < if read.is_ok() { KEEP.0 } else { KEEP.1 };
        let read = match known.take().filter(lasts) {
            Some(known) => known,
            None => (Instant::now(), self.issuer.discovery(|document| self.read(document)).await),
        };
        let endpoints = read.1.clone().map_err(|error| LoginError::Provider(error.to_string()));
        *known = Some(read);
        endpoints
    }

    fn read(&self, document: &Object<'_>) -> Result<Endpoints, String> {
        let url = |name: &str| match document.get(name).map(Json::as_str) {
            None => Ok(None),
            Some(Some(url)) if self.issuer.config.may_lead_to(url) => Ok(Some(url.to_owned())),
            Some(_) => Err(format!("{name} is no URL that may be used")),
        };
        let needed = |name: &str| url(name)?.ok_or_else(|| format!("no {name}"));
        Ok(Endpoints {
            authorization: needed("authorization_endpoint")?,
            token: needed("token_endpoint")?,
            end_session: url("end_session_endpoint")?,
            names_itself: document.get("authorization_response_iss_parameter_supported")
                == Some(&Json::Bool(true)),
        })
    }

    /// Sends what the client made, by the means of everything else that is asked of the issuer.
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, FetchError> {
        let url = request.uri().to_string();
        let uri = self.issuer.config.fetchable(&url).map_err(FetchError::new)?;
        let headers = request.headers();
        let form = Form {
            authorization: headers.get(header::AUTHORIZATION).cloned().map(|mut value| {
                value.set_sensitive(true);
                value
            }),
            accept: headers
                .get(header::ACCEPT)
                .cloned()
                .unwrap_or(HeaderValue::from_static("application/json")),
            body: String::from_utf8(request.into_body()).map_err(|_| FetchError::new("not a form"))?,
        };
        let posted = tokio::time::timeout(FETCH_TIMEOUT, self.fetch.post(uri, form)).await;
        let posted = posted.map_err(|_| FetchError::new("no answer within 3 s"))??;
        let mut response = HttpResponse::new(posted.body.to_vec());
        *response.status_mut() = StatusCode::OK;
        let kind =
            HeaderValue::try_from(posted.content_type).map_err(|_| FetchError::new("no content type"))?;
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        Ok(response)
    }
}

/// A type of its own: of a closure it would not be known that its answers may be awaited on any thread.
impl<'c> AsyncHttpClient<'c> for Provider {
    type Error = FetchError;
    type Future = BoxFuture<'c, Result<HttpResponse, FetchError>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

fn invalid(error: impl std::fmt::Display) -> LoginError {
    LoginError::Provider(error.to_string())
}

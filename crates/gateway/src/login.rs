//! People in browsers at the console: where they log in, and what lets a page of theirs be asked for.
//!
//! A session is a cookie, so every form must show that a page of ours sent it: by the session's own token and by where
//! the browser says it comes from. Tokens in `Authorization` need none of it; they are the API's, and cookies open
//! nothing there.

use std::sync::Arc;

use axum::{
    Extension, Router,
    body::{Body, to_bytes},
    extract::{RawQuery, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use crewgate_console::{Console, FORM_TOKEN, Form, Visit, notice, pages, style};
use crewgate_core::Clock;
use crewgate_oidc::{Fetch, LOGIN_TIME, Login, LoginError, Revocations, SessionId};
use crewgate_store::Store;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use crate::{config::LoginSettings, identity::fetch_by, live::Live, oauth};

/// Cookies of ours: a session, and a login under way.
const SESSION: &str = "session";
const ATTEMPT: &str = "login";

/// Bytes of a form: a decision's reason and a logout token both fit.
const MAX_FORM: usize = 20 * 1024;

/// Where people log in.
#[derive(Debug, Clone)]
pub(crate) struct LoginDesk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    login: Login,
    /// The console's own address, without a slash at its end: the `Origin` of its pages.
    base: String,
    live: Live,
}

impl LoginDesk {
    /// The desk of a console at this address.
    ///
    /// # Errors
    ///
    /// What is wrong with the settings.
    pub(crate) fn new(
        settings: &LoginSettings,
        base: String,
        store: &Store,
        revocations: Revocations,
        live: Live,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, String> {
        let fetch: Arc<dyn Fetch> = Arc::new(fetch_by(&settings.reach)?);
        let (sessions, used) = (Arc::new(store.clone()), Arc::new(store.clone()));
        let login = Login::new(settings.at(&base), fetch, sessions, used, revocations, clock);
        Ok(Self(Arc::new(Inner { login: login.map_err(|error| error.to_string())?, base, live })))
    }

    /// The pages and the doors to them; everything else is `beside`'s.
    pub(crate) fn around(self, console: Console, beside: Router) -> Router {
        let inside = Router::new()
            .route("/logout", post(logout))
            .with_state(self.clone())
            .merge(pages(console))
            .route_layer(middleware::from_fn_with_state(self.clone(), enter));
        Router::new()
            .route("/login", get(begin))
            .route("/callback", get(finish))
            .route("/backchannel-logout", post(told))
            .with_state(self)
            .merge(inside)
            .merge(style())
            .fallback_service(beside)
    }

    /// `__Host-` binds a cookie to this host and to TLS; on this machine there may be no TLS.
    fn name(&self, cookie: &str) -> String {
        let prefix = if self.is_secure() { "__Host-" } else { "" };
        format!("{prefix}crewgate-{cookie}")
    }

    fn is_secure(&self) -> bool {
        self.0.base.starts_with("https://")
    }

    /// The value of a cookie; none when several are sent, of which somebody else may have set one.
    fn cookie<'a>(&self, headers: &'a HeaderMap, cookie: &str) -> Option<&'a str> {
        let name = self.name(cookie);
        let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut values = lines
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(found, _)| *found == name)
            .map(|(_, value)| value);
        let value = values.next()?;
        values.next().is_none().then_some(value)
    }

    /// Sets a cookie for so many seconds: 0 takes it away, `None` keeps it until the browser is closed.
    fn set(&self, response: &mut Response, cookie: &str, value: &str, seconds: Option<u64>) {
        let age = seconds.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
        let secure = if self.is_secure() { "; Secure" } else { "" };
        let text = format!("{}={value}; Path=/; HttpOnly; SameSite=Lax{age}{secure}", self.name(cookie));
        if let Ok(mut value) = HeaderValue::try_from(text) {
            value.set_sensitive(true);
            response.headers_mut().append(header::SET_COOKIE, value);
        }
    }

    fn session_id(&self, headers: &HeaderMap) -> Option<SessionId> {
        self.cookie(headers, SESSION).and_then(SessionId::parse)
    }

    /// Whether the browser says that a page of ours sent this. One that says nothing of it is not believed.
    fn is_own(&self, headers: &HeaderMap) -> bool {
        let one = |name: &str| {
            let mut values = headers.get_all(name).iter();
            (values.next(), values.next().is_some())
        };
        let (site, origin) = (one("sec-fetch-site"), one("origin"));
        let right = |(value, more): (Option<&HeaderValue>, bool), own: &str| {
            !more && value.is_none_or(|value| value.as_bytes() == own.as_bytes())
        };
        (site.0.is_some() || origin.0.is_some()) && right(site, "same-origin") && right(origin, &self.0.base)
    }

    /// A form that one of this session's pages sent.
    async fn form(&self, id: &SessionId, headers: &HeaderMap, body: Body) -> Result<Form, Response> {
        let refused =
            |text: &str| notice(StatusCode::FORBIDDEN, "Not sent from here", text, ("/", "All approvals"));
        if !self.is_own(headers) {
            return Err(refused("This was not sent by a page of this console, so nothing was done."));
        }
        let mut fields = fields(headers, body).await.map_err(|what| refused(&what))?;
        match fields.0.remove(FORM_TOKEN) {
            Some(token) if id.is_form_token(&token) => Ok(fields),
            _ => Err(refused("The form is not of this session, so nothing was done. Open the page again.")),
        }
    }
}

async fn fields(headers: &HeaderMap, body: Body) -> Result<Form, String> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err("this is no form".to_owned());
    }
    let body = to_bytes(body, MAX_FORM).await.map_err(|_| "the form is too large or broke off".to_owned())?;
    oauth::Form::read(&body).map(|form| Form(form.into_fields()))
}

/// Lets a person in whose browser shows a session, and sends everybody else to log in.
async fn enter(State(desk): State<LoginDesk>, mut request: Request, next: Next) -> Response {
    let id = desk.session_id(request.headers());
    let session = match &id {
        None => None,
        Some(id) => match desk.0.login.resume(id).await {
            Ok(session) => session,
            // Revoked: the session is over, not only closed for now.
            Err(LoginError::Token(_)) => match desk.0.login.logout(id).await {
                Ok(_) => None,
                Err(error) => return sorry(&error),
            },
            Err(error) => return sorry(&error),
        },
    };
    let (Some(id), Some(session)) = (id, session) else {
        return stranger(&request);
    };
    let visit = Visit { form_token: id.form_token(), fresh: desk.0.login.is_fresh(&session) };
    let mut principal = session.principal;
    principal.human = desk.0.live.person(&principal.key);
    if request.method() == Method::POST {
        let (parts, body) = request.into_parts();
        match desk.form(&id, &parts.headers, body).await {
            Ok(form) => {
                request = Request::from_parts(parts, Body::empty());
                request.extensions_mut().insert(form);
            }
            Err(refused) => return refused,
        }
    }
    let extensions = request.extensions_mut();
    extensions.insert(principal);
    extensions.insert(visit);
    extensions.insert(id);
    next.run(request).await
}

/// Who is in no session. Only a browser is sent on: a program is told.
fn stranger(request: &Request) -> Response {
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if reads && accept.is_some_and(|accept| accept.contains("text/html")) {
        return go(&format!("/login?to={}", request.uri().path()));
    }
    let text = "There is no session, or it has ended. Nothing was done.";
    notice(StatusCode::UNAUTHORIZED, "Not logged in", text, ("/login", "Log in"))
}

async fn begin(State(desk): State<LoginDesk>, RawQuery(query): RawQuery) -> Response {
    let wish = oauth::Form::read(query.unwrap_or_default().as_bytes()).unwrap_or_default();
    let (to, fresh) = (wish.get("to").unwrap_or("/"), wish.get("fresh") == Some("true"));
    match desk.0.login.begin(to, fresh).await {
        Ok(begun) => {
            let mut response = go(&begun.location);
            desk.set(&mut response, ATTEMPT, &begun.attempt, Some(LOGIN_TIME.as_secs()));
            response
        }
        Err(error) => sorry(&error),
    }
}

async fn finish(State(desk): State<LoginDesk>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let (attempt, over) = (desk.cookie(&headers, ATTEMPT), desk.session_id(&headers));
    let query = query.unwrap_or_default();
    match desk.0.login.finish(attempt, &query, over.as_ref()).await {
        Ok(opened) => {
            let mut response = go(&opened.back);
            desk.set(&mut response, SESSION, &opened.id.reveal(), None);
            desk.set(&mut response, ATTEMPT, "", Some(0));
            response
        }
        Err(error) => {
            tracing::info!(code = error.code(), %error, "a login at the console was refused");
            sorry(&error)
        }
    }
}

async fn logout(State(desk): State<LoginDesk>, Extension(id): Extension<SessionId>) -> Response {
    match desk.0.login.logout(&id).await {
        Ok(next) => {
            let link = match &next {
                Some(next) => (next.as_str(), "Log out at the identity provider too"),
                None => ("/login", "Log in"),
            };
            let mut response = notice(StatusCode::OK, "Logged out", "This session has ended.", link);
            desk.set(&mut response, SESSION, "", Some(0));
            response
        }
        Err(error) => sorry(&error),
    }
}

/// OpenID Back-Channel Logout 1.0 section 2.8.
async fn told(State(desk): State<LoginDesk>, headers: HeaderMap, body: Body) -> Response {
    let token = fields(&headers, body).await.ok().and_then(|mut form| form.0.remove("logout_token"));
    let told = match token {
        Some(token) => desk.0.login.told(&token).await.map_err(|error| {
            tracing::warn!(%error, "a logout token that an issuer sent ended no session");
            match error {
                LoginError::Token(_) => (StatusCode::BAD_REQUEST, error.code()),
                _ => (StatusCode::SERVICE_UNAVAILABLE, error.code()),
            }
        }),
        None => Err((StatusCode::BAD_REQUEST, "invalid_request")),
    };
    let no_store = [(header::CACHE_CONTROL, "no-store")];
    match told {
        Ok(ended) => {
            tracing::info!(ended, "an issuer ended sessions");
            (StatusCode::OK, no_store).into_response()
        }
        Err((status, code)) => {
            let error = axum::Json(serde_json::json!({ "error": code }));
            (status, no_store, error).into_response()
        }
    }
}

fn go(location: &str) -> Response {
    match HeaderValue::try_from(location) {
        Ok(location) => {
            let all = [
                (header::LOCATION, location),
                (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
                // The query of a login is nobody else's.
                (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
            ];
            (StatusCode::SEE_OTHER, all).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn sorry(error: &LoginError) -> Response {
    let text = format!("You are not logged in: {error} ({}).", error.code());
    notice(error.status(), "Not logged in", &text, ("/login", "Log in"))
}

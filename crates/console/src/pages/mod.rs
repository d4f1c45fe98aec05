//! Plain pages for people: what waits for them, what exactly will run, and a form to decide it. They show what the API
//! answers, and nothing runs on them.

mod html;

use std::{collections::BTreeMap, fmt::Write as _};

use axum::{
    Extension, Router,
    extract::{Path, Request, State as Of},
    middleware::{self, Next},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use crewgate_core::{Principal, Verdict};
use http::{HeaderValue, StatusCode, header};
use serde_json::Value;

pub use self::html::escape;
pub use self::html::notice;
use self::html::{harden, page};
use crate::{
    Console,
    approvals::{self, Decision},
    problem::Problem,
    reveal,
};

/// What a page must know of the session it is shown in. Whoever puts it on a request has seen that the request is the
/// session's own.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_structs, reason = "made by whoever keeps sessions")]
pub struct Visit {
    /// What every form carries in the field [`FORM_TOKEN`].
    pub form_token: String,
    /// Whether the person proved who they are a short time ago, in a way that is enough to approve something.
    pub fresh: bool,
}

/// Name of the field of a form that shows that one of our pages sent it. It has been checked, and taken out, before a
/// page reads the [`Form`].
pub const FORM_TOKEN: &str = "token";

/// The fields of a form that one of our pages sent, each once.
#[derive(Debug, Clone, Default)]
#[expect(clippy::exhaustive_structs, reason = "made by whoever checks forms")]
pub struct Form(pub BTreeMap<String, String>);

/// Where a person logs in anew to go on at this place.
const LOGIN_AGAIN: &str = "/login?fresh=true&to=";

type Page = Result<Response, Response>;

/// The pages. Wrap a layer around them that puts [`Principal`], [`Visit`] and, on a `POST`, the checked [`Form`] on
/// every request; what lacks them is refused.
pub fn pages(console: Console) -> Router {
    Router::new()
        .route("/", get(home))
        .route("/approvals/{id}", get(show))
        .route("/approvals/{id}/decision", post(decide))
        .route("/approvals/{id}/cancel", post(cancel))
        .route("/approvals/{id}/reveal", post(show_revealed))
        .route_layer(middleware::from_fn(require_visit))
        .with_state(console)
}

/// The stylesheet of the pages, for everybody.
pub fn style() -> Router {
    Router::new().route("/style.css", get(stylesheet))
}

async fn stylesheet() -> Response {
    let mut response = Response::new(include_str!("style.css").into());
    harden(response.headers_mut());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/css"));
    response
}

/// Forgetting the layer costs a 401, never a pass.
async fn require_visit(request: Request, next: Next) -> Response {
    let has = request.extensions();
    if has.get::<Principal>().is_some() && has.get::<Visit>().is_some() {
        next.run(request).await
    } else {
        notice(StatusCode::UNAUTHORIZED, "Not logged in", "Log in to see this.", ("/login", "Log in"))
    }
}

async fn home(
    Of(console): Of<Console>,
    Extension(who): Extension<Principal>,
    Extension(visit): Extension<Visit>,
) -> Page {
    let lists = approvals::listed(&console, &who).await.map_err(sorry)?;
    let mut body = format!("<p>You are <b>{}</b>.</p>", escape(&who.key.to_string()));
    for (name, title, none) in [
        ("waiting", "Waits for you", "Nothing waits for you."),
        ("own", "You asked for", "You have asked for nothing."),
    ] {
        let _ = write!(body, "<h2>{title}</h2>");
        let rows = lists.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if rows.is_empty() {
            let _ = write!(body, "<p>{none}</p>");
            continue;
        }
        body.push_str("<table><tr><th>Request</th><th>By</th><th>State</th><th>Until</th></tr>");
        for row in rows {
            let _ = write!(
                body,
                "<tr><td><a href=\"/approvals/{}\">{} {}</a></td><td>{}</td><td>{}</td><td>{}</td></tr>",
                text(row, "/id"),
                text(row, "/action"),
                text(row, "/resource"),
                text(row, "/requester"),
                text(row, "/state/name"),
                text(row, "/expires"),
            );
        }
        body.push_str("</table>");
    }
    let _ = write!(body, "{}<button>Log out</button></form>", form("/logout", &visit));
    Ok(page(StatusCode::OK, "Approvals", &body))
}

async fn show(
    Of(console): Of<Console>,
    Extension(who): Extension<Principal>,
    Extension(visit): Extension<Visit>,
    Path(id): Path<String>,
) -> Page {
    let shown = approvals::shown(&console, &who, &id).await.map_err(sorry)?;
    Ok(sheet(&shown, &visit, None))
}

/// One approval, and the masked inputs where they were asked for.
fn sheet(shown: &Value, visit: &Visit, revealed: Option<&Value>) -> Response {
    let mut body = String::from("<p><a href=\"/\">All approvals</a></p><table>");
    for (name, pointer) in [
        ("Asked by", "/requester/id"),
        ("State", "/state/name"),
        ("Expires", "/expires"),
        ("Sent to", "/outgoing/upstream"),
        ("Digest", "/digest"),
    ] {
        let _ = write!(body, "<tr><th>{name}</th><td>{}</td></tr>", text(shown, pointer));
    }
    for (name, pointer) in [
        ("Acts for them", "/requester/actors"),
        ("Needs", "/needs"),
        ("Votes", "/votes"),
        ("Masked", "/outgoing/masked"),
    ] {
        for line in shown.pointer(pointer).and_then(Value::as_array).into_iter().flatten() {
            let _ = write!(body, "<tr><th>{name}</th><td>{}</td></tr>", escape(&line.to_string()));
        }
    }
    let _ = write!(
        body,
        "</table><h2>What will be sent</h2><pre>{} {}\n\n{}</pre>",
        text(shown, "/outgoing/method"),
        text(shown, "/outgoing/path"),
        text(shown, "/outgoing/body"),
    );
    let (id, is) = (text(shown, "/id"), |name: &str| shown.get(name) == Some(&Value::Bool(true)));
    if let Some(inputs) = revealed.and_then(|revealed| revealed.get("inputs")?.as_object()) {
        body.push_str("<h2>Inputs that rules decide on</h2><table>");
        for (name, value) in inputs {
            let _ = write!(body, "<tr><th>{}</th><td>{}</td></tr>", escape(name), escape(&value.to_string()));
        }
        body.push_str("</table>");
    } else if is("may_decide") && !is("may_approve") {
        let _ = write!(
            body,
            "<p>Rules decide on inputs that are masked: who approves must see them, and the record says so.</p>\
             {}<input type=\"hidden\" name=\"digest\" value=\"{}\"><button>Reveal</button></form>",
            form(&format!("/approvals/{id}/reveal"), visit),
            text(shown, "/digest"),
        );
    }
    if is("may_decide") {
        let _ = write!(
            body,
            "{}<input type=\"hidden\" name=\"digest\" value=\"{}\">\
             <label>Reason<textarea name=\"reason\" maxlength=\"2000\"></textarea></label>",
            form(&format!("/approvals/{id}/decision"), visit),
            text(shown, "/digest"),
        );
        if visit.fresh && (is("may_approve") || revealed.is_some()) {
            body.push_str("<button name=\"verdict\" value=\"approve\">Approve</button> ");
        }
        body.push_str("<button name=\"verdict\" value=\"deny\">Deny</button></form>");
        if !visit.fresh {
            let _ = write!(
                body,
                "<p><a href=\"{LOGIN_AGAIN}/approvals/{id}\">Log in again to approve it</a></p>"
            );
        }
    }
    let open = matches!(plain(shown, "/state/name").as_str(), "pending" | "approved");
    if is("mine") && open {
        let _ = write!(
            body,
            "{}<button>Take it back</button></form>",
            form(&format!("/approvals/{id}/cancel"), visit)
        );
    }
    let title = format!("{} {}", plain(shown, "/action"), plain(shown, "/resource"));
    page(StatusCode::OK, &title, &body)
}

async fn cancel(
    Of(console): Of<Console>,
    Extension(who): Extension<Principal>,
    Path(id): Path<String>,
    form: Option<Extension<Form>>,
) -> Page {
    if form.is_none_or(|Extension(Form(fields))| !fields.is_empty()) {
        return Err(sorry(Problem::bad("the form is not ours")));
    }
    approvals::cancelled(&console, &who, &id).await.map_err(sorry)?;
    Ok(Redirect::to(&format!("/approvals/{id}")).into_response())
}

async fn show_revealed(
    Of(console): Of<Console>,
    Extension(who): Extension<Principal>,
    Extension(visit): Extension<Visit>,
    Path(id): Path<String>,
    form: Option<Extension<Form>>,
) -> Page {
    let mut fields = form.map(|Extension(Form(fields))| fields).unwrap_or_default();
    let digest = fields.remove("digest").and_then(|digest| digest.parse().ok()).filter(|_| fields.is_empty());
    let digest = digest.ok_or_else(|| sorry(Problem::bad("the form is not ours")))?;
    let revealed = reveal::revealed(&console, &who, &id, &reveal::Read { digest }).await.map_err(sorry)?;
    let shown = approvals::shown(&console, &who, &id).await.map_err(sorry)?;
    Ok(sheet(&shown, &visit, Some(&revealed)))
}

async fn decide(
    Of(console): Of<Console>,
    Extension(who): Extension<Principal>,
    Extension(visit): Extension<Visit>,
    Path(id): Path<String>,
    form: Option<Extension<Form>>,
) -> Page {
    let bad = |what: &str| sorry(Problem::bad(what));
    let Some(Extension(Form(mut fields))) = form else { return Err(bad("there is no form")) };
    let verdict = match fields.remove("verdict").as_deref() {
        Some("approve") => Verdict::Approve,
        Some("deny") => Verdict::Deny,
        _ => return Err(bad("the verdict must be approve or deny")),
    };
    let digest = fields.remove("digest").and_then(|digest| digest.parse().ok());
    let digest = digest.ok_or_else(|| bad("the digest of what was read is missing"))?;
    let reason = fields.remove("reason").filter(|reason| !reason.trim().is_empty());
    if !fields.is_empty() {
        return Err(bad("the form has fields that are not ours"));
    }
    if verdict == Verdict::Approve && !visit.fresh {
        // RFC 9470, as far as a page can say it. A link, not a redirect: a form may only lead back here.
        let again = format!("{LOGIN_AGAIN}/approvals/{id}");
        let text = "Who approves something must just have shown who they are.";
        return Err(notice(StatusCode::FORBIDDEN, "Log in again", text, (&again, "Log in again")));
    }
    approvals::voted(&console, &who, &id, Decision { verdict, digest, reason }).await.map_err(sorry)?;
    Ok(Redirect::to(&format!("/approvals/{id}")).into_response())
}

/// The beginning of a form of this session.
fn form(action: &str, visit: &Visit) -> String {
    format!(
        "<form method=\"post\" action=\"{}\"><input type=\"hidden\" name=\"{FORM_TOKEN}\" value=\"{}\">",
        escape(action),
        escape(&visit.form_token)
    )
}

fn plain(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn text(value: &Value, pointer: &str) -> String {
    escape(&plain(value, pointer))
}

/// A refusal for people.
fn sorry(problem: Problem) -> Response {
    let (status, detail) = problem.told();
    notice(status, status.canonical_reason().unwrap_or("Refused"), &detail, ("/", "All approvals"))
}

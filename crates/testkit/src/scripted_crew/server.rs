//! The HTTP face of the scripted deployment.

use std::{
    io,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    response::{Html, IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch};

use super::{
    Received, Shared,
    run::Resumed,
    script::{StatusWords, Takes, Trouble},
};

/// Bytes of a body that are read: more than any test sends.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// Accepts until the sender says so or is dropped.
pub(super) fn serve(listener: TcpListener, shared: Arc<Shared>) -> watch::Sender<bool> {
    let (stop, mut stopped) = watch::channel(false);
    // One fallback for everything: raw paths are on the log as they came.
    let router = Router::new().fallback(answer).with_state(shared);
    tokio::spawn(async move {
        let ends = async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        let _ = axum::serve(listener, router).with_graceful_shutdown(ends).await;
    });
    stop
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY).await else { return StatusCode::BAD_REQUEST.into_response() };
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    shared.note(Received {
        method: head.method.clone(),
        path: path.clone(),
        headers: head.headers.clone(),
        body: body.clone(),
    });
    let delay = Duration::from_millis(shared.delay_millis.load(Ordering::SeqCst));
    // A sleep of zero lasts until the timer's next tick, which would be most of what a bench sees.
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let trouble = shared.trouble();
    match trouble {
        Trouble::Error => return server_error(),
        Trouble::Html => {
            return Html("<!doctype html><title>Bad Gateway</title><h1>502</h1>").into_response();
        }
        Trouble::Cut | Trouble::Endless | Trouble::None => {}
    }
    let (status, value) = match authorized(&shared, &head.headers) {
        Ok(()) => match act(&shared, &head.method, &path, &body) {
            Some(answer) => answer,
            None => return server_error(),
        },
        Err(detail) => (StatusCode::UNAUTHORIZED, json!({ "detail": detail })),
    };
    let text = value.to_string();
    let body = match trouble {
        Trouble::Cut => {
            let half = text.len() / 2;
            let half = Bytes::from(text.into_bytes()).slice(..half);
            Body::from_stream(stream::iter([Ok(half), Err(io::Error::from(io::ErrorKind::ConnectionReset))]))
        }
        Trouble::Endless => {
            let start = stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"["))]);
            Body::from_stream(start.chain(stream::repeat_with(|| Ok(Bytes::from(vec![b' '; 64 * 1024])))))
        }
        _ => Body::from(text),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn authorized(shared: &Shared, headers: &HeaderMap) -> Result<(), &'static str> {
    let Some(value) = headers.get(AUTHORIZATION) else { return Err("Not authenticated") };
    let token = value.to_str().ok().and_then(|value| value.split_once(' ')).filter(|(scheme, _)| {
        // FastAPI's HTTPBearer takes the scheme in any case.
        scheme.eq_ignore_ascii_case("bearer")
    });
    if token.is_some_and(|(_, token)| token == shared.script.key) {
        Ok(())
    } else {
        Err("Invalid or missing authentication credentials")
    }
}

/// The answer, or `None` for the plain 500 of a server that has fallen over a body.
fn act(shared: &Arc<Shared>, method: &Method, path: &str, body: &Bytes) -> Option<(StatusCode, Value)> {
    let json = || serde_json::from_slice::<Value>(body).ok();
    let plain = path.split('?').next().unwrap_or_default();
    let status = plain.strip_prefix("/status/").or_else(|| plain.strip_prefix('/')?.strip_suffix("/status"));
    Some(match (method.as_str(), plain, status) {
        ("GET", "/inputs", _) => (StatusCode::OK, json!({ "inputs": shared.script.inputs })),
        ("POST", "/kickoff", _) => kickoff(shared, &json()?),
        ("POST", "/resume", _) => resume(shared, &json()?),
        ("GET", _, Some(id)) if !id.contains('/') => find(shared, id),
        (_, "/inputs" | "/kickoff" | "/resume", _) => {
            (StatusCode::METHOD_NOT_ALLOWED, json!({"detail": "Method Not Allowed"}))
        }
        _ => match shared.script.more.iter().find(|(by, at, _)| by == method && at == plain) {
            Some((_, _, answer)) => (StatusCode::OK, answer.clone()),
            None => (StatusCode::NOT_FOUND, json!({"detail": "Not Found"})),
        },
    })
}

fn kickoff(shared: &Arc<Shared>, body: &Value) -> (StatusCode, Value) {
    let inputs = body.get("inputs").and_then(Value::as_object).cloned().unwrap_or_default();
    let asked = shared.script.inputs.iter().map(String::as_str);
    let missing: Vec<_> = asked.filter(|name| !inputs.contains_key(*name)).collect();
    if !missing.is_empty() {
        let detail = format!("Missing inputs: {}", missing.join(", "));
        return (StatusCode::UNPROCESSABLE_ENTITY, json!({ "detail": detail }));
    }
    let id = shared.runs().start(inputs, body);
    wake(shared, &id);
    (StatusCode::OK, json!({ "kickoff_id": id }))
}

/// A run that takes time pauses by itself, whether anybody asks or not.
fn wake(shared: &Arc<Shared>, id: &str) {
    let Takes::Time(time) = shared.script.takes else { return };
    if shared.script.human_input.is_none() {
        return;
    }
    let (shared, id): (Weak<Shared>, _) = (Arc::downgrade(shared), id.to_owned());
    tokio::spawn(async move {
        tokio::time::sleep(time).await;
        let call = shared.upgrade().and_then(|shared| shared.runs().tick(&shared.script, &id));
        if let Some((webhook, body)) = call {
            webhook.call(body).await;
        }
    });
}

fn find(shared: &Arc<Shared>, id: &str) -> (StatusCode, Value) {
    let (found, call) = shared.runs().status(&shared.script, id);
    if let Some((webhook, body)) = call {
        tokio::spawn(webhook.call(body));
    }
    match (found, shared.script.words) {
        (Some(status), _) => (StatusCode::OK, status),
        (None, StatusWords::Live) => {
            let status = "Task not found or Invalid kickoff id";
            let body = json!({"state": "NOT FOUND", "status": status, "result": null, "result_json": null,
                              "last_step": null, "last_executed_task": null, "source": "memory"});
            (StatusCode::OK, body)
        }
        (None, StatusWords::Documented) => {
            let message = format!("No execution found with ID: {id}");
            (StatusCode::NOT_FOUND, json!({"error": "Execution not found", "message": message}))
        }
    }
}

fn resume(shared: &Arc<Shared>, body: &Value) -> (StatusCode, Value) {
    let text = |snake: &str, camel: &str| {
        body.get(snake).or_else(|| body.get(camel)).and_then(Value::as_str).map(str::to_owned)
    };
    let (Some(execution), Some(task)) = (text("execution_id", "executionId"), text("task_id", "taskId"))
    else {
        let missing = json!([{"type": "missing", "loc": ["body", "executionId"], "msg": "Field required", "input": body}]);
        return (StatusCode::UNPROCESSABLE_ENTITY, json!({ "detail": missing }));
    };
    let resumed = shared.runs().resume(body, &execution, &task);
    let not_found =
        |message: &str| (StatusCode::NOT_FOUND, json!({"error": "Not Found", "message": message}));
    match resumed {
        Resumed::NoRun => not_found("Execution ID not found"),
        Resumed::NoTask => not_found("Task ID not found"),
        Resumed::NotPaused => {
            let message = "Execution is not in pending human input state";
            (StatusCode::BAD_REQUEST, json!({"error": "Invalid Request", "message": message}))
        }
        Resumed::Yes => {
            (StatusCode::OK, json!({"status": "resumed", "message": "Execution resumed successfully"}))
        }
        Resumed::Retry => {
            wake(shared, &execution);
            (
                StatusCode::OK,
                json!({"status": "retrying", "message": "Task will be retried with your feedback"}),
            )
        }
    }
}

fn server_error() -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error").into_response()
}

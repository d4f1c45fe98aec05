//! OCSF 1.8.0, class API Activity (6003), as lines of JSON.

use crewgate_core::{Effect, PrincipalKind};
use futures_util::future::{BoxFuture, FutureExt};
use serde_json::{Value, json};

use super::{Batch, Event, Sink, post::Post};
use crate::config::HttpSink;

/// The version whose attributes these are.
const VERSION: &str = "1.8.0";

pub(super) struct Ocsf(Post);

impl Ocsf {
    pub(super) fn new(to: &HttpSink) -> Result<Self, String> {
        Post::new(to, "").map(Self)
    }
}

impl Sink for Ocsf {
    fn hand_over<'a>(&'a mut self, batch: &'a Batch<'a>) -> BoxFuture<'a, Result<(), String>> {
        let events = batch.events;
        let mut body = String::new();
        for event in events {
            body.push_str(&api_activity(event).to_string());
            body.push('\n');
        }
        async move { self.0.send("application/x-ndjson", body.into_bytes()).await.map(|_| ()) }.boxed()
    }
}

fn api_activity(event: &Event) -> Value {
    let facts = &event.facts;
    let (activity, name) = match (facts.action.as_deref(), facts.effect) {
        (Some("kickoff"), _) => (1, "Create"),
        (_, Some(Effect::Read)) => (2, "Read"),
        (_, Some(Effect::Write)) => (3, "Update"),
        (_, _) => (99, event.phase),
    };
    let (status, status_name) = match (event.is_refusal(), facts.status) {
        (true, _) => (2, "Failure"),
        (false, Some(status)) if status >= 400 => (2, "Failure"),
        (false, Some(_)) => (1, "Success"),
        (false, None) => (99, event.phase),
    };
    let (severity, severity_name) = if event.is_refusal() { (2, "Low") } else { (1, "Informational") };
    let operation = facts
        .action
        .as_deref()
        .or(facts.control.as_deref())
        .or(facts.method.as_deref())
        .unwrap_or(event.phase);
    let mut api = json!({ "operation": operation, "response": { "code": facts.status.unwrap_or_default() } });
    let mut out = json!({
        "activity_id": activity,
        "activity_name": name,
        "category_uid": 6,
        "category_name": "Application Activity",
        "class_uid": 6003,
        "class_name": "API Activity",
        "type_uid": 600_300 + activity,
        "type_name": format!("API Activity: {name}"),
        "severity_id": severity,
        "severity": severity_name,
        "status_id": status,
        "status": status_name,
        "time": event.time.as_micros().div_euclid(1000),
        "message": event.summary(),
        "metadata": {
            "version": VERSION,
            "product": {
                "name": "Crewgate", "vendor_name": "Crewgate", "version": env!("CARGO_PKG_VERSION"),
            },
            "log_name": "record",
            "event_code": event.phase,
            "sequence": event.leaf,
            "uid": event.hash,
        },
        "actor": { "user": user(event) },
        "src_endpoint": endpoint(facts.remote.as_deref()),
        // Decisions with their rules have no place of their own in OCSF.
        "unmapped": { "crewgate": event },
    });
    if let Some(request) = &event.request {
        put(&mut api, "request", json!({ "uid": request }));
    }
    if let Some(resource) = &facts.resource {
        let (kind, name) = resource.split_once('/').unwrap_or(("Resource", resource));
        put(&mut api, "service", json!({ "name": name }));
        put(&mut out, "resources", json!([{ "type": kind, "name": name }]));
    }
    put(&mut out, "api", api);
    if let (Some(method), Some(path)) = (&facts.method, &facts.path) {
        put(&mut out, "http_request", json!({ "http_method": method, "url": { "path": path } }));
    }
    if let Some(status) = facts.status {
        put(&mut out, "http_response", json!({ "code": status }));
        put(&mut out, "status_code", json!(status.to_string()));
    }
    if let Some(refused) = &facts.refused {
        put(&mut out, "status_detail", json!(refused));
    }
    out
}

/// Who did it; the gateway itself where no principal did, and nobody known where a stranger called.
fn user(event: &Event) -> Value {
    let (name, kind) = match (&event.facts.principal, event.facts.kind) {
        (Some(principal), Some(PrincipalKind::Service)) => (principal.as_str(), 4),
        (Some(principal), _) => (principal.as_str(), 1),
        (None, _) if event.facts.method.is_some() => ("unknown", 0),
        (None, _) => ("crewgate", 3),
    };
    json!({ "name": name, "uid": name, "type_id": kind })
}

fn endpoint(remote: Option<&str>) -> Value {
    match remote {
        Some(remote) if remote.parse::<std::net::IpAddr>().is_ok() => json!({ "ip": remote }),
        Some(remote) => match remote.parse::<std::net::SocketAddr>() {
            Ok(address) => json!({ "ip": address.ip().to_string(), "port": address.port() }),
            Err(_) => json!({ "name": remote }),
        },
        None => json!({ "name": "crewgate" }),
    }
}

fn put(object: &mut Value, name: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(name.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use crewgate_audit::{Held, Leaf};

    use super::*;
    use crate::export::event::tests::leaf;

    /// Attributes the schema requires of every event of class 6003, and of the objects in it.
    const REQUIRED: [&str; 15] = [
        "/activity_id",
        "/category_uid",
        "/class_uid",
        "/type_uid",
        "/severity_id",
        "/time",
        "/metadata/version",
        "/metadata/product/vendor_name",
        "/metadata/product/name",
        "/actor/user",
        "/actor/user/uid",
        "/api/operation",
        "/api/response/code",
        "/src_endpoint",
        "/unmapped",
    ];

    #[tokio::test]
    async fn every_event_has_what_its_class_requires() {
        let leaf = leaf().await;
        for leaf in [
            leaf.clone(),
            Leaf { held: Held::Missing, ..leaf.clone() },
            Leaf { record: String::new(), ..leaf },
        ] {
            let event = api_activity(&Event::of(&leaf));
            for path in REQUIRED {
                assert!(event.pointer(path).is_some_and(|value| !value.is_null()), "{path}: {event:#}");
            }
            let number = |name: &str| event.get(name).and_then(Value::as_i64).unwrap();
            assert_eq!(number("type_uid"), number("class_uid") * 100 + number("activity_id"));
            assert_eq!(number("class_uid") / 1000, number("category_uid"));
        }
    }

    #[tokio::test]
    async fn a_refused_kickoff_is_a_failed_create_by_its_caller() {
        let event = api_activity(&Event::of(&leaf().await));
        let at = |path: &str| event.pointer(path).cloned().unwrap_or_default();
        assert_eq!(
            (at("/activity_id"), at("/status_id"), at("/severity_id")),
            (json!(1), json!(2), json!(2))
        );
        assert_eq!((at("/src_endpoint/ip"), at("/time")), (json!("192.0.2.7"), json!(1_781_524_800_000_u64)));
        assert_eq!(
            (at("/status_detail"), at("/api/service/name")),
            (json!("policy_denied"), json!("support"))
        );
    }
}

//! Operations that a deployment offers beside CrewAI's own.
#![expect(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use crewgate_core::{Action, Effect, InputValue, Operation, Refusal};
use crewgate_crewai::{
    ACTIONS, Crew, CustomOperation, InputDeclaration, InputKind, Route, Undeclared, render, route,
};
use http::{Method, Request, header::CONTENT_TYPE};
use serde_json::{Value, json};

fn export() -> CustomOperation {
    CustomOperation::new("reports.export", Method::POST, "/reports/export")
        .unwrap()
        .input("dataset", InputDeclaration::of(InputKind::String).dataset().required())
        .unwrap()
        .input("note", InputDeclaration::of(InputKind::Text))
        .unwrap()
}

fn crew() -> Crew {
    let list = CustomOperation::new("reports.list", Method::GET, "/reports").unwrap();
    Crew::new("support").operation(export()).operation(list)
}

fn ask(crew: &Crew, method: Method, path: &str, body: Option<&Value>) -> Result<Operation, Refusal> {
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().unwrap();
    let bytes = match body {
        Some(body) => {
            request.headers_mut().insert(CONTENT_TYPE, "application/json".parse().unwrap());
            Bytes::from(body.to_string())
        }
        None => Bytes::new(),
    };
    let (head, ()) = request.into_parts();
    crew.describe(head.uri.path(), &head, &bytes, None)
}

#[test]
fn a_declared_operation_is_described_by_its_members_and_sent_as_it_was_decided() {
    let body = json!({ "note": "for Maria", "dataset": "hr-2026" });
    let operation = ask(&crew(), Method::POST, "/reports/export", Some(&body)).unwrap();
    assert_eq!((operation.action.as_str(), operation.effect), ("reports.export", Effect::Write));
    assert_eq!(operation.inputs, [("dataset".to_owned(), InputValue::String("hr-2026".to_owned()))]);
    assert_eq!(operation.datasets, ["hr-2026"]);
    assert_eq!(operation.message.free_text, [["note"]]);
    let outgoing = render(&operation).unwrap();
    assert_eq!((outgoing.method, outgoing.path.as_str()), (Method::POST, "/reports/export"));
    assert_eq!(outgoing.body, body.to_string());

    let operation = ask(&crew(), Method::GET, "/reports", None).unwrap();
    assert_eq!((&operation.action, operation.effect), (&Action::of("reports.list"), Effect::Read));
    let outgoing = render(&operation).unwrap();
    assert!(outgoing.body.is_empty() && outgoing.content_type.is_none());
}

#[test]
fn what_is_not_as_declared_is_refused_with_its_place() {
    let code = |method, path, body: Option<&Value>| ask(&crew(), method, path, body).unwrap_err().code;
    let good = json!({ "dataset": "hr-2026" });
    assert_eq!(code(Method::PUT, "/reports/export", Some(&good)), "method_not_allowed");
    assert_eq!(code(Method::POST, "/reports/export/", Some(&good)), "route_unknown");
    assert_eq!(code(Method::POST, "/Reports/export", Some(&good)), "route_unknown");
    assert_eq!(code(Method::POST, "/reports/%65xport", Some(&good)), "route_unknown");
    assert_eq!(code(Method::POST, "/reports/export?all=1", Some(&good)), "query_refused");
    assert_eq!(code(Method::GET, "/reports", Some(&good)), "body_unexpected");
    assert_eq!(code(Method::POST, "/reports/export", None), "content_type_refused");
    assert_eq!(code(Method::POST, "/reports/export", Some(&json!([]))), "body_not_an_object");
    let webhook = json!({ "dataset": "hr-2026", "webhooks": { "url": "https://elsewhere.example" } });
    assert_eq!(code(Method::POST, "/reports/export", Some(&webhook)), "webhook_refused");

    let wrong = json!({ "dataset": 7, "other": 1 });
    let refusal = ask(&crew(), Method::POST, "/reports/export", Some(&wrong)).unwrap_err();
    let fields: Vec<_> = refusal.fields.iter().map(|field| (field.pointer.as_str(), field.code)).collect();
    assert_eq!(fields, [("/other", "input_undeclared"), ("/dataset", "input_type")]);
}

#[test]
fn undeclared_members_pass_unseen_only_where_that_is_said() {
    let open = Crew::new("support").operation(export().undeclared(Undeclared::Ignore));
    let body = json!({ "dataset": "hr-2026", "other": 1, "id": "x", "crewai_trigger_payload": "y" });
    let operation = ask(&open, Method::POST, "/reports/export", Some(&body)).unwrap();
    assert!(operation.has_undeclared_inputs);
    assert_eq!(operation.inputs.len(), 1);
}

#[test]
fn names_and_addresses_of_crewais_own_are_taken() {
    let key = |action: &str, method, path: &str| CustomOperation::new(action, method, path).unwrap_err().key;
    for (action, _) in ACTIONS {
        assert_eq!(key(action, Method::POST, "/free"), "action", "{action}");
    }
    for action in ["read", "write", "chat.other", "", "a..b", "Export", "a b"] {
        assert_eq!(key(action, Method::POST, "/free"), "action", "{action}");
    }
    for path in [
        "/kickoff",
        "/inputs",
        "/resume",
        "/status/x",
        "/x/status",
        "/chat/start",
        "/inspect",
        "/resume_feedback",
    ] {
        assert_eq!(key("export", Method::POST, path), "path", "{path}");
    }
    for path in ["", "/", "free", "/a//b", "/a/", "/../a", "/a/.", "/{id}", "/a?b", "/a%2Fb", "/a b", "/ä"] {
        assert_eq!(key("export", Method::POST, path), "path", "{path}");
    }
    for method in [Method::HEAD, Method::OPTIONS, Method::TRACE, Method::CONNECT] {
        assert_eq!(key("export", method, "/free"), "method");
    }
    let reads = CustomOperation::new("export", Method::DELETE, "/free").unwrap();
    assert_eq!(reads.effect, Effect::Write);
    assert_eq!(reads.input("x", InputDeclaration::of(InputKind::Json)).unwrap_err().key, "inputs");
}

#[test]
fn every_route_of_crewais_is_one_of_its_actions() {
    for (method, path) in [(Method::GET, "/inputs"), (Method::POST, "/kickoff"), (Method::POST, "/resume")] {
        let route: Route = route(&method, path).unwrap();
        assert!(ACTIONS.contains(&(route.action(), route.effect())), "{path}");
    }
}

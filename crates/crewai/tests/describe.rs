//! What a caller may ask, and what is sent for it.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use bytes::Bytes;
use crewgate_core::{Effect, IdKind, InputValue, Operation, Refusal, RunId, TaskId};
use crewgate_crewai::{
    Crew, InputDeclaration, InputKind, MAX_BODY_DEPTH, Relay, Route, Undeclared, render, route,
};
use http::{Method, Request, StatusCode, header::CONTENT_TYPE};
use proptest::prelude::*;

fn crew() -> Crew {
    Crew::new("support")
        .fleet("customer")
        .input("audience", InputDeclaration::of(InputKind::String))
        .input("dataset", InputDeclaration::of(InputKind::String).dataset())
        .input("days", InputDeclaration::of(InputKind::Integer))
        .input("dry", InputDeclaration::of(InputKind::Boolean))
        .input("filter", InputDeclaration::of(InputKind::Json))
        .input("question", InputDeclaration::of(InputKind::Text))
        .input("tables", InputDeclaration::of(InputKind::Strings).dataset())
}

fn ask(crew: &Crew, method: &str, path: &str, body: &str) -> Result<Operation, Refusal> {
    let mut request = Request::builder().method(method).uri(path);
    if !body.is_empty() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    let (head, ()) = request.body(()).unwrap().into_parts();
    crew.describe(path.split('?').next().unwrap(), &head, &Bytes::copy_from_slice(body.as_bytes()), None)
}

fn kickoff(body: &str) -> Result<Operation, Refusal> {
    ask(&crew(), "POST", "/kickoff", body)
}

fn said(refusal: Result<Operation, Refusal>) -> (u16, &'static str, String) {
    let refusal = refusal.expect_err("it was not refused");
    (refusal.status.as_u16(), refusal.code, refusal.detail)
}

fn code(refusal: Result<Operation, Refusal>) -> (u16, &'static str) {
    let (status, code, _) = said(refusal);
    (status, code)
}

fn sent(operation: &Operation) -> String {
    String::from_utf8(render(operation).unwrap().body.to_vec()).unwrap()
}

/// What looking the ids up does.
fn bound(mut operation: Operation) -> Operation {
    for (n, slot) in operation.ids.iter_mut().enumerate() {
        slot.upstream = Some(format!("upstream-id-no-{n:04}"));
    }
    operation
}

#[test]
fn inputs_is_a_read_without_anything() {
    let operation = ask(&crew(), "GET", "/inputs", "").unwrap();
    assert_eq!((operation.action.as_str(), operation.effect), ("inputs", Effect::Read));
    assert_eq!(operation.resource.kind, "Crew");
    assert_eq!(
        (operation.resource.name.as_str(), operation.resource.parents),
        ("support", vec!["customer".to_owned()])
    );
    let operation = ask(&crew(), "GET", "/inputs", "").unwrap();
    let outgoing = render(&operation).unwrap();
    assert_eq!((outgoing.method, outgoing.path.as_str()), (Method::GET, "/inputs"));
    assert!(outgoing.content_type.is_none() && outgoing.body.is_empty());
}

#[test]
fn a_kickoff_is_typed_for_rules_and_rebuilt_for_sending() {
    let body = r#" { "meta": {"requestId": 1.10, "requestId2": null},
        "inputs": {"tables":["b","a"],"question":"who is é?","days":7,"dry":false,
                   "dataset":"hr","audience":"sales","filter":{"deep":[1,{"x":1e400}]}} } "#;
    let operation = kickoff(body).unwrap();
    assert_eq!((operation.action.as_str(), operation.effect), ("kickoff", Effect::Write));
    let expected = [
        ("audience", InputValue::String("sales".into())),
        ("dataset", InputValue::String("hr".into())),
        ("days", InputValue::Long(7)),
        ("dry", InputValue::Bool(false)),
        ("tables", InputValue::Strings(vec!["b".into(), "a".into()])),
    ];
    assert_eq!(operation.inputs, expected.map(|(name, value)| (name.to_owned(), value)));
    assert_eq!(operation.datasets, ["hr", "b", "a"]);
    assert_eq!(operation.body_bytes, u64::try_from(body.len()).unwrap());
    assert!(!operation.has_undeclared_inputs && operation.ids.is_empty());
    assert_eq!(operation.message.free_text, [["inputs", "question"]]);
    let outgoing = render(&operation).unwrap();
    assert_eq!((outgoing.method.clone(), outgoing.path.as_str()), (Method::POST, "/kickoff"));
    assert_eq!(outgoing.content_type.as_ref().unwrap(), "application/json");
    let expected = concat!(
        r#"{"inputs":{"tables":["b","a"],"question":"who is é?","days":7,"dry":false,"#,
        r#""dataset":"hr","audience":"sales","filter":{"deep":[1,{"x":1e400}]}},"#,
        r#""meta":{"requestId":1.10,"requestId2":null}}"#
    );
    assert_eq!(outgoing.body, expected);
    assert_eq!(render(&operation).unwrap(), outgoing, "rendering is deterministic");
}

#[test]
fn a_kickoff_without_inputs_sends_none() {
    for body in ["{}", r#"{"inputs":null}"#, r#"{"inputs":{}}"#] {
        assert_eq!(sent(&kickoff(body).unwrap()), r#"{"inputs":{}}"#);
    }
}

#[test]
fn webhooks_of_the_callers_choice_are_refused_and_null_ones_dropped() {
    let nulls =
        r#"{"inputs":{},"taskWebhookUrl":null,"stepWebhookUrl":null,"crewWebhookUrl":null,"meta":null}"#;
    assert_eq!(sent(&kickoff(nulls).unwrap()), r#"{"inputs":{}}"#);
    for key in [
        "taskWebhookUrl",
        "stepWebhookUrl",
        "crewWebhookUrl",
        "humanInputWebhookUrl",
        "humanInputWebhook",
        "webhooks",
        "completedTurnWebhookUrl",
        "crew_webhook_url",
    ] {
        let (status, code, detail) =
            said(kickoff(&format!(r#"{{"inputs":{{}},"{key}":"https://evil.example"}}"#)));
        assert_eq!((status, code), (422, "webhook_refused"), "{key}");
        assert!(detail.contains(key) && !detail.contains("evil"), "{detail}");
    }
}

#[test]
fn unknown_kickoff_keys_are_refused_by_name() {
    for key in [
        "trainingFilename",
        "conformInputs",
        "generateArtifact",
        "Inputs",
        "inputs ",
        "crewai_trigger_payload",
    ] {
        let (status, code, detail) = said(kickoff(&format!(r#"{{"inputs":{{}},"{key}":null}}"#)));
        assert_eq!((status, code), (422, "kickoff_key_unknown"), "{key}");
        assert!(detail.contains(key), "{detail}");
    }
    // The whole body as inputs, which a flow would take and silently drop.
    assert_eq!(code(kickoff(r#"{"dataset":"hr"}"#)), (422, "kickoff_key_unknown"));
    let long = said(kickoff(&format!(r#"{{"{}":1}}"#, "k".repeat(10_000)))).2;
    assert!(long.len() < 250, "{}", long.len());
    assert!(!said(kickoff("{\"a\\u001b[31m\":1}")).2.contains('\u{1b}'));
}

#[test]
fn a_declared_input_of_another_type_is_refused_by_name() {
    for (name, value) in [
        ("audience", "3"),
        ("audience", "null"),
        ("audience", r#"["a"]"#),
        ("audience", r#"{"a":1}"#),
        ("days", r#""7""#),
        ("days", "7.0"),
        ("days", "7e0"),
        ("days", "99999999999999999999"),
        ("days", "null"),
        ("dry", r#""true""#),
        ("dry", "1"),
        ("question", "1"),
        ("question", "null"),
        ("question", r#"{"x":"y"}"#),
        ("tables", r#""a""#),
        ("tables", r#"["a",1]"#),
        ("tables", r#"[["a"]]"#),
        ("tables", "null"),
        ("dataset", "null"),
    ] {
        let (status, code, detail) = said(kickoff(&format!(r#"{{"inputs":{{"{name}":{value}}}}}"#)));
        assert_eq!((status, code), (422, "input_type"), "{name} {value}");
        assert!(detail.contains(name), "{detail}");
    }
    let long = "x".repeat(1025);
    assert_eq!(code(kickoff(&format!(r#"{{"inputs":{{"audience":"{long}"}}}}"#))), (422, "input_type"));
    assert!(kickoff(&format!(r#"{{"inputs":{{"question":"{long}"}}}}"#)).is_ok());
    let many = vec!["\"x\""; 257].join(",");
    assert_eq!(code(kickoff(&format!(r#"{{"inputs":{{"tables":[{many}]}}}}"#))), (422, "input_type"));
    assert_eq!(code(kickoff(r#"{"inputs":"x"}"#)), (422, "kickoff_key_type"));
    assert_eq!(code(kickoff(r#"{"inputs":{},"meta":"x"}"#)), (422, "kickoff_key_type"));
}

#[test]
fn a_required_input_must_be_there() {
    let crew = Crew::new("c").input("topic", InputDeclaration::of(InputKind::Text).required());
    let (status, code, detail) = said(ask(&crew, "POST", "/kickoff", r#"{"inputs":{}}"#));
    assert_eq!((status, code, detail.as_str()), (422, "input_missing", "Missing inputs: topic"));
    assert!(ask(&crew, "POST", "/kickoff", r#"{"inputs":{"topic":"x"}}"#).is_ok());
}

#[test]
fn undeclared_inputs_are_refused_unless_the_crew_lets_them_through() {
    assert_eq!(code(kickoff(r#"{"inputs":{"webhook_url":"https://x"}}"#)), (422, "input_undeclared"));
    let open = crew().undeclared(Undeclared::Ignore);
    let operation =
        ask(&open, "POST", "/kickoff", r#"{"inputs":{"other":{"a":[1]},"dataset":"hr"}}"#).unwrap();
    assert!(operation.has_undeclared_inputs);
    assert_eq!(operation.inputs.len(), 1);
    assert_eq!(sent(&operation), r#"{"inputs":{"other":{"a":[1]},"dataset":"hr"}}"#);
    assert!(!ask(&open, "POST", "/kickoff", r#"{"inputs":{"dataset":"hr"}}"#).unwrap().has_undeclared_inputs);
}

#[test]
fn an_input_that_reads_another_runs_state_is_always_refused() {
    let declared = crew().undeclared(Undeclared::Ignore).input("id", InputDeclaration::of(InputKind::String));
    for crew in [crew(), declared] {
        assert_eq!(code(ask(&crew, "POST", "/kickoff", r#"{"inputs":{"id":"x"}}"#)), (422, "input_refused"));
        assert_eq!(
            code(ask(&crew, "POST", "/kickoff", r#"{"inputs":{"\u0069d":null}}"#)),
            (422, "input_refused")
        );
    }
    let open = crew().undeclared(Undeclared::Ignore);
    let trigger = r#"{"inputs":{"crewai_trigger_payload":"x"}}"#;
    assert_eq!(code(ask(&open, "POST", "/kickoff", trigger)), (422, "input_undeclared"));
    let declared = open.input("crewai_trigger_payload", InputDeclaration::of(InputKind::Json));
    assert!(ask(&declared, "POST", "/kickoff", trigger).is_ok());
}

#[test]
fn a_state_to_restore_is_one_of_the_callers_own_ids() {
    let run = RunId::random();
    let operation = kickoff(&format!(r#"{{"restoreFromStateId":"{run}","inputs":{{}}}}"#)).unwrap();
    assert_eq!((operation.ids[0].kind, operation.ids[0].own), (IdKind::Run, run.as_uuid()));
    let unbound = render(&operation).unwrap_err();
    assert_eq!((unbound.status, unbound.code), (StatusCode::CONFLICT, "id_unbound"));
    assert_eq!(sent(&bound(operation)), r#"{"inputs":{},"restoreFromStateId":"upstream-id-no-0000"}"#);
    assert_eq!(code(kickoff(r#"{"restoreFromStateId":"anything"}"#)), (404, "run_unknown"));
    assert_eq!(code(kickoff(r#"{"restoreFromStateId":7}"#)), (422, "kickoff_key_type"));
}

#[test]
fn both_spellings_of_status_lead_to_one_on_the_way_out() {
    let run = RunId::random();
    for path in [format!("/status/{run}"), format!("/{run}/status")] {
        let operation = ask(&crew(), "GET", &path, "").unwrap();
        assert_eq!((operation.action.as_str(), operation.effect), ("status", Effect::Read));
        assert_eq!((operation.ids.len(), operation.ids[0].own), (1, run.as_uuid()));
        assert_eq!(render(&operation).unwrap_err().code, "id_unbound");
        assert_eq!(render(&bound(operation)).unwrap().path.as_str(), "/status/upstream-id-no-0000");
    }
}

#[test]
fn an_upstream_id_that_would_lead_elsewhere_is_not_put_in_a_path() {
    let operation = ask(&crew(), "GET", &format!("/status/{}", RunId::random()), "").unwrap();
    for id in [
        "",
        "..",
        ".",
        "../../../kickoff/..",
        "aaaaaaaaaaaaaaaa/../kickoff",
        "aaaaaaaaaaaaaaaa?x=1",
        "aaaaaaaaaaaaaaaa#",
        "aaaaaaaaaaaaaaaa%2f",
        "................",
    ] {
        let mut operation = operation.clone();
        operation.ids[0].upstream = Some(id.to_owned());
        assert_eq!(render(&operation).unwrap_err().code, "upstream_id_unusable", "{id}");
    }
}

#[test]
fn paths_are_compared_byte_by_byte() {
    let id = RunId::random();
    for path in [
        "",
        "/",
        "/kickoff/",
        "//kickoff",
        "/Kickoff",
        "/%6bickoff",
        "/kickoff%2f",
        "/./kickoff",
        "/status/../kickoff",
        "/status",
        "/inspect",
        "/chat/start",
        "/kickoff/stream",
        "/resume_feedback/",
        "/a2a",
        "kickoff",
        "/status/a/b",
    ] {
        assert_eq!(route(&Method::POST, path).unwrap_err().code, "route_unknown", "{path}");
    }
    for path in [
        "/status/..%2fkickoff".to_owned(),
        "/status/".to_owned(),
        "/x/status".to_owned(),
        format!("/status/{id}%20"),
        format!("/status/{{{id}}}"),
        format!("/status/{}", id.as_uuid().simple()),
        format!("/%20{id}/status"),
        "/status/status".to_owned(),
    ] {
        let refusal = route(&Method::GET, &path).unwrap_err();
        assert_eq!((refusal.status, refusal.code), (StatusCode::NOT_FOUND, "run_unknown"), "{path}");
    }
    for path in [
        format!("//{id}/status"),
        format!("/status//{id}"),
        format!("/status/{id}/"),
        format!("/status/{id}/x"),
    ] {
        assert_eq!(route(&Method::GET, &path).unwrap_err().status, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(route(&Method::GET, &format!("/status/{id}")), Ok(Route::Status(id)));
}

#[test]
fn other_methods_are_refused() {
    for (method, path) in [
        ("GET", "/kickoff"),
        ("HEAD", "/inputs"),
        ("POST", "/inputs"),
        ("PUT", "/resume"),
        ("OPTIONS", "/kickoff"),
    ] {
        assert_eq!(code(ask(&crew(), method, path, "")), (405, "method_not_allowed"), "{method} {path}");
    }
}

#[test]
fn query_strings_and_stray_bodies_are_refused() {
    assert_eq!(code(ask(&crew(), "GET", "/inputs?shape=openapi", "")), (400, "query_refused"));
    assert_eq!(code(ask(&crew(), "GET", "/inputs?", "")), (400, "query_refused"));
    assert_eq!(code(ask(&crew(), "GET", "/inputs", "{}")), (400, "body_unexpected"));
    assert_eq!(
        code(ask(&crew(), "GET", &format!("/status/{}", RunId::random()), "x")),
        (400, "body_unexpected")
    );
}

#[test]
fn bodies_are_one_json_object() {
    for body in ["[]", "\"x\"", "null", "1"] {
        assert_eq!(code(kickoff(body)), (400, "body_not_an_object"), "{body}");
    }
    let deep = "[".repeat(10_000);
    let (id, open, close) = (RunId::random(), "[".repeat(MAX_BODY_DEPTH), "]".repeat(MAX_BODY_DEPTH));
    let too_deep = format!(r#"{{"inputs":{{"filter":{open}{close}}}}}"#);
    for body in [
        "{bad",
        r#"{"inputs":{},"inputs":{}}"#,
        r#"{"inputs":{"dataset":"a","d\u0061taset":"b"}}"#,
        "{}{}",
        "{} x",
        r#"{"inputs":{"dataset":"\ud800"}}"#,
        "\u{feff}{}",
        "{'inputs':{}}",
        "{\"inputs\":{},}",
        "{}//",
        &deep,
        &too_deep,
        &format!("{{\"inputs\":{{}}}}\0{id}"),
    ] {
        assert_eq!(code(kickoff(body)), (400, "body_not_json"), "{body:.40}");
    }
}

#[test]
fn only_plain_json_is_taken() {
    let ask = |headers: &[(&str, &str)], body: &'static str| {
        let mut request = Request::post("/kickoff");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        crew().describe("/kickoff", &head, &Bytes::from_static(body.as_bytes()), None)
    };
    for good in ["application/json", "Application/JSON; charset=utf-8", "application/json;charset=\"UTF-8\""]
    {
        assert!(ask(&[("content-type", good)], "{}").is_ok(), "{good}");
    }
    for bad in [
        "text/plain",
        "application/jsonx",
        "application/json; charset=utf-16",
        "application/json; charset",
        "multipart/form-data",
        "",
        "application/json, text/html",
    ] {
        assert_eq!(code(ask(&[("content-type", bad)], "{}")), (415, "content_type_refused"), "{bad}");
    }
    assert_eq!(code(ask(&[], "{}")), (415, "content_type_refused"));
    let two = [("content-type", "application/json"), ("content-type", "application/json")];
    assert_eq!(code(ask(&two, "{}")), (415, "content_type_refused"));
    for encoding in ["gzip", "identity", ""] {
        let headers = [("content-type", "application/json"), ("content-encoding", encoding)];
        assert_eq!(code(ask(&headers, "{}")), (415, "content_encoding_refused"));
    }
    assert_eq!(code(ask(&[("content-type", "application/json")], "")), (400, "body_missing"));
}

fn resume(body: &str) -> Result<Operation, Refusal> {
    ask(&crew(), "POST", "/resume", body)
}

#[test]
fn a_resume_in_either_spelling_is_sent_in_both() {
    let (run, task) = (RunId::random(), TaskId::random());
    let snake =
        format!(r#"{{"execution_id":"{run}","task_id":"{task}","human_feedback":"ok\n","is_approve":true}}"#);
    let camel =
        format!(r#"{{"isApprove":true,"humanFeedback":"ok\n","taskId":"{task}","executionId":"{run}"}}"#);
    let mixed =
        format!(r#"{{"is_approve":true,"humanFeedback":"ok\n","task_id":"{task}","executionId":"{run}"}}"#);
    for body in [snake, camel, mixed] {
        let operation = resume(&body).unwrap();
        assert_eq!((operation.action.as_str(), operation.effect), ("resume", Effect::Write));
        assert_eq!((operation.ids[0].kind, operation.ids[0].own), (IdKind::Run, run.as_uuid()));
        assert_eq!((operation.ids[1].kind, operation.ids[1].own), (IdKind::Task, task.as_uuid()));
        assert_eq!(operation.message.free_text, [["human_feedback"], ["humanFeedback"]]);
        let expected = concat!(
            r#"{"execution_id":"upstream-id-no-0000","executionId":"upstream-id-no-0000","#,
            r#""task_id":"upstream-id-no-0001","taskId":"upstream-id-no-0001","#,
            r#""human_feedback":"ok\n","humanFeedback":"ok\n","is_approve":true,"isApprove":true}"#
        );
        assert_eq!(sent(&bound(operation)), expected);
    }
}

#[test]
fn what_a_flow_is_answered_is_described_and_nothing_else_is_taken() {
    let run = RunId::random();
    let feedback = |body: &str| ask(&crew(), "POST", "/resume_feedback", body);
    let operation = feedback(&format!(r#"{{"feedback":"ok\n","flow_id":"{run}"}}"#)).unwrap();
    assert_eq!((operation.action.as_str(), operation.effect), ("feedback", Effect::Write));
    assert_eq!((operation.ids[0].kind, operation.ids[0].own), (IdKind::Run, run.as_uuid()));
    assert_eq!(operation.message.free_text, [["feedback"]]);
    assert_eq!(sent(&bound(operation)), r#"{"flow_id":"upstream-id-no-0000","feedback":"ok\n"}"#);
    for (body, expected) in [
        ("{}".to_owned(), (422, "resume_field_missing")),
        (format!(r#"{{"flow_id":"{run}"}}"#), (422, "resume_field_missing")),
        (format!(r#"{{"flow_id":"{run}","feedback":7}}"#), (422, "resume_field_type")),
        (format!(r#"{{"flow_id":"{run}","flowId":"{run}","feedback":""}}"#), (400, "field_twice")),
        (format!(r#"{{"flow_id":"{run}","feedback":"","source":"x"}}"#), (422, "feedback_key_unknown")),
        (r#"{"flow_id":"my-session","feedback":""}"#.to_owned(), (404, "run_unknown")),
    ] {
        assert_eq!(code(feedback(&body)), expected, "{body}");
    }
}

#[test]
fn a_resume_that_is_not_whole_or_says_more_is_refused() {
    let (run, task) = (RunId::random(), TaskId::random());
    let with = |extra: &str| {
        resume(&format!(
            r#"{{"execution_id":"{run}","task_id":"{task}","human_feedback":"","is_approve":false{extra}}}"#
        ))
    };
    assert!(with("").is_ok());
    assert!(with(r#","taskWebhookUrl":null"#).is_ok());
    assert_eq!(code(with(r#","taskWebhookUrl":"https://x""#)), (422, "webhook_refused"));
    assert_eq!(code(with(r#","humanInputWebhook":{"url":"https://x"}"#)), (422, "webhook_refused"));
    assert_eq!(code(with(r#","isApprove":false"#)), (400, "field_twice"));
    assert_eq!(code(with(&format!(r#","executionId":"{run}""#))), (400, "field_twice"));
    assert_eq!(code(with(r#","inputs":{}"#)), (422, "resume_key_unknown"));
    assert_eq!(code(resume("{}")), (422, "resume_field_missing"));
    assert_eq!(code(resume(&format!(r#"{{"execution_id":"{run}"}}"#))), (422, "resume_field_missing"));
    for (field, value, expected) in [
        ("execution_id", "7", (422, "resume_field_type")),
        ("execution_id", "\"x\"", (404, "run_unknown")),
        ("task_id", "\"research_task\"", (404, "run_unknown")),
        ("human_feedback", "null", (422, "resume_field_type")),
        ("is_approve", "\"true\"", (422, "resume_field_type")),
    ] {
        let fields = [
            ("execution_id", format!("\"{run}\"")),
            ("task_id", format!("\"{task}\"")),
            ("human_feedback", "\"\"".to_owned()),
            ("is_approve", "true".to_owned()),
        ];
        let members =
            fields.map(|(name, good)| format!("\"{name}\":{}", if name == field { value } else { &good }));
        assert_eq!(code(resume(&format!("{{{}}}", members.join(",")))), expected, "{field}");
    }
}

#[test]
fn a_crew_with_human_input_is_told_to_call_the_gateway_and_nobody_else() {
    let crew = crew().human_input(true);
    let relay = Relay { url: "https://gate.example/relay/support".into(), token: "unguessable".into() };
    let ask = |path: &str, body: &str, relay: Option<&Relay>| {
        let request = Request::post(path).header(CONTENT_TYPE, "application/json");
        let (head, ()) = request.body(()).unwrap().into_parts();
        crew.describe(path, &head, &Bytes::copy_from_slice(body.as_bytes()), relay)
    };
    let webhook = concat!(
        r#""humanInputWebhook":{"url":"https://gate.example/relay/support","#,
        r#""authentication":{"strategy":"bearer","token":"unguessable"}}}"#
    );
    let operation = ask("/kickoff", r#"{"humanInputWebhook":null,"meta":{}}"#, Some(&relay)).unwrap();
    assert_eq!(sent(&operation), format!(r#"{{"inputs":{{}},"meta":{{}},{webhook}"#));
    let (run, task) = (RunId::random(), TaskId::random());
    let body =
        format!(r#"{{"executionId":"{run}","taskId":"{task}","humanFeedback":"no","isApprove":false}}"#);
    assert!(sent(&bound(ask("/resume", &body, Some(&relay)).unwrap())).ends_with(webhook));
    assert_eq!(code(ask("/kickoff", "{}", None)), (500, "relay_missing"));
    assert_eq!(code(ask("/resume", &body, None)), (500, "relay_missing"));
    assert_eq!(
        code(ask("/kickoff", r#"{"humanInputWebhook":{"url":"https://x"}}"#, Some(&relay))),
        (422, "webhook_refused")
    );
    assert!(!format!("{relay:?}").contains("unguessable"));
    // A crew without it is not.
    assert!(!sent(&kickoff("{}").unwrap()).contains("Webhook"));
}

#[test]
fn an_operation_as_deep_as_may_be_survives_storage() {
    // inputs, filter: two of the levels are the body's own.
    let (open, close) = ("{\"a\":".repeat(MAX_BODY_DEPTH - 2), "}".repeat(MAX_BODY_DEPTH - 2));
    let operation = kickoff(&format!(r#"{{"inputs":{{"filter":{open}1{close}}}}}"#)).unwrap();
    let row = serde_json::to_string(&serde_json::json!({"approval": {"asked": {"operation": &operation}}}))
        .unwrap();
    let read: serde_json::Value = serde_json::from_str(&row).unwrap();
    let stored: Operation = serde_json::from_value(read["approval"]["asked"]["operation"].clone()).unwrap();
    assert_eq!(stored, operation);
    assert_eq!(render(&stored).unwrap(), render(&operation).unwrap());
}

#[test]
fn every_documented_route_is_known() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/crewai/openapi.yaml");
    let Ok(document) = std::fs::read_to_string(&path) else {
        assert!(
            std::env::var("CREWGATE_REQUIRE_ALL").is_err(),
            "CrewAI's OpenAPI document is not at {}",
            path.display()
        );
        eprintln!("SKIPPED: CrewAI's OpenAPI document is not at {}", path.display());
        return;
    };
    let paths = document.split_once("\npaths:\n").unwrap().1;
    let paths = paths.split_once("\ncomponents:").unwrap().0;
    let mut found = Vec::new();
    let mut lines = paths.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(path) = line.strip_prefix("  /").and_then(|rest| rest.strip_suffix(':')) else { continue };
        let method = lines.peek().unwrap().trim().trim_end_matches(':').to_ascii_uppercase();
        let path = format!("/{path}").replace("{kickoff_id}", &RunId::random().to_string());
        found.push(route(&method.parse().unwrap(), &path).expect(&path).action());
    }
    assert_eq!(found, ["inputs", "kickoff", "status", "resume"]);
}

proptest! {
    #[test]
    fn no_request_is_a_danger(method in "(GET|POST)", path in "/[a-z/%.-]{0,40}", body in ".{0,64}") {
        let (head, ()) = Request::builder().method(method.as_str()).uri(path.as_str())
            .header(CONTENT_TYPE, "application/json").body(()).unwrap().into_parts();
        if let Ok(operation) = crew().describe(&path, &head, &Bytes::from(body), None) {
            let _ = render(&operation);
        }
    }

    #[test]
    fn what_is_sent_says_what_was_decided_on(audience in ".{0,80}", days in any::<i64>(), question in ".{0,200}", tables in prop::collection::vec(".{0,20}", 0..5)) {
        let body = serde_json::json!({"inputs": {"audience": audience, "days": days, "question": question, "tables": tables}});
        let operation = kickoff(&body.to_string()).unwrap();
        let sent: serde_json::Value = serde_json::from_slice(&render(&operation).unwrap().body).unwrap();
        prop_assert_eq!(&sent, &body);
        for (name, value) in &operation.inputs {
            prop_assert_eq!(&serde_json::to_value(value).unwrap(), &sent["inputs"][name]);
        }
    }
}

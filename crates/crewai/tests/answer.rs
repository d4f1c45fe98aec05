//! Where ids stand in answers, and what the caller sees in their places.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use crewgate_core::{Refusal, RunId, TaskId};
use crewgate_crewai::{
    Answer, MAX_MENTIONS, Mint, Minted, StatusShape, Ticket, kickoff_answer, parse_human_input, ticket_status,
};
use http::{HeaderMap, HeaderValue, StatusCode, header::CONTENT_TYPE};
use proptest::prelude::*;
use uuid::Uuid;

const RUN: &str = "aea89840-a70b-4805-b6f3-d8af7b29d630";
const OTHER: &str = "7fb98c6e-2d4e-4f3e-8c0a-0242ac120002";

fn headers(content_type: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))])
}

fn answer(action: &str, status: u16, body: &str) -> Result<Answer, Refusal> {
    let status = StatusCode::from_u16(status).unwrap();
    Answer::parse(action, status, &headers("application/json"), body.as_bytes(), &[RUN])
}

fn status(body: &str) -> Answer {
    answer("status", 200, body).unwrap()
}

/// Swaps every id that a key names, and the run's wherever it stands.
fn shown(answer: &Answer) -> String {
    let bytes = answer.render(|mention| {
        let stand_in = Uuid::from_u128(0x1000_0000_0000_4000_8000_0000_0000_0000);
        match mention.upstream.to_ascii_lowercase().as_str() {
            RUN => Some(Uuid::from_u128(0xFFFF_FFFF_FFFF_4FFF_8FFF_FFFF_FFFF_FFFF)),
            _ => mention.named.then_some(stand_in),
        }
    });
    String::from_utf8(bytes.to_vec()).unwrap()
}

const OWN: &str = "ffffffff-ffff-4fff-8fff-ffffffffffff";
const STAND_IN: &str = "10000000-0000-4000-8000-000000000000";

#[test]
fn a_kickoffs_answer_gives_out_a_run() {
    let read = answer("kickoff", 200, &format!(r#"{{"kickoff_id":"{RUN}"}}"#)).unwrap();
    assert_eq!(read.minted(), [Minted { mint: Mint::Run, upstream: RUN.into() }]);
    assert_eq!(shown(&read), format!(r#"{{"kickoff_id":"{OWN}"}}"#));
}

#[test]
fn a_kickoff_that_is_taken_without_a_usable_id_is_an_error() {
    for body in
        ["{}", "[]", r#"{"kickoff_id":null}"#, r#"{"kickoff_id":7}"#, r#"{"data":{"kickoff_id":"x"}}"#]
    {
        assert_eq!(answer("kickoff", 200, body).unwrap_err().code, "upstream_unexpected", "{body}");
    }
    for id in ["", "1", "short", "../../../kickoff/x", "with spaces in the id", "................"] {
        let body = format!(r#"{{"kickoff_id":"{id}"}}"#);
        assert_eq!(answer("kickoff", 200, &body).unwrap_err().code, "upstream_id_unusable", "{id}");
    }
    let refused = answer("kickoff", 422, r#"{"detail":"Missing inputs: audience, topic"}"#).unwrap();
    assert!(refused.minted().is_empty());
    assert_eq!(shown(&refused), r#"{"detail":"Missing inputs: audience, topic"}"#);
}

#[test]
fn an_id_that_is_no_uuid_is_found_where_it_stands() {
    let id = "run_01HZX3.abcdefgh";
    let body = format!(r#"{{"kickoff_id":"{id}","message":"started {id}."}}"#);
    let read = answer("kickoff", 200, &body).unwrap();
    let shown = read.render(|mention| (mention.upstream == id).then(|| Uuid::from_u128(5)));
    assert!(!String::from_utf8_lossy(&shown).contains(id));
    let headers = headers("application/json");
    let later =
        Answer::parse("status", StatusCode::OK, &headers, format!(r#"{{"x":"{id}"}}"#).as_bytes(), &[id]);
    assert_eq!(later.unwrap().mentions().next().unwrap().upstream, id);
}

#[test]
fn only_the_envelope_gives_out_ids() {
    let deep =
        format!(r#"{{"state":"SUCCESS","result_json":{{"kickoff_id":"{OTHER}","task_id":"{OTHER}"}}}}"#);
    assert!(status(&deep).minted().is_empty(), "what a model wrote must not become a right");
    assert!(status(&format!(r#"{{"kickoff_id":"{OTHER}","execution_id":"{OTHER}"}}"#)).minted().is_empty());
    let task = status(&format!(r#"{{"state":"PAUSED","task_id":"{OTHER}"}}"#));
    assert_eq!(task.minted(), [Minted { mint: Mint::Task, upstream: OTHER.into() }]);
    assert!(status(r#"{"task_id":"research_task"}"#).minted().is_empty());
    let resumed = answer("resume", 200, &format!(r#"{{"kickoff_id":"{OTHER}"}}"#)).unwrap();
    assert_eq!(resumed.minted(), [Minted { mint: Mint::Resumed, upstream: OTHER.into() }]);
    assert_eq!(
        answer("feedback", 200, &format!(r#"{{"kickoff_id":"{OTHER}"}}"#)).unwrap().minted(),
        resumed.minted()
    );
    assert!(answer("resume", 200, r#"{"status":"resumed","message":"ok"}"#).unwrap().minted().is_empty());
    assert!(answer("inputs", 200, &format!(r#"{{"kickoff_id":"{OTHER}"}}"#)).unwrap().minted().is_empty());
}

#[test]
fn ids_are_swapped_wherever_they_stand() {
    let body = format!(
        concat!(
            r#"{{"state":"SUCCESS","status":null,"result":"{{\"id\": \"{run}\", \"notes\": [\"x {run}-1\"]}}","#,
            r#""result_json":{{"id":"{run}","notes":["a"]}},"usage_metrics":{{"total_tokens":1110,"x":1.10}},"#,
            r#""last_event":{{"id":"{other}","type":"t","agentId":"{other}"}},"events":[{{"id":"{other}"}}],"#,
            r#""last_executed_task":{{"description":"for {run}","kickoff_id":"{run}","output":"hex {hex}","meta":{{"{run}":1}}}},"#,
            r#""triggered_by":{{"type":"user","id":"{other}"}},"flow_id":"{other}","url":"https://x/{upper}/y"}}"#
        ),
        run = RUN,
        other = OTHER,
        hex = RUN.replace('-', ""),
        upper = RUN.to_ascii_uppercase(),
    );
    let expected = body
        .replace(RUN, OWN)
        .replace(OTHER, STAND_IN)
        .replace(&RUN.replace('-', ""), &OWN.replace('-', ""))
        .replace(&RUN.to_ascii_uppercase(), OWN);
    assert_eq!(shown(&status(&body)), expected);
}

#[test]
fn the_crews_own_uuids_are_not_touched() {
    let body = format!(
        r#"{{"result_json":{{"id":"{OTHER}","order_id":"{OTHER}"}},"result":"order {OTHER}","meta":{{"user_id":"{OTHER}"}}}}"#
    );
    assert_eq!(shown(&status(&body)), body);
    // But an id that a key of CrewAI's names is one everywhere.
    for key in ["kickoff_id", "execution_id", "task_id", "flow_id", "session_id", "kickoffId"] {
        let body = format!(r#"{{"result":"see {OTHER}","result_json":{{"deep":[{{"{key}":"{OTHER}"}}]}}}}"#);
        assert_eq!(shown(&status(&body)), body.replace(OTHER, STAND_IN), "{key}");
    }
}

#[test]
fn errors_keep_their_shape() {
    let busy = format!(r#"{{"detail":{{"code":"session_busy","kickoff_id":"{OTHER}"}}}}"#);
    assert_eq!(shown(&answer("kickoff", 409, &busy).unwrap()), busy.replace(OTHER, STAND_IN));
    let missing =
        format!(r#"{{"error":"Execution not found","message":"No execution found with ID: {RUN}"}}"#);
    assert_eq!(shown(&answer("status", 404, &missing).unwrap()), missing.replace(RUN, OWN));
}

#[test]
fn what_is_not_one_json_value_is_not_passed_on() {
    let parse = |content_type: &'static str, body: &[u8]| {
        Answer::parse("status", StatusCode::OK, &headers(content_type), body, &[])
            .map_err(|r| (r.status.as_u16(), r.code))
    };
    let refused = Err((502, "upstream_not_json"));
    for content_type in
        ["text/html", "text/plain; charset=utf-8", "text/event-stream", "application/jsonl", ""]
    {
        assert_eq!(parse(content_type, b"{}"), refused, "{content_type}");
    }
    assert_eq!(
        Answer::parse("status", StatusCode::OK, &HeaderMap::new(), b"{}", &[]).unwrap_err().code,
        "upstream_not_json"
    );
    for body in
        [&b"Internal Server Error"[..], b"", b"{}{}", b"{\"a\":NaN}", b"{\"a\":1,\"a\":2}", b"\"\xff\""]
    {
        assert_eq!(parse("application/json", body), refused);
    }
    assert!(parse("application/json; charset=utf-8", b"{}").is_ok());
    assert!(parse("application/problem+json", b"{}").is_ok());
}

#[test]
fn an_answer_full_of_ids_is_refused() {
    let ids = |n: usize| {
        let ids: Vec<_> =
            (0..n).map(|n| format!("\"{}\"", Uuid::from_u128(u128::try_from(n).unwrap()))).collect();
        answer("status", 200, &format!(r#"{{"events":[{}]}}"#, ids.join(",")))
    };
    assert_eq!(ids(MAX_MENTIONS).unwrap().mentions().count(), MAX_MENTIONS);
    assert_eq!(ids(MAX_MENTIONS + 1).unwrap_err().code, "upstream_too_many_ids");
}

#[test]
fn a_run_that_waits_shows_what_to_name_in_a_resume() {
    let (execution, task) = (RunId::random(), TaskId::random());
    let with = |body: &str| {
        let mut answer = status(body);
        answer.show_pending_task(execution, task);
        serde_json::from_slice::<serde_json::Value>(&answer.render(|_| None)).unwrap()
    };
    for waits in [
        r#"{"state":"PAUSED","status":"Pending Human Input"}"#,
        r#"{"state":"NOT FOUND","status":"Task not found"}"#,
        r#"{"status":"running","current_task":null,"task_id":"their-own"}"#,
    ] {
        let body = with(waits);
        assert_eq!(body["execution_id"], execution.to_string(), "{waits}");
        assert_eq!(body["task_id"], task.to_string(), "{waits}");
    }
    for goes_on in [
        r#"{"state":"RUNNING"}"#,
        r#"{"state":"SUCCESS","status":null}"#,
        r#"{"status":"completed"}"#,
        r#"{"status":"error"}"#,
    ] {
        assert!(with(goes_on).get("task_id").is_none(), "{goes_on}");
    }
}

#[test]
fn a_ticket_reads_as_a_run_that_waits_and_then_as_one_that_failed() {
    let json = |bytes: bytes::Bytes| serde_json::from_slice::<serde_json::Value>(&bytes).unwrap();
    let waiting = Ticket::Waiting { approvers: &["data-owners", "legal"] };
    let live = json(ticket_status(waiting, StatusShape::Live));
    let expected = serde_json::json!({
        "state": "PENDING", "status": "awaiting approval by data-owners, legal", "result": null, "result_json": null,
        "last_step": null, "last_executed_task": null, "progress": null, "source": "gateway"
    });
    assert_eq!(live, expected);
    assert_eq!(json(ticket_status(Ticket::Starting, StatusShape::Live))["state"], "PENDING");
    let ended = json(ticket_status(Ticket::Ended { reason: "denied: \"no\"" }, StatusShape::Live));
    assert_eq!((&ended["state"], &ended["status"]), (&"FAILED".into(), &"denied: \"no\"".into()));
    assert_eq!((&ended["result"], &ended["error"]), (&ended["status"], &ended["status"]));

    let running = json(ticket_status(waiting, StatusShape::Documented));
    assert_eq!((&running["status"], &running["progress"]["completed_tasks"]), (&"running".into(), &0.into()));
    let error = json(ticket_status(Ticket::Ended { reason: "expired" }, StatusShape::Documented));
    assert_eq!((&error["status"], &error["error"]), (&"error".into(), &"expired".into()));
    let run = RunId::random();
    assert_eq!(json(kickoff_answer(run)), serde_json::json!({"kickoff_id": run}));
}

#[test]
fn a_call_for_a_person_names_its_run_and_task() {
    let body = format!(
        r#"{{"kickoff_id":"{RUN}","execution_id":"{RUN}","task_id":"{OTHER}","task_output":"ssn: 536-90-4399","meta":{{"r":1}}}}"#
    );
    let called = parse_human_input(body.as_bytes()).unwrap();
    assert_eq!(
        (called.kickoff_id.as_str(), called.execution_id.as_str(), called.task_id.as_str()),
        (RUN, RUN, OTHER)
    );
    assert_eq!(called.task_output.as_str(), Some("ssn: 536-90-4399"));
    for bad in [
        "",
        "[]",
        "{}",
        &body.replace("task_id", "x"),
        &body.replace(OTHER, "1"),
        &body.replace(&format!("\"{OTHER}\""), "7"),
    ] {
        let refusal = parse_human_input(bad.as_bytes()).unwrap_err();
        assert_eq!((refusal.status.as_u16(), refusal.code), (400, "webhook_unreadable"), "{bad}");
    }
}

proptest! {
    #[test]
    fn an_upstream_id_is_never_shown(before in ".{0,12}", after in ".{0,12}", key in "[a-z_]{1,12}", form in 0..3usize) {
        let id = [RUN.to_owned(), RUN.to_ascii_uppercase(), RUN.replace('-', "")][form].clone();
        // Hexadecimal digits around 32 others make a longer number, which is no id.
        prop_assume!(form < 2 || !before.ends_with(|c: char| c.is_ascii_hexdigit()) && !after.starts_with(|c: char| c.is_ascii_hexdigit()));
        let text = format!("{before}{id}{after}");
        let body = serde_json::to_string(&BTreeMap::from([(key, serde_json::json!([{ "x": text }, text])), (text.clone(), 1.into())])).unwrap();
        let seen = shown(&status(&body));
        prop_assert!(!seen.contains(&id), "{}", seen);
        prop_assert!(seen.contains(OWN) || seen.contains(&OWN.replace('-', "")));
    }

    #[test]
    fn an_answer_without_ids_is_passed_on_as_it_is(text in "\\PC{0,80}") {
        prop_assume!(!text.contains('-'));
        let body = serde_json::to_string(&serde_json::json!({"state": "SUCCESS", "result": text})).unwrap();
        prop_assert_eq!(shown(&status(&body)), body);
    }
}

//! The API at the door: who sees what, who decides, and what is on the record for it.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
};
use crewgate_approval::{
    ApprovalStore, EligibilityUnknown, Eligible, End, GrantFilter, GrantStore, MemoryGrants, MemoryStore,
    Need, NewApproval, State,
};
use crewgate_audit::{AuditError, AuditStore, Class, Entry, EraseError, Erasure, Frame, Lane, Phase};
use crewgate_console::{Console, MAX_DECISION_BYTES, MaskedSpan, Shown, Terms, router};
use crewgate_core::{
    ApproverSet, Clock, Fact, Principal, PrincipalKey, RequestId, RoleName, RunId, Timestamp,
};
use crewgate_runs::{MemoryLedger, NewRun, RunLedger};
use crewgate_testkit::{
    ManualClock,
    suites::{
        approval::{asked, linked, person, program, set, start, yes},
        grant::{given, limited},
    },
};
use futures_util::future::BoxFuture;
use http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};
use tower::ServiceExt;

struct World {
    approvals: Arc<MemoryStore>,
    grants: Arc<MemoryGrants>,
    audit: crewgate_audit::MemoryStore,
    runs: Arc<MemoryLedger>,
    clock: ManualClock,
    shredder: Shredder,
    api: Router,
}

/// `bob`, `dan` and `ana` are owners, `cem` is of legal, the bot claims to be an owner.
fn sets(who: &Principal) -> BTreeSet<ApproverSet> {
    match who.key.subject.as_str() {
        "ana" | "bob" | "dan" | "bot" => [set("owners")].into(),
        "cem" => [set("legal")].into(),
        _ => BTreeSet::new(),
    }
}

/// `night-shift` can be had for two hours if an owner and somebody of legal agree.
fn terms(role: &RoleName) -> Option<Terms> {
    let need = |name| Need { set: set(name), count: std::num::NonZeroU32::MIN, then: Vec::new() };
    (role.as_str() == "night-shift").then(|| Terms {
        needs: vec![need("owners"), need("legal")],
        longest: Duration::from_secs(7200),
        waits: Duration::from_secs(600),
    })
}

fn world_with(eligible: Arc<dyn Eligible>) -> World {
    let grants = Arc::new(MemoryGrants::new());
    let approvals = Arc::new(MemoryStore::new().gives({
        let grants = grants.clone();
        move |new| grants.give_now(new)
    }));
    let audit = crewgate_audit::MemoryStore::new();
    let (runs, clock) = (Arc::new(MemoryLedger::new()), ManualClock::new());
    let shredder = Shredder::default();
    let show = |asked: &NewApproval| {
        (asked.upstream != "unmaskable").then(|| Shown {
            body: "{\"mail\":\"***\"}".to_owned(),
            masked: vec![MaskedSpan { at: 9, shown: 3, entity: "EMAIL".to_owned(), length: 12 }],
            hidden_inputs: Vec::new(),
        })
    };
    let console =
        Console::new(approvals.clone(), Arc::new(audit.clone()), runs.clone(), eligible, Arc::new(show))
            .record_readers(Arc::new(|who: &Principal| who.key.subject == "auditor"))
            .grants(grants.clone())
            .requestable(Arc::new(terms))
            .erasure(Arc::new(shredder.clone()), Arc::new(|who: &Principal| who.key.subject == "officer"))
            .clock(clock.clone());
    World { approvals, grants, audit, runs, clock, shredder, api: router(console) }
}

fn world() -> World {
    world_with(Arc::new(sets))
}

impl World {
    async fn send(&self, who: Option<&Principal>, request: Request<Body>) -> (StatusCode, Value) {
        let mut request = request;
        if let Some(who) = who {
            request.extensions_mut().insert(who.clone());
        }
        let answer = self.api.clone().oneshot(request).await.unwrap();
        let (status, kind) = (answer.status(), answer.headers()[header::CONTENT_TYPE].clone());
        assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
        let expected = if status.is_success() { "application/json" } else { "application/problem+json" };
        assert_eq!(kind, expected, "{status}");
        let body = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        if !status.is_success() {
            assert_eq!(body["status"], status.as_u16());
            assert_eq!(body["type"], format!("urn:crewgate:problem:{}", body["code"].as_str().unwrap()));
        }
        (status, body)
    }

    async fn see(&self, who: &Principal, path: &str) -> (u16, Value) {
        let (status, body) = self.send(Some(who), Request::get(path).body(Body::empty()).unwrap()).await;
        (status.as_u16(), body)
    }

    async fn decide(&self, who: &Principal, id: &str, body: &str) -> (u16, Value) {
        self.post(who, &format!("/api/approvals/{id}/decision"), body).await
    }

    async fn post(&self, who: &Principal, path: &str, body: &str) -> (u16, Value) {
        let request = Request::post(path)
            .header(header::CONTENT_TYPE, "application/json; charset=utf-8")
            .body(Body::from(body.to_owned()))
            .unwrap();
        let (status, body) = self.send(Some(who), request).await;
        (status.as_u16(), body)
    }

    async fn open(&self, by: &Principal, needs: &[(&str, u32)]) -> NewApproval {
        let new = asked(by, needs);
        self.approvals.open(new.clone()).await.unwrap();
        new
    }

    async fn state(&self, of: &NewApproval) -> State {
        self.approvals.find(of.id).await.unwrap().unwrap().state
    }

    /// What the console itself put on the record.
    fn noted(&self) -> Vec<(String, String)> {
        let entries = self.audit.entries();
        let facts = entries.iter().flat_map(|entry| &entry.facts);
        facts
            .filter_map(|fact| match fact {
                Fact::Control { by: Some(by), what } => Some((by.subject.clone(), what.clone())),
                _ => None,
            })
            .collect()
    }
}

fn verdict(verdict: &str, of: &NewApproval) -> String {
    json!({ "verdict": verdict, "digest": of.digest, "reason": "seen" }).to_string()
}

fn ids(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn without_a_principal_every_route_is_closed() {
    let world = world();
    let new = world.open(&person("ana"), &[("owners", 1)]).await;
    for (method, path) in [
        (Method::GET, "/api/approvals".to_owned()),
        (Method::GET, format!("/api/approvals/{}", new.id)),
        (Method::POST, format!("/api/approvals/{}/decision", new.id)),
        (Method::POST, format!("/api/approvals/{}/cancel", new.id)),
        (Method::GET, "/api/runs".to_owned()),
        (Method::GET, format!("/api/runs/{}", new.run.unwrap())),
    ] {
        let request = Request::builder().method(method).uri(&path).body(Body::empty()).unwrap();
        let (status, body) = world.send(None, request).await;
        assert_eq!((status, &body["code"]), (StatusCode::UNAUTHORIZED, &json!("unauthenticated")), "{path}");
    }
    assert_eq!(world.state(&new).await, State::Pending);
}

#[tokio::test]
async fn a_list_shows_what_waits_for_the_caller_and_what_is_theirs() {
    let world = world();
    let first = world.open(&person("ana"), &[("owners", 1)]).await;
    let second = world.open(&person("bob"), &[("owners", 1), ("legal", 1)]).await;
    let list = async |who: &Principal| {
        let (status, body) = world.see(who, "/api/approvals").await;
        assert_eq!(status, 200);
        (ids(&body["waiting"]), ids(&body["own"]))
    };
    let [one, two] = [&first, &second].map(|new| new.id.to_string());
    let none = Vec::<String>::new;
    assert_eq!(list(&person("ana")).await, (vec![two.clone()], vec![one.clone()]));
    assert_eq!(list(&person("bob")).await, (vec![one.clone()], vec![two.clone()]));
    assert_eq!(list(&person("cem")).await, (vec![two.clone()], none()));
    assert_eq!(list(&person("eve")).await, (none(), none()));
    assert_eq!(list(&program("bot")).await, (none(), none()), "a program decides nothing");
    // Decided, it waits for nobody and still is its requester's.
    assert_eq!(world.decide(&person("bob"), &one, &verdict("deny", &first)).await.0, 200);
    assert_eq!(list(&person("dan")).await, (vec![two.clone()], none()));
    assert_eq!(list(&person("ana")).await.1, vec![one]);
    // So does what has expired, with nobody having written anything.
    world.clock.advance(Duration::from_secs(3600));
    assert_eq!(list(&person("dan")).await, (none(), none()));
}

#[tokio::test]
async fn an_approver_sees_exactly_what_will_be_sent_and_nothing_secret() {
    let world = world();
    let new = world.open(&person("ana"), &[("owners", 2)]).await;
    world.approvals.vote(yes(&new, &person("dan"), &["owners"])).await.unwrap();
    let (status, seen) = world.see(&person("bob"), &format!("/api/approvals/{}", new.id)).await;
    assert_eq!(status, 200);
    assert_eq!(seen["requester"]["id"], "okta:ana");
    assert_eq!(seen["digest"], new.digest.to_string());
    assert_eq!(seen["outgoing"]["method"], "POST");
    assert_eq!(seen["outgoing"]["path"], "/kickoff");
    assert_eq!(seen["outgoing"]["upstream"], "https://support.example");
    assert_eq!(seen["outgoing"]["length"], new.outgoing.body.len());
    assert_eq!(seen["outgoing"]["body"], "{\"mail\":\"***\"}");
    let span = json!({ "at": 9, "shown": 3, "entity": "EMAIL", "length": 12 });
    assert_eq!(seen["outgoing"]["masked"], json!([span]));
    assert_eq!(seen["needs"], json!([{ "set": "owners", "count": 2, "given": 1 }]));
    assert_eq!(seen["votes"][0]["by"], "okta:dan");
    assert_eq!(seen["state"]["name"], "pending");
    assert_eq!((&seen["may_decide"], &seen["mine"]), (&json!(true), &json!(false)));
    let (_, own) = world.see(&person("dan"), &format!("/api/approvals/{}", new.id)).await;
    assert_eq!(own["may_decide"], false, "dan has spoken");
    assert!(world.noted().is_empty());
}

#[tokio::test]
async fn what_cannot_be_masked_is_not_shown() {
    let world = world();
    let new = NewApproval { upstream: "unmaskable".to_owned(), ..asked(&person("ana"), &[("owners", 1)]) };
    world.approvals.open(new.clone()).await.unwrap();
    let (status, body) = world.see(&person("bob"), &format!("/api/approvals/{}", new.id)).await;
    assert_eq!((status, &body["code"]), (500, &json!("not_shown")));
    assert!(!body.to_string().contains("inputs"));
}

#[tokio::test]
async fn an_approval_is_hidden_from_those_it_does_not_concern() {
    let world = world();
    let new = world.open(&person("ana"), &[("owners", 1)]).await;
    let path = format!("/api/approvals/{}", new.id);
    let (status, hidden) = world.see(&person("cem"), &path).await;
    let (_, absent) = world.see(&person("cem"), &format!("/api/approvals/{}", RunId::random())).await;
    assert_eq!((status, &hidden), (404, &absent), "the two look the same");
    assert_eq!(world.see(&person("cem"), "/api/approvals/not-an-id").await.0, 404);
    assert_eq!(world.decide(&person("cem"), &new.id.to_string(), &verdict("deny", &new)).await.0, 404);
    assert_eq!(world.see(&person("ana"), &path).await.0, 200);
    assert_eq!(world.see(&linked("okta", "ana", "x"), &path).await.0, 200);
    assert!(world.noted().is_empty());
    assert_eq!(world.see(&person("auditor"), &path).await.0, 200);
    assert_eq!(world.noted(), [("auditor".to_owned(), "access.approval".to_owned())]);
}

#[tokio::test]
async fn an_approver_approves() {
    let world = world();
    let new = world.open(&person("ana"), &[("owners", 1)]).await;
    let (status, body) = world.decide(&person("bob"), &new.id.to_string(), &verdict("approve", &new)).await;
    assert_eq!((status, &body["state"]["name"]), (200, &json!("approved")));
    assert_eq!(body["state"]["until"], "2026-06-15T12:15:00.000000Z");
    let row = world.approvals.find(new.id).await.unwrap().unwrap();
    assert_eq!(row.votes[0].reason.as_deref(), Some("seen"));
    let (status, again) = world.decide(&person("dan"), &new.id.to_string(), &verdict("deny", &new)).await;
    assert_eq!((status, &again["code"]), (409, &json!("not_pending")));
    assert_eq!(again["state"]["name"], "approved");
}

#[tokio::test]
async fn nobody_decides_on_their_own_request_and_the_attempt_is_recorded() {
    let world = world();
    let ana = linked("okta", "ana", "ana-maria");
    let new = world.open(&ana, &[("owners", 1)]).await;
    for own in [&ana, &linked("github", "bob", "ana-maria")] {
        for word in ["approve", "deny"] {
            let (status, body) = world.decide(own, &new.id.to_string(), &verdict(word, &new)).await;
            assert_eq!((status, &body["code"]), (403, &json!("self_approval")));
        }
    }
    let (status, body) = world.decide(&program("bot"), &new.id.to_string(), &verdict("approve", &new)).await;
    assert_eq!((status, &body["code"]), (403, &json!("not_eligible")));
    assert_eq!(world.state(&new).await, State::Pending);
    assert_eq!(world.noted().len(), 5);
    assert!(world.noted().iter().all(|(_, what)| what == "approval.vote_refused"));
    assert!(world.audit.entries().iter().all(|entry| entry.approval == Some(new.id)));
}

#[tokio::test]
async fn a_decision_on_another_page_or_twice_is_refused() {
    let world = world();
    let (new, other) =
        (world.open(&person("ana"), &[("owners", 2)]).await, asked(&person("eve"), &[("owners", 2)]));
    let id = new.id.to_string();
    let (status, body) = world.decide(&person("bob"), &id, &verdict("approve", &other)).await;
    assert_eq!((status, &body["code"]), (409, &json!("digest_mismatch")));
    assert_eq!(world.decide(&person("bob"), &id, &verdict("approve", &new)).await.0, 200);
    let (status, body) = world.decide(&person("bob"), &id, &verdict("deny", &new)).await;
    assert_eq!((status, &body["code"]), (409, &json!("already_voted")));
    assert_eq!(world.state(&new).await, State::Pending);
}

#[tokio::test]
async fn a_decision_that_is_not_understood_is_refused() {
    let world = world();
    let new = world.open(&person("ana"), &[("owners", 1)]).await;
    let (id, bob, digest) = (new.id.to_string(), person("bob"), new.digest);
    for bad in [
        String::new(),
        "yes".to_owned(),
        "null".to_owned(),
        "{}".to_owned(),
        r#"{"verdict":"approve"}"#.to_owned(),
        format!(r#"{{"digest":"{digest}"}}"#),
        format!(r#"{{"verdict":"Approve","digest":"{digest}"}}"#),
        format!(r#"{{"verdict":"approve","digest":"{}"}}"#, digest.to_string().to_uppercase()),
        format!(r#"{{"verdict":"approve","digest":"{digest}","force":true}}"#),
        format!(r#"{{"verdict":"approve","verdict":"deny","digest":"{digest}"}}"#),
        format!(r#"{{"verdict":"approve","digest":"{digest}"}} trailing"#),
        format!(r#"{{"verdict":"approve","digest":"{digest}","reason":"{}"}}"#, "x".repeat(2001)),
    ] {
        let (status, body) = world.decide(&bob, &id, &bad).await;
        assert_eq!((status, &body["code"]), (400, &json!("invalid_request")), "{bad}");
    }
    let huge = format!(r#"{{"verdict":"approve","reason":"{}"}}"#, "x".repeat(MAX_DECISION_BYTES));
    assert_eq!(world.decide(&bob, &id, &huge).await.0, 413);
    let form = Request::post(format!("/api/approvals/{id}/decision"))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(verdict("approve", &new)))
        .unwrap();
    assert_eq!(world.send(Some(&bob), form).await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(world.state(&new).await, State::Pending);
}

#[tokio::test]
async fn only_the_requester_takes_it_back() {
    let world = world();
    let new = world.open(&person("ana"), &[("owners", 1)]).await;
    let cancel = async |who: &Principal, body: &'static str| {
        let path = format!("/api/approvals/{}/cancel", new.id);
        let (status, body) = world.send(Some(who), Request::post(path).body(Body::from(body)).unwrap()).await;
        (status.as_u16(), body)
    };
    assert_eq!(cancel(&person("eve"), "").await.0, 404);
    assert_eq!(cancel(&person("bob"), "").await.1["code"], "not_requester");
    assert_eq!(cancel(&person("ana"), "{}").await.0, 400);
    let (status, body) = cancel(&person("ana"), "").await;
    assert_eq!((status, &body["state"]["name"]), (200, &json!("cancelled")));
    assert_eq!(cancel(&person("ana"), "").await.1["code"], "too_late");
}

#[tokio::test]
async fn who_may_approve_must_be_known() {
    struct Down;
    impl Eligible for Down {
        fn sets<'a>(
            &'a self,
            _: &'a Principal,
        ) -> BoxFuture<'a, Result<BTreeSet<ApproverSet>, EligibilityUnknown>> {
            Box::pin(async { Err(EligibilityUnknown("directory is down".to_owned())) })
        }
    }
    let world = world_with(Arc::new(Down));
    let new = world.open(&person("ana"), &[("owners", 1)]).await;
    let (status, body) = world.decide(&person("bob"), &new.id.to_string(), &verdict("approve", &new)).await;
    assert_eq!((status, &body["code"]), (503, &json!("unavailable")));
    assert!(!body.to_string().contains("directory"), "the inside of the gateway is for its log");
    assert_eq!(world.state(&new).await, State::Pending);
}

#[tokio::test]
async fn an_approvers_groups_are_those_of_their_vote_and_not_of_what_they_saw() {
    let member = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let asks = Arc::clone(&member);
    let world = world_with(Arc::new(move |who: &Principal| {
        let is = who.key.subject == "bob" && asks.load(std::sync::atomic::Ordering::SeqCst);
        if is { BTreeSet::from([set("owners")]) } else { BTreeSet::new() }
    }));
    let new = world.open(&person("ana"), &[("owners", 1)]).await;
    let (status, list) = world.see(&person("bob"), "/api/approvals").await;
    assert_eq!((status, list["waiting"].as_array().map(Vec::len)), (200, Some(1)));
    member.store(false, std::sync::atomic::Ordering::SeqCst);
    let (status, _) = world.decide(&person("bob"), &new.id.to_string(), &verdict("approve", &new)).await;
    assert_eq!(status, 404);
    assert_eq!(world.state(&new).await, State::Pending);
}

/// A run of `ana` whose answer was `[hi, not text]`.
async fn a_run(world: &World) -> RunId {
    let new = NewRun { crew: "support".to_owned(), owner: person("ana").key, at: start() };
    let run = world.runs.start(new, "upstream-1".to_owned()).await.unwrap().run;
    let mut entry = Entry::new(Phase::Outcome, RequestId::random(), start()).with_run(Some(run));
    entry.frames = vec![
        Frame { offset_micros: 5, bytes: "hi".into() },
        Frame { offset_micros: 2_000_005, bytes: vec![0xff].into() },
    ];
    let entry = entry.with_fact(Fact::Answered { status: 200 });
    world.audit.append(Lane::Outcome, entry).await.unwrap();
    run
}

#[tokio::test]
async fn a_run_is_told_to_its_owner_and_that_it_was_read_is_recorded() {
    let world = world();
    let run = a_run(&world).await;
    let path = format!("/api/runs/{run}");
    let (status, seen) = world.see(&person("ana"), &path).await;
    assert_eq!(status, 200);
    assert_eq!((&seen["id"], &seen["crew"]), (&json!(run.to_string()), &json!("support")));
    assert_eq!((&seen["owner"], &seen["started"]), (&json!("okta:ana"), &json!(true)));
    assert!(!seen.to_string().contains("upstream-1"), "nobody sees an upstream id");
    let steps = seen["steps"].as_array().unwrap();
    let answers = steps.iter().filter(|step| step["kind"] == "answer").collect::<Vec<_>>();
    assert_eq!(answers[0]["value"], json!({ "text": "hi" }));
    assert_eq!(answers[1]["value"], json!({ "base64": "/w==" }));
    let gap = answers[1]["at_micros"].as_u64().unwrap() - answers[0]["at_micros"].as_u64().unwrap();
    assert_eq!(gap, 2_000_000, "with the timing the caller saw");
    assert!(steps.iter().any(|step| step["value"]["fact"] == "answered"));
    assert_eq!(world.noted(), [("ana".to_owned(), "access.run".to_owned())]);

    assert_eq!(world.see(&person("bob"), &path).await.0, 404);
    assert_eq!(world.see(&person("ana"), &format!("/api/runs/{}", RunId::random())).await.0, 404);
    assert_eq!(world.noted().len(), 1, "who saw nothing read nothing");
    assert_eq!(world.see(&person("auditor"), &path).await.0, 200);
    assert_eq!(world.noted().len(), 2);
    // Who read it is part of its story.
    let (_, seen) = world.see(&person("ana"), &path).await;
    assert!(seen["steps"].to_string().contains("auditor"));
}

#[tokio::test]
async fn a_run_that_waited_for_people_says_who_let_it_go() {
    let world = world();
    let run = a_run(&world).await;
    let new = NewApproval { run: Some(run), ..asked(&person("ana"), &[("owners", 1)]) };
    world.approvals.open(new.clone()).await.unwrap();
    world.approvals.vote(yes(&new, &person("bob"), &["owners"])).await.unwrap();
    let (_, seen) = world.see(&person("ana"), &format!("/api/runs/{run}")).await;
    assert_eq!(seen["approval"]["state"]["name"], "approved");
    assert_eq!(seen["approval"]["votes"][0]["by"], "okta:bob");
}

#[tokio::test]
async fn runs_are_listed_to_their_owner_and_to_readers_of_the_record() {
    let world = world();
    let run = a_run(&world).await;
    let (status, own) = world.see(&person("ana"), "/api/runs").await;
    assert_eq!((status, ids(&own["runs"])), (200, vec![run.to_string()]));
    assert!(ids(&world.see(&person("bob"), "/api/runs").await.1["runs"]).is_empty());
    let (status, body) = world.see(&person("bob"), "/api/runs?all=true").await;
    assert_eq!((status, &body["code"]), (403, &json!("not_record_reader")));
    assert!(world.noted().is_empty());
    let (_, all) = world.see(&person("auditor"), "/api/runs?all=true&crew=support&limit=1").await;
    assert_eq!(ids(&all["runs"]), [run.to_string()]);
    assert_eq!(all["next_before"], start().as_micros());
    assert_eq!(world.noted(), [("auditor".to_owned(), "access.runs".to_owned())]);
    for bad in ["/api/runs?owner=ana", "/api/runs?limit=0", "/api/runs?all=yes", "/api/runs?before=x"] {
        assert_eq!(world.see(&person("ana"), bad).await.0, 400, "{bad}");
    }
}

#[tokio::test]
async fn what_cannot_be_put_on_the_record_is_not_shown() {
    let full = crewgate_audit::MemoryStore::with(
        crewgate_audit::RefusalQuota::default(),
        Arc::new(crewgate_core::SystemClock),
        1000,
        |entry: &Entry| match entry.phase {
            Phase::Access => Err(crewgate_audit::AuditError::Unavailable),
            _ => Ok(()),
        },
    );
    let mut world = world();
    let console = Console::new(
        world.approvals.clone(),
        Arc::new(full),
        world.runs.clone(),
        Arc::new(sets),
        Arc::new(|asked: &NewApproval| Shown::nothing_but_length(asked)),
    );
    world.api = router(console);
    let run = a_run(&world).await;
    let (status, body) = world.see(&person("ana"), &format!("/api/runs/{run}")).await;
    assert_eq!((status, &body["code"]), (503, &json!("unavailable")));
    assert!(!body.to_string().contains("support"));
}

#[tokio::test]
async fn grants_are_seen_by_their_holder_by_who_may_take_them_away_and_by_readers() {
    let world = world();
    let new = limited("zoe", 3);
    world.grants.give(new.clone()).await.unwrap();
    let seen = async |who: &str, query: &str| world.see(&person(who), &format!("/api/grants{query}")).await;
    let (status, list) = seen("zoe", "").await;
    assert_eq!((status, ids(&list["own"]), ids(&list["revocable"])), (200, vec![new.id.to_string()], vec![]));
    let grant = &list["own"][0];
    assert_eq!(
        (&grant["state"], &grant["used"], &grant["revoked"]),
        (&json!("live"), &json!(0), &Value::Null)
    );
    assert_eq!(grant["narrowed"], json!({ "uses": 3 }));
    assert_eq!(ids(&seen("bob", "").await.1["revocable"]), [new.id.to_string()]);
    for stranger in ["cem", "eve"] {
        assert_eq!(seen(stranger, "").await.1, json!({ "own": [], "revocable": [] }), "{stranger}");
    }
    assert_eq!(seen("bob", "?all=true").await.1["code"], "not_record_reader");
    assert!(world.noted().is_empty());
    let (status, list) = seen("auditor", "?all=true").await;
    assert_eq!((status, ids(&list["all"])), (200, vec![new.id.to_string()]));
    assert_eq!(world.noted(), [("auditor".to_owned(), "access.grants".to_owned())]);
    // What is over is shown on request.
    world.clock.set(new.until);
    assert_eq!(ids(&seen("zoe", "").await.1["own"]), Vec::<String>::new());
    assert_eq!(seen("zoe", "?over=true").await.1["own"][0]["state"], "ended");
    assert_eq!(seen("zoe", "?everything=true").await.0, 400);
}

#[tokio::test]
async fn a_grant_is_taken_away_by_those_it_concerns_and_nobody_else_learns_of_it() {
    let world = world();
    let new = given("zoe");
    world.grants.give(new.clone()).await.unwrap();
    let path = format!("/api/grants/{}/revoke", new.id);
    for stranger in ["cem", "eve", "auditor"] {
        assert_eq!(world.post(&person(stranger), &path, "{}").await.0, 404, "{stranger}");
    }
    let nowhere = format!("/api/grants/{}/revoke", crewgate_core::GrantId::random());
    assert_eq!(world.post(&person("bob"), &nowhere, "{}").await.0, 404);
    assert_eq!(world.post(&person("bob"), "/api/grants/x/revoke", "{}").await.0, 404);
    for (body, status) in [
        ("", 400),
        ("[]", 400),
        (r#"{"because": "x"}"#, 400),
        (&json!({ "reason": "x".repeat(2001) }).to_string(), 400),
    ] {
        assert_eq!(world.post(&person("bob"), &path, body).await.0, status, "{body}");
    }
    assert!(world.grants.find(new.id).await.unwrap().unwrap().revoked.is_none());
    let (status, grant) = world.post(&person("bob"), &path, r#"{"reason": "done"}"#).await;
    assert_eq!((status, &grant["state"]), (200, &json!("revoked")));
    assert_eq!((&grant["revoked"]["by"], &grant["revoked"]["reason"]), (&json!("okta:bob"), &json!("done")));
    let (status, problem) = world.post(&person("zoe"), &path, "{}").await;
    assert_eq!(
        (status, &problem["code"], &problem["state"]["name"]),
        (409, &json!("grant_over"), &json!("revoked"))
    );
}

/// Sends what was approved and loses the answer.
async fn lose(world: &World, new: &NewApproval) {
    let id = new.id.to_string();
    assert_eq!(world.decide(&person("bob"), &id, &verdict("approve", new)).await.0, 200);
    let now = world.clock.now();
    let lease = world.approvals.claim(new.id, now, Duration::from_secs(60)).await.unwrap().unwrap();
    world.approvals.mark_sent(lease, now).await.unwrap();
    world.approvals.settle(lease, End::Indeterminate, now).await.unwrap();
}

#[tokio::test]
async fn who_is_asked_says_what_became_of_a_lost_answer() {
    let world = world();
    let run = NewRun {
        crew: asked(&person("ana"), &[("owners", 1)]).operation.resource.name,
        owner: person("ana").key,
        at: world.clock.now(),
    };
    let ticket = world.runs.reserve(run.clone()).await.unwrap();
    let new = NewApproval { run: Some(ticket), ..asked(&person("ana"), &[("owners", 1)]) };
    world.approvals.open(new.clone()).await.unwrap();
    let path = format!("/api/approvals/{}/settlement", new.id);
    let ran = |run: &str| json!({ "found": "ran", "run": run, "reason": "in its log" }).to_string();
    let (status, body) = world.post(&person("bob"), &path, &ran("k-1")).await;
    assert_eq!(
        (status, &body["code"], &body["state"]["name"]),
        (409, &json!("not_indeterminate"), &json!("pending"))
    );
    lose(&world, &new).await;

    let (_, list) = world.see(&person("bob"), "/api/approvals").await;
    assert_eq!(
        (ids(&list["lost"]), list["lost"][0]["may_settle"].clone()),
        (vec![new.id.to_string()], json!(true))
    );
    let (_, list) = world.see(&person("ana"), "/api/approvals").await;
    assert!(ids(&list["lost"]).is_empty() && list["own"][0]["may_settle"] == json!(false));
    let (status, body) = world.post(&person("ana"), &path, &ran("k-1")).await;
    assert_eq!((status, &body["code"]), (403, &json!("self_approval")));
    let (status, body) = world.post(&person("auditor"), &path, &ran("k-1")).await;
    assert_eq!((status, &body["code"]), (403, &json!("not_eligible")));
    // Unclear findings, and another's run.
    for wrong in [
        json!({ "found": "ran", "reason": " " }),
        json!({ "found": "ran" }),
        json!({ "found": "ran", "run": "", "reason": "x" }),
        json!({ "found": "did_not_run", "run": "k-1", "reason": "x" }),
        json!({ "found": "perhaps", "reason": "x" }),
    ] {
        assert_eq!(world.post(&person("bob"), &path, &wrong.to_string()).await.0, 400, "{wrong}");
    }
    world.runs.start(run, "k-0".to_owned()).await.unwrap();
    let (status, body) = world.post(&person("bob"), &path, &ran("k-0")).await;
    assert_eq!((status, &body["code"]), (409, &json!("run_taken")));

    let (status, body) = world.post(&person("bob"), &path, &ran("k-1")).await;
    assert_eq!((status, &body["state"]["name"]), (200, &json!("executed")), "{body}");
    assert_eq!(world.runs.find(ticket.as_uuid()).await.unwrap().unwrap().upstream.as_deref(), Some("k-1"));
    let (status, body) = world.post(&person("dan"), &path, &ran("k-1")).await;
    assert_eq!((status, &body["code"]), (409, &json!("not_indeterminate")));
}

#[tokio::test]
async fn what_was_found_not_to_have_run_has_failed_and_is_not_sent_again() {
    let world = world();
    let new = NewApproval { run: None, ..asked(&person("ana"), &[("owners", 1)]) };
    world.approvals.open(new.clone()).await.unwrap();
    lose(&world, &new).await;
    let path = format!("/api/approvals/{}/settlement", new.id);
    let with_run = json!({ "found": "ran", "run": "k-1", "reason": "x" }).to_string();
    assert_eq!(
        world.post(&person("bob"), &path, &with_run).await.0,
        400,
        "there is no ticket to stand for it"
    );
    let body = json!({ "found": "did_not_run", "reason": "nothing in its log" }).to_string();
    let (status, body) = world.post(&person("bob"), &path, &body).await;
    assert_eq!((status, &body["state"]["name"]), (200, &json!("failed")), "{body}");
    let now = world.clock.now();
    assert_eq!(world.approvals.claim(new.id, now, Duration::from_secs(60)).await.unwrap(), None);
}

#[tokio::test]
async fn readers_of_the_record_search_it_and_that_is_on_it_too() {
    let world = world();
    let run = a_run(&world).await;
    let (status, body) = world.see(&person("ana"), "/api/record").await;
    assert_eq!((status, &body["code"]), (403, &json!("not_record_reader")));
    assert!(world.noted().is_empty());
    for bad in ["?since=yesterday", "?run=1", "?limit=many", "?colour=red"] {
        assert_eq!(world.see(&person("auditor"), &format!("/api/record{bad}")).await.0, 400, "{bad}");
    }
    assert!(world.noted().is_empty(), "what is not understood reads nothing");
    let (status, all) =
        world.see(&person("auditor"), &format!("/api/record?run={run}&oldest_first=true")).await;
    assert_eq!(status, 200);
    let leaves = all["leaves"].as_array().unwrap();
    assert!(!leaves.is_empty() && all["next_after"].is_null());
    assert!(leaves.iter().all(|leaf| leaf["record"]["run"] == run.to_string() && leaf["held"] == "open"));
    assert_eq!(world.noted(), [("auditor".to_owned(), "access.record".to_owned())]);

    let (_, looked) = world.see(&person("auditor"), "/api/record?kind=access.record&limit=1").await;
    assert_eq!(looked["leaves"][0]["principal"], "okta:auditor", "the newest, which tells of this search");
    let before = looked["next_after"].as_u64().unwrap();
    let path = format!("/api/record?kind=access.record&limit=1&after={before}");
    let (_, earlier) = world.see(&person("auditor"), &path).await;
    assert!(earlier["leaves"][0]["leaf"].as_u64().unwrap() < before);
}

#[tokio::test]
async fn whoever_reads_the_store_itself_says_so_here_first() {
    let world = world();
    let run = a_run(&world).await;
    let of = |reads: &str| json!({ "reads": reads, "id": run.to_string() }).to_string();
    let refused = world.post(&person("ana"), "/api/record/access", &of("run")).await;
    assert_eq!((refused.0, &refused.1["code"]), (403, &json!("not_record_reader")));
    for bad in ["{\"reads\":\"everything\"}", "{\"reads\":\"run\"}", "{\"reads\":\"run\",\"id\":\"1\"}"] {
        assert_eq!(world.post(&person("auditor"), "/api/record/access", bad).await.0, 400, "{bad}");
    }
    assert!(world.noted().is_empty());
    for reads in ["{\"reads\":\"record\"}", "{\"reads\":\"runs\"}", &of("run"), &of("request")] {
        assert_eq!(world.post(&person("auditor"), "/api/record/access", reads).await.0, 200, "{reads}");
    }
    let noted: Vec<String> = world.noted().into_iter().map(|(_, what)| what).collect();
    assert_eq!(noted, ["access.record", "access.runs", "access.run", &format!("access.run {run}")]);
}

/// Remembers what it was asked to give up. Bob is on hold, and nothing is held of `nobody`.
#[derive(Debug, Clone, Default)]
struct Shredder(Arc<std::sync::Mutex<Vec<String>>>);

impl Shredder {
    fn asked<T: Send + 'static>(
        &self,
        what: String,
        by: Option<PrincipalKey>,
        done: T,
    ) -> BoxFuture<'static, Result<T, EraseError>> {
        let refused = match what.as_str() {
            "erase okta:bob" => Some(EraseError::Held),
            "erase nobody" => Some(EraseError::Unknown),
            "erase later" => Some(EraseError::Store(AuditError::Unavailable)),
            _ => None,
        };
        self.0.lock().unwrap().push(format!("{} {what}", by.unwrap()));
        Box::pin(std::future::ready(refused.map_or(Ok(done), Err)))
    }
}

impl Erasure for Shredder {
    fn erase<'a>(
        &'a self,
        person: &'a str,
        by: Option<PrincipalKey>,
    ) -> BoxFuture<'a, Result<u64, EraseError>> {
        self.asked(format!("erase {person}"), by, 4)
    }

    fn hold<'a>(
        &'a self,
        person: &'a str,
        held: bool,
        by: Option<PrincipalKey>,
    ) -> BoxFuture<'a, Result<(), EraseError>> {
        self.asked(format!("hold {person} {held}"), by, ())
    }

    fn prune(
        &self,
        class: Class,
        before: Timestamp,
        by: Option<PrincipalKey>,
    ) -> BoxFuture<'_, Result<u64, EraseError>> {
        self.asked(format!("prune {} {before}", class.as_str()), by, 3)
    }

    fn cut(
        &self,
        before: Timestamp,
        keep_from: u64,
        by: Option<PrincipalKey>,
    ) -> BoxFuture<'_, Result<u64, EraseError>> {
        self.asked(format!("cut {before} {keep_from}"), by, 0)
    }
}

#[tokio::test]
async fn what_is_held_is_given_up_for_those_who_may_and_in_their_name() {
    let world = world();
    let paths = ["erase", "hold", "prune"].map(|last| format!("/api/record/{last}"));
    let [erase, hold, prune] = paths.each_ref().map(String::as_str);
    let whom = |person: &str| json!({ "person": person }).to_string();
    for path in [erase, hold, prune] {
        let (status, body) = world.post(&person("auditor"), path, &whom("okta:ana")).await;
        assert_eq!((status, &body["code"]), (403, &json!("not_eraser")), "{path}");
    }
    let officer = person("officer");
    for (path, bad) in [(erase, "{}"), (hold, &*whom("okta:ana")), (prune, "{\"class\":\"calls\"}")] {
        assert_eq!(world.post(&officer, path, bad).await.0, 400, "{path} {bad}");
    }
    assert!(world.shredder.0.lock().unwrap().is_empty());
    assert_eq!(world.post(&officer, erase, &whom("okta:ana")).await, (200, json!({ "leaves": 4 })));
    for (person, status, code) in
        [("okta:bob", 409, "on_hold"), ("nobody", 404, "nothing_held"), ("later", 503, "unavailable")]
    {
        let (refused, body) = world.post(&officer, erase, &whom(person)).await;
        assert_eq!((refused, &body["code"]), (status, &json!(code)), "{person}");
    }
    let held = json!({ "person": "okta:ana", "held": true }).to_string();
    assert_eq!(world.post(&officer, hold, &held).await, (200, json!({ "held": true })));
    let old = json!({ "older_than_seconds": 60 }).to_string();
    assert_eq!(world.post(&officer, prune, &old).await, (200, json!({ "leaves": 12 })));
    let asked = world.shredder.0.lock().unwrap().clone();
    assert!(asked.iter().all(|asked| asked.starts_with("okta:officer ")), "{asked:?}");
    assert_eq!(asked.len(), 9);
    let minute = world.clock.now().saturating_sub(Duration::from_secs(60));
    assert_eq!(asked[8], format!("okta:officer prune refusals {minute}"));
}

#[tokio::test]
async fn what_is_not_for_somebody_to_decide_hides_nothing_that_is() {
    let world = world();
    let bob = person("bob");
    for _ in 0..150 {
        world.open(&bob, &[("owners", 1)]).await;
    }
    world.clock.advance(Duration::from_secs(1));
    let new = NewApproval { opened: world.clock.now(), ..asked(&person("ana"), &[("owners", 1)]) };
    world.approvals.open(new.clone()).await.unwrap();
    let (_, list) = world.see(&bob, "/api/approvals").await;
    let ids =
        |name: &str| list[name].as_array().unwrap().iter().map(|row| row["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids("waiting"), [json!(new.id.to_string())]);
    assert_eq!((ids("own").len(), &list["more"]), (100, &json!(["own"])));
}

#[tokio::test]
async fn the_document_describes_the_routes_there_are() {
    let world = world();
    let (status, document) =
        world.send(None, Request::get("/api/openapi.json").body(Body::empty()).unwrap()).await;
    assert_eq!(status, StatusCode::OK);
    let new = world.open(&person("ana"), &[("owners", 1)]).await;
    let mut routes = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let path = path.replace("{id}", &new.id.to_string());
        for method in ["get", "post", "put", "delete", "patch"] {
            let request = Request::builder()
                .method(Method::from_bytes(method.to_uppercase().as_bytes()).unwrap())
                .uri(&path)
                .body(Body::from("no json"))
                .unwrap();
            let (status, _) = world.send(Some(&person("ana")), request).await;
            let described = item.get(method).is_some();
            assert_eq!(status == StatusCode::METHOD_NOT_ALLOWED, !described, "{method} {path}: {status}");
            routes += usize::from(described);
        }
    }
    assert_eq!(routes, 28, "a route that is added is described");
    // Every reference leads somewhere.
    for reference in document.to_string().split("\"$ref\":\"#").skip(1) {
        let target = reference.split('"').next().unwrap();
        assert!(document.pointer(target).is_some(), "{target}");
    }
}

fn wish(seconds: u64) -> String {
    let narrowed = json!({ "resources": ["support"], "inputs": { "topic": "churn" }, "uses": 2 });
    json!({ "role": "night-shift", "seconds": seconds, "reason": "on call", "narrowed": narrowed })
        .to_string()
}

#[tokio::test]
async fn a_role_is_given_for_a_while_once_everybody_asked_agrees_and_not_before() {
    let world = world();
    let (ana, bob, cem) = (person("ana"), person("bob"), person("cem"));
    let (status, asked) = world.post(&ana, "/api/grants", &wish(7200)).await;
    assert_eq!(status, 202, "{asked}");
    let id = asked["approval"].as_str().unwrap();
    let (_, sheet) = world.see(&bob, &format!("/api/approvals/{id}")).await;
    let yes = json!({ "verdict": "approve", "digest": sheet["digest"] }).to_string();
    // Ana is an owner too: never for herself.
    assert_eq!(world.decide(&ana, id, &yes).await.1["code"], "self_approval");
    assert_eq!(world.decide(&bob, id, &yes).await.1["state"]["name"], "pending");
    assert_eq!(world.see(&ana, "/api/grants").await.1["own"], json!([]), "one of two has agreed");
    world.clock.advance(Duration::from_secs(60));
    let (status, done) = world.decide(&cem, id, &yes).await;
    assert_eq!((status, &done["state"]["name"]), (200, &json!("executed")), "{done}");
    let now = world.clock.now();
    let grant = world.grants.list(GrantFilter::at(now)).await.unwrap().pop().unwrap();
    assert_eq!((grant.given.principal, grant.given.role.as_str()), (ana.key.clone(), "night-shift"));
    assert_eq!((grant.given.from, grant.given.until), (now, now.saturating_add(Duration::from_secs(7200))));
    assert_eq!((grant.given.approval.to_string(), grant.given.sets.len()), (id.to_owned(), 2));
    assert_eq!((grant.given.narrowed.resources.len(), grant.given.narrowed.inputs.len()), (1, 1));
    assert_eq!(grant.given.narrowed.uses.map(std::num::NonZeroU32::get), Some(2));
    // Saying it again neither gives another nor makes this one longer.
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(world.decide(&cem, id, &yes).await.0, 409);
    let all = world.grants.list(GrantFilter::at(now)).await.unwrap();
    assert_eq!(all.iter().map(|one| one.given.until).collect::<Vec<_>>(), [grant.given.until]);
    // Its end comes by itself.
    world.clock.advance(Duration::from_secs(7200));
    assert_eq!(world.see(&ana, "/api/grants").await.1["own"], json!([]));
}

#[tokio::test]
async fn a_role_is_asked_for_on_its_terms_only() {
    let world = world();
    let ana = person("ana");
    let ask = async |body: String| world.post(&ana, "/api/grants", &body).await;
    assert_eq!(ask(wish(7201)).await.0, 400, "longer than it is given");
    assert_eq!(ask(wish(0)).await.0, 400);
    assert_eq!(ask(wish(60).replace("on call", "  ")).await.0, 400, "a reason is demanded");
    assert_eq!(
        ask(wish(60).replace("narrowed", "narowed")).await.0,
        400,
        "a narrowing with a slip widens nothing"
    );
    let (status, other) = ask(wish(60).replace("night-shift", "root")).await;
    assert_eq!((status, &other["code"]), (403, &json!("role_not_requestable")));
    assert_eq!(world.see(&ana, "/api/approvals").await.1["own"], json!([]), "nobody was asked");
    for _ in 0..crewgate_approval::DEFAULT_WAITING_EACH.get() {
        assert_eq!(ask(wish(60)).await.0, 202);
    }
    let (status, other) = ask(wish(60)).await;
    assert_eq!(
        (status, &other["code"]),
        (429, &json!("approval_too_many_waiting")),
        "people cannot be buried"
    );
}

#[tokio::test]
async fn who_is_denied_a_role_or_asks_nobody_in_time_holds_nothing() {
    let world = world();
    for (deny, state) in [(true, "denied"), (false, "expired")] {
        let (_, asked) = world.post(&person("ana"), "/api/grants", &wish(60)).await;
        let id = asked["approval"].as_str().unwrap();
        let path = format!("/api/approvals/{id}");
        let (_, sheet) = world.see(&person("bob"), &path).await;
        let verdict = if deny { "deny" } else { "approve" };
        let said =
            json!({ "verdict": verdict, "digest": sheet["digest"], "reason": "not tonight" }).to_string();
        world.decide(&person("bob"), id, &said).await;
        world.clock.advance(Duration::from_secs(600));
        assert_eq!(world.decide(&person("cem"), id, &said).await.0, 409);
        assert_eq!(world.see(&person("ana"), &path).await.1["state"]["name"], state);
    }
    assert!(world.grants.list(GrantFilter::at(world.clock.now())).await.unwrap().is_empty());
}

//! The layer and the releaser at the door, on a small stack: a policy closure, the layer, a strict inner service.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    convert::Infallible,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crewgate_approval::{
    Approval, ApprovalStore, AwaitApprovalLayer, Filter, MemoryStore, Phase, Release, ReleaseMode,
    ReleasePath, Releaser, State, StoreError, Tickets, Wait, pending_auto_runs,
};
use crewgate_core::{
    ApprovalStep, Approvals, Clock, Decision, Duties, Fact, Layer as By, MaskProfile, Operation, Outgoing,
    Principal, Refusal, RequestId, RunId, Trail,
};
use crewgate_testkit::{
    ManualClock, ReadyProbe,
    suites::approval::{no, operation, outgoing, person, set, yes},
};
use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use tower::{Layer, Service, ServiceExt, util::BoxCloneSyncService};

type Inner = BoxCloneSyncService<Request<String>, Response<String>, Infallible>;

/// What the policy of a test says of a request that carries no approvals, and of one that does.
type PolicyFn = Arc<dyn Fn(Option<&Approvals>) -> Result<Decision, Box<Refusal>> + Send + Sync>;

/// What reached the inner service: the proof, and the bytes.
type Seen = Arc<Mutex<Vec<(Option<Release>, Outgoing)>>>;

struct World {
    store: Arc<dyn ApprovalStore>,
    clock: ManualClock,
    seen: Seen,
    stack: Inner,
    path: ReleasePath<String>,
    policy: Arc<Mutex<PolicyFn>>,
    sealed: Arc<Mutex<Outgoing>>,
}

fn duties() -> Duties {
    Duties { approvals: [set("owners")].into(), ..Duties::default() }
}

fn asks() -> PolicyFn {
    Arc::new(|approvals| {
        let (duties, basis) = (duties(), crewgate_core::Basis::default());
        Ok(match approvals {
            Some(approvals) if approvals.sets == duties.approvals => Decision::Allow { duties, basis },
            _ => Decision::Ask { approvals: duties.approvals.clone(), duties, basis },
        })
    })
}

struct Kickoffs;

impl Tickets<String> for Kickoffs {
    fn offers(&self, operation: &Operation) -> bool {
        operation.action.as_str() == "kickoff"
    }

    fn reserve<'a>(&'a self, _: &'a Principal, _: &'a Operation) -> BoxFuture<'a, Result<RunId, Refusal>> {
        Box::pin(async { Ok(RunId::random()) })
    }

    fn answer(&self, approval: &Approval) -> Response<String> {
        Response::new(format!("ticket {}", approval.asked.run.unwrap()))
    }
}

fn world(customise: impl FnOnce(AwaitApprovalLayer<String>) -> AwaitApprovalLayer<String>) -> World {
    world_on(Arc::new(MemoryStore::new()), customise)
}

fn world_on(
    store: Arc<dyn ApprovalStore>,
    customise: impl FnOnce(AwaitApprovalLayer<String>) -> AwaitApprovalLayer<String>,
) -> World {
    let (clock, path) = (ManualClock::new(), ReleasePath::closed());
    let policy = Arc::new(Mutex::new(asks()));
    let sealed = Arc::new(Mutex::new(outgoing()));
    let seen = Seen::default();
    let log = Arc::clone(&seen);
    let probe = ReadyProbe::new(move |request: Request<String>| {
        let ext = request.extensions();
        log.lock().unwrap().push((ext.get().cloned(), ext.get().cloned().unwrap()));
        Response::new("done".to_owned())
    });
    let layer = AwaitApprovalLayer::new(Arc::clone(&store))
        .clock(clock.clone())
        .upstream(|_| "https://support.example".to_owned())
        .release_through(path.clone())
        .settles_itself();
    let layered = customise(layer).layer(probe);
    let (rules, bytes) = (Arc::clone(&policy), Arc::clone(&sealed));
    let decided = tower::service_fn(move |mut request: Request<String>| {
        let policy = Arc::clone(&*rules.lock().unwrap());
        let decision = policy(request.extensions().get());
        let inner = layered.clone();
        let bytes = bytes.lock().unwrap().clone();
        async move {
            match decision {
                Err(refusal) => Ok(refusal.into_response()),
                Ok(decision) => {
                    request.extensions_mut().insert(decision);
                    request.extensions_mut().insert(bytes);
                    inner.oneshot(request).await
                }
            }
        }
    });
    let stack = BoxCloneSyncService::new(decided);
    let releaser = Releaser::new(Arc::clone(&store), stack.clone()).clock(clock.clone());
    path.open(move |approval, principal| releaser.release(approval, principal));
    World { store, clock, seen, stack, path, policy, sealed }
}

impl World {
    fn request(&self) -> Request<String> {
        let mut request = Request::new(String::new());
        request.extensions_mut().insert(person("ana"));
        request.extensions_mut().insert(operation());
        request
    }

    async fn call(&self, request: Request<String>) -> Response<String> {
        self.stack.clone().oneshot(request).await.unwrap()
    }

    async fn only(&self) -> Approval {
        let mut all = self.store.list(Filter::at(self.clock.now())).await.unwrap();
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    async fn phase(&self) -> Phase {
        self.only().await.state_at(self.clock.now()).phase()
    }

    /// Lets a held request reach its first look.
    async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    async fn approve(&self) -> Approval {
        let row = self.only().await;
        self.store.vote(yes(&row.asked, &person("bob"), &["owners"])).await.unwrap();
        self.only().await
    }

    fn releaser(&self) -> Releaser<Inner, String> {
        Releaser::new(Arc::clone(&self.store), self.stack.clone()).clock(self.clock.clone())
    }

    fn sent(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// Asks by ticket, has it approved, and then changes the world.
    async fn approved_ticket(&self) -> Approval {
        assert!(self.call(self.request()).await.body().starts_with("ticket "));
        self.approve().await
    }
}

fn tickets(layer: AwaitApprovalLayer<String>) -> AwaitApprovalLayer<String> {
    layer.tickets(Arc::new(Kickoffs)).wait_for(|_, _| Wait::Ticket)
}

fn hold(secs: u64) -> impl Fn(AwaitApprovalLayer<String>) -> AwaitApprovalLayer<String> {
    move |layer| layer.wait_for(move |_, _| Wait::Hold(Duration::from_secs(secs)))
}

fn code(answer: &Response<String>) -> (u16, &'static str) {
    (answer.status().as_u16(), answer.extensions().get::<Refusal>().map_or("", |refusal| refusal.code))
}

#[tokio::test]
async fn what_is_allowed_without_approvals_passes() {
    let world = world(tickets);
    *world.policy.lock().unwrap() = Arc::new(|_| Ok(Decision::allow()));
    let answer = world.call(world.request()).await;
    assert_eq!((answer.body().as_str(), world.sent()), ("done", 1));
    assert!(world.seen.lock().unwrap()[0].0.is_none(), "no release was needed, none was made");
    assert!(world.store.list(Filter::at(world.clock.now())).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_inner_service_that_was_found_ready_is_the_one_called() {
    let layer = AwaitApprovalLayer::new(Arc::new(MemoryStore::new()));
    let mut service = layer.layer(ReadyProbe::new(|_: Request<String>| Response::new("done".to_owned())));
    for _ in 0..2 {
        let mut request = Request::new(String::new());
        request.extensions_mut().insert(person("ana"));
        request.extensions_mut().insert(operation());
        request.extensions_mut().insert(outgoing());
        request.extensions_mut().insert(Decision::allow());
        let answer = service.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!(answer.body(), "done");
    }
}

#[tokio::test]
async fn a_request_that_lacks_any_value_is_refused() {
    let probe = ReadyProbe::new(|_: Request<String>| Response::new("done".to_owned()));
    let service = AwaitApprovalLayer::new(Arc::new(MemoryStore::new())).layer(probe.clone());
    for missing in 0..4 {
        let mut request = Request::new(String::new());
        let ext = request.extensions_mut();
        ext.insert(person("ana"));
        ext.insert(operation());
        ext.insert(outgoing());
        ext.insert(Decision::allow());
        match missing {
            0 => drop(ext.remove::<Principal>()),
            1 => drop(ext.remove::<Operation>()),
            2 => drop(ext.remove::<Outgoing>()),
            _ => drop(ext.remove::<Decision>()),
        }
        let answer = service.clone().oneshot(request).await.unwrap();
        assert_eq!(code(&answer), (403, "approval_unprepared"));
    }
    assert_eq!(probe.calls(), 0);
}

#[tokio::test]
async fn a_refusal_that_got_this_far_goes_no_further() {
    let world = world(tickets);
    *world.policy.lock().unwrap() = Arc::new(|_| Ok(Decision::refuse("never")));
    assert_eq!(code(&world.call(world.request()).await), (403, "not_permitted"));
    assert_eq!(world.sent(), 0);
}

#[tokio::test]
async fn approvals_that_nobody_claimed_open_nothing() {
    let world = world(tickets);
    let mut request = world.request();
    let approvals = Approvals { approval: crewgate_core::ApprovalId::random(), sets: duties().approvals };
    request.extensions_mut().insert(approvals);
    assert_eq!(code(&world.call(request).await), (403, "approval_unspent"));
    assert_eq!(world.sent(), 0);
}

#[tokio::test]
async fn a_ticket_is_answered_at_once_and_the_request_waits_as_it_was_asked() {
    let world = world(tickets);
    let (trail, mut request) = (Trail::new(RequestId::random()), world.request());
    request.extensions_mut().insert(trail.clone());
    let answer = world.call(request).await;
    let row = world.only().await;
    assert_eq!(answer.body(), &format!("ticket {}", row.asked.run.unwrap()));
    assert_eq!((world.sent(), row.state.phase()), (0, Phase::Pending));
    assert_eq!(row.asked.request, trail.request());
    assert_eq!((&row.asked.requester, &row.asked.outgoing), (&person("ana"), &outgoing()));
    assert_eq!(row.sets(), duties().approvals);
    assert_eq!(row.asked.digest.to_string(), {
        let digest =
            crewgate_approval::digest(&outgoing(), &person("ana"), &operation(), "https://support.example");
        digest.to_string()
    });
    let facts = trail.facts();
    assert!(
        matches!(
            facts.as_slice(),
            [Fact::Approval { approval, step: ApprovalStep::Requested { .. } }] if *approval == row.id()
        ),
        "{facts:?}"
    );
}

#[tokio::test]
async fn an_approved_ticket_is_released_once_with_the_bytes_that_were_approved() {
    let world = world(tickets);
    let row = world.approved_ticket().await;
    let answer = world.releaser().release(row.clone(), person("ana")).await.unwrap();
    assert_eq!(answer.body(), "done");
    let (release, sent) = world.seen.lock().unwrap()[0].clone();
    let release = release.unwrap();
    assert_eq!((release.approval(), release.digest()), (row.id(), row.asked.digest));
    assert_eq!(sent, outgoing());
    assert_eq!(world.phase().await, Phase::Executed);
    assert!(world.releaser().release(row, person("ana")).await.is_none(), "it was spent");
    assert_eq!(world.sent(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_approval_is_spent_once_among_thirty_two_claimants() {
    let world = world(tickets);
    let row = world.approved_ticket().await;
    let releaser = world.releaser();
    let all = (0..32).map(|_| {
        let (releaser, row) = (releaser.clone(), row.clone());
        tokio::spawn(async move { releaser.release(row, person("ana")).await.is_some() })
    });
    let mut won = 0;
    for one in all.collect::<Vec<_>>() {
        won += usize::from(one.await.unwrap());
    }
    assert_eq!((won, world.sent()), (1, 1));
}

#[tokio::test]
async fn nobody_else_releases_it() {
    let world = world(tickets);
    let row = world.approved_ticket().await;
    assert!(world.releaser().release(row.clone(), person("eve")).await.is_none());
    let mut other_client = person("ana");
    other_client.client = Some("script".to_owned());
    assert!(world.releaser().release(row, other_client).await.is_none());
    assert_eq!((world.phase().await, world.sent()), (Phase::Approved, 0));
}

#[tokio::test]
async fn what_is_not_approved_is_not_released() {
    let world = world(tickets);
    world.call(world.request()).await;
    assert!(world.releaser().release(world.only().await, person("ana")).await.is_none());
    assert_eq!((world.phase().await, world.sent()), (Phase::Pending, 0));
}

#[tokio::test]
async fn a_release_under_another_decision_is_invalidated() {
    let with = |change: fn(&mut Duties)| -> PolicyFn {
        Arc::new(move |_| {
            let mut duties = duties();
            change(&mut duties);
            Ok(Decision::Allow { duties, basis: crewgate_core::Basis::default() })
        })
    };
    let asks_again: PolicyFn = Arc::new(|_| asks()(None));
    let refuses: PolicyFn = Arc::new(|_| Ok(Decision::refuse("frozen")));
    for (policy, says) in [
        (with(|duties| duties.masks = [MaskProfile::new("pii")].into()), "masks"),
        (with(|duties| duties.approvals = [set("owners"), set("legal")].into()), "approvals"),
        (with(|duties| duties.approvals.clear()), "approvals"),
        (asks_again, "more approvals"),
        (refuses, "frozen"),
    ] {
        let world = world(tickets);
        let row = world.approved_ticket().await;
        *world.policy.lock().unwrap() = policy;
        let answer = world.releaser().release(row.clone(), person("ana")).await.unwrap();
        assert_eq!(code(&answer), (409, "approval_invalidated"));
        assert_eq!(answer.extensions().get::<Refusal>().unwrap().approval, Some(row.id()));
        let State::Invalidated { reason } = world.only().await.state else { panic!("{says}") };
        assert!(reason.contains(says), "{reason}");
        // For ever, also when policy changes back.
        *world.policy.lock().unwrap() = asks();
        assert!(world.releaser().release(row, person("ana")).await.is_none());
        assert_eq!(world.sent(), 0);
    }
}

#[tokio::test]
async fn a_release_of_other_bytes_is_invalidated() {
    let world = world(tickets);
    let row = world.approved_ticket().await;
    world.sealed.lock().unwrap().body = "{}".into();
    let answer = world.releaser().release(row, person("ana")).await.unwrap();
    assert_eq!(code(&answer), (409, "approval_invalidated"));
    assert_eq!((world.phase().await, world.sent()), (Phase::Invalidated, 0));
}

#[tokio::test]
async fn a_release_to_another_address_is_invalidated() {
    let address = Arc::new(Mutex::new("https://one.example".to_owned()));
    let current = Arc::clone(&address);
    let world = world(move |layer| tickets(layer).upstream(move |_| current.lock().unwrap().clone()));
    let row = world.approved_ticket().await;
    *address.lock().unwrap() = "https://two.example".to_owned();
    let answer = world.releaser().release(row, person("ana")).await.unwrap();
    assert_eq!(code(&answer), (409, "approval_invalidated"));
    assert_eq!(world.sent(), 0);
}

#[tokio::test]
async fn a_release_that_the_policy_layer_itself_refuses_is_invalidated() {
    let world = world(tickets);
    let row = world.approved_ticket().await;
    *world.policy.lock().unwrap() = Arc::new(|_| {
        Err(Box::new(Refusal::new(By::Policy, StatusCode::FORBIDDEN, "not_permitted", "the role has ended")))
    });
    let answer = world.releaser().release(row, person("ana")).await.unwrap();
    assert_eq!(code(&answer), (403, "not_permitted"));
    assert_eq!((world.phase().await, world.sent()), (Phase::Invalidated, 0));
}

#[tokio::test]
async fn a_release_that_fails_for_now_is_given_back() {
    let world = world(tickets);
    let row = world.approved_ticket().await;
    *world.policy.lock().unwrap() = Arc::new(|_| {
        Err(Box::new(Refusal::new(By::Policy, StatusCode::SERVICE_UNAVAILABLE, "roles_unavailable", "later")))
    });
    let answer = world.releaser().release(row.clone(), person("ana")).await.unwrap();
    assert_eq!(code(&answer).0, 503);
    assert_eq!((world.phase().await, world.sent()), (Phase::Approved, 0));
    *world.policy.lock().unwrap() = asks();
    assert_eq!(world.releaser().release(row, person("ana")).await.unwrap().body(), "done");
    assert_eq!(world.sent(), 1);
}

#[tokio::test]
async fn a_release_whose_caller_leaves_runs_to_its_end() {
    let world = world(tickets);
    let row = world.approved_ticket().await;
    drop(world.releaser().release(row, person("ana")));
    while world.phase().await != Phase::Executed {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.sent(), 1);
}

#[tokio::test]
async fn an_attempt_that_broke_after_it_was_sent_is_indeterminate_and_not_repeated() {
    let store: Arc<dyn ApprovalStore> = Arc::new(MemoryStore::new());
    let clock = ManualClock::new();
    let layer = AwaitApprovalLayer::<String>::new(Arc::clone(&store)).clock(clock.clone()).settles_itself();
    let broken =
        tower::service_fn(|_: Request<String>| async { Err::<Response<String>, _>("reset by peer") });
    let stack =
        layer.wait_for(|_, _| Wait::Ticket).layer(broken).map_request(|mut request: Request<String>| {
            let decision = asks()(request.extensions().get()).unwrap();
            request.extensions_mut().insert(decision);
            request.extensions_mut().insert(outgoing());
            request
        });
    let mut request = Request::new(String::new());
    request.extensions_mut().insert(person("ana"));
    request.extensions_mut().insert(operation());
    assert_eq!(stack.clone().oneshot(request).await.unwrap().status(), 202);
    let row = store.list(Filter::at(clock.now())).await.unwrap().remove(0);
    store.vote(yes(&row.asked, &person("bob"), &["owners"])).await.unwrap();
    let releaser = Releaser::new(Arc::clone(&store), stack).clock(clock.clone());
    let answer = releaser.release(row.clone(), person("ana")).await.unwrap();
    assert_eq!(code(&answer), (500, "release_failed"));
    assert_eq!(store.find(row.id()).await.unwrap().unwrap().state, State::Indeterminate);
    assert!(releaser.release(row, person("ana")).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_held_request_is_answered_when_it_is_approved() {
    let world = world(hold(20));
    let answer = tokio::spawn(world.stack.clone().oneshot(world.request()));
    world.settle().await;
    world.approve().await;
    let answer = answer.await.unwrap().unwrap();
    assert_eq!((answer.status(), answer.body().as_str()), (StatusCode::OK, "done"));
    assert_eq!((world.phase().await, world.sent()), (Phase::Executed, 1));
}

#[tokio::test(start_paused = true)]
async fn a_held_request_is_refused_when_it_is_denied() {
    let world = world(hold(20));
    let answer = tokio::spawn(world.stack.clone().oneshot(world.request()));
    world.settle().await;
    let row = world.only().await;
    world.store.vote(no(&row.asked, &person("bob"), &["owners"])).await.unwrap();
    let answer = answer.await.unwrap().unwrap();
    assert_eq!(code(&answer), (403, "approval_denied"));
    let refusal = answer.extensions().get::<Refusal>().unwrap();
    assert_eq!(refusal.approval, Some(row.id()));
    assert!(refusal.detail.contains("because"), "the caller reads the approver's reason: {}", refusal.detail);
}

#[tokio::test(start_paused = true)]
async fn a_held_request_sees_a_change_that_no_hint_announced() {
    let world = world(|layer| hold(20)(layer).undecided_for(Duration::from_secs(10)));
    let started = tokio::time::Instant::now();
    let answer = tokio::spawn(world.stack.clone().oneshot(world.request()));
    world.settle().await;
    // Only the clock moves: an end by evaluation rings nothing.
    world.clock.advance(Duration::from_secs(10));
    assert_eq!(code(&answer.await.unwrap().unwrap()), (403, "approval_expired"));
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_held_request_that_nobody_decides_becomes_a_ticket() {
    let world = world(|layer| hold(20)(layer).tickets(Arc::new(Kickoffs)));
    let started = tokio::time::Instant::now();
    let answer = world.call(world.request()).await;
    assert_eq!(started.elapsed(), Duration::from_secs(20));
    assert_eq!(answer.body(), &format!("ticket {}", world.only().await.asked.run.unwrap()));
    assert_eq!(world.phase().await, Phase::Pending);
}

#[tokio::test(start_paused = true)]
async fn without_a_ticket_the_caller_is_told_where_to_look() {
    let world = world(hold(20));
    let answer = world.call(world.request()).await;
    assert_eq!(code(&answer), (202, "approval_pending"));
    assert_eq!(answer.headers()["location"], format!("/approvals/{}", world.only().await.id()));
    assert_eq!(answer.headers()["retry-after"], "15");
    assert_eq!(world.phase().await, Phase::Pending);
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_hangs_up_changes_nothing() {
    let world = world(hold(20));
    let answer = tokio::spawn(world.stack.clone().oneshot(world.request()));
    world.settle().await;
    answer.abort();
    assert!(answer.await.unwrap_err().is_cancelled());
    assert_eq!(world.phase().await, Phase::Pending);
    let row = world.approve().await;
    assert_eq!(world.releaser().release(row, person("ana")).await.unwrap().body(), "done");
    assert_eq!(world.sent(), 1);
}

#[tokio::test(start_paused = true)]
async fn held_requests_are_bounded_and_the_seat_is_given_back() {
    let one = NonZeroUsize::MIN;
    let world = world(|layer| hold(20)(layer).hold_limit(one, None));
    let first = tokio::spawn(world.stack.clone().oneshot(world.request()));
    world.settle().await;
    let second = world.call(world.request()).await;
    assert_eq!(code(&second), (503, "approval_crowded"));
    let row = world.only().await; // the second one asked nobody
    world.store.vote(no(&row.asked, &person("bob"), &["owners"])).await.unwrap();
    assert_eq!(code(&first.await.unwrap().unwrap()), (403, "approval_denied"));
    let third = tokio::spawn(world.stack.clone().oneshot(world.request()));
    world.settle().await;
    third.abort();
    assert!(third.await.is_err());
    assert_eq!(code(&world.call(world.request()).await).0, 202, "a hang-up gives its seat back too");
}

#[tokio::test(start_paused = true)]
async fn so_many_of_one_identity_wait_and_no_more_until_one_is_decided() {
    let world = world(|layer| layer.waiting_each(NonZeroUsize::MIN).tickets(Arc::new(Kickoffs)));
    let first = tokio::spawn(world.stack.clone().oneshot(world.request()));
    world.settle().await;
    let answer = world.call(world.request()).await;
    assert_eq!(code(&answer), (429, "approval_too_many_waiting"));
    let row = world.only().await; // the second one asked nobody
    world.store.vote(no(&row.asked, &person("bob"), &["owners"])).await.unwrap();
    assert_eq!(code(&first.await.unwrap().unwrap()), (403, "approval_denied"));
    let third = tokio::spawn(world.stack.clone().oneshot(world.request()));
    world.settle().await;
    let pending = Filter::at(world.clock.now()).phase(Phase::Pending);
    assert_eq!(world.store.list(pending).await.unwrap().len(), 1);
    third.abort();
}

#[tokio::test(start_paused = true)]
async fn where_there_are_tickets_a_crowd_gets_tickets() {
    let world =
        world(|layer| hold(20)(layer).hold_limit(NonZeroUsize::MIN, None).tickets(Arc::new(Kickoffs)));
    let first = tokio::spawn(world.stack.clone().oneshot(world.request()));
    world.settle().await;
    let started = tokio::time::Instant::now();
    assert!(world.call(world.request()).await.body().starts_with("ticket "));
    assert_eq!(started.elapsed(), Duration::ZERO);
    assert!(!first.is_finished());
}

#[tokio::test(start_paused = true)]
async fn with_a_closed_path_an_approved_request_is_left_to_its_owner() {
    let world = world(|layer| hold(20)(layer).tickets(Arc::new(Kickoffs)));
    world.path.close();
    let answer = tokio::spawn(world.stack.clone().oneshot(world.request()));
    world.settle().await;
    world.approve().await;
    assert!(answer.await.unwrap().unwrap().body().starts_with("ticket "));
    assert_eq!((world.phase().await, world.sent()), (Phase::Approved, 0));
}

#[tokio::test]
async fn a_store_that_fails_refuses() {
    let broken = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&broken);
    let store = MemoryStore::new().record(move |_| match switch.load(Ordering::SeqCst) {
        true => Err(StoreError::Unavailable("disk full".to_owned())),
        false => Ok(()),
    });
    let world = world_on(Arc::new(store), tickets);
    let answer = world.call(world.request()).await;
    assert_eq!(code(&answer), (503, "approval_unavailable"));
    broken.store(false, Ordering::SeqCst);
    let row = world.approved_ticket().await;
    // Not even a claim that cannot be recorded.
    broken.store(true, Ordering::SeqCst);
    let answer = world.releaser().release(row, person("ana")).await.unwrap();
    assert_eq!(code(&answer), (503, "approval_unavailable"));
    assert_eq!((world.phase().await, world.sent()), (Phase::Approved, 0));
}

#[tokio::test]
async fn an_intent_that_cannot_be_kept_sends_nothing() {
    let world = world_on(
        Arc::new(MemoryStore::new().record(|fact| match fact {
            Fact::Released { .. } => Err(StoreError::Unknown("commit".to_owned())),
            _ => Ok(()),
        })),
        tickets,
    );
    let row = world.approved_ticket().await;
    let answer = world.releaser().release(row, person("ana")).await.unwrap();
    assert_eq!(code(&answer), (503, "approval_unknown"));
    assert_eq!((world.phase().await, world.sent()), (Phase::Approved, 0));
}

#[tokio::test]
async fn the_gateway_starts_only_tickets_whose_groups_were_seen_recently() {
    let max_age = Duration::from_secs(60);
    let world = world(|layer| tickets(layer).release_mode(move |_| ReleaseMode::AutoRun { max_age }));
    let row = world.approved_ticket().await;
    let store = &*world.store;
    let found = pending_auto_runs(store, world.clock.now().saturating_add(max_age)).await.unwrap();
    assert_eq!(found.iter().map(|(row, _)| row.id()).collect::<Vec<_>>(), [row.id()]);
    let late = world.clock.now().saturating_add(max_age + Duration::from_micros(1));
    assert!(pending_auto_runs(store, late).await.unwrap().is_empty());
    world.releaser().release(row, person("ana")).await.unwrap();
    assert!(pending_auto_runs(store, world.clock.now()).await.unwrap().is_empty());
}

#[tokio::test]
async fn without_a_ticket_its_owner_starts_it() {
    let max_age = Duration::from_secs(3600);
    let world = world(move |layer| {
        layer.wait_for(|_, _| Wait::Ticket).release_mode(move |_| ReleaseMode::AutoRun { max_age })
    });
    assert_eq!(world.call(world.request()).await.status(), StatusCode::ACCEPTED);
    assert_eq!(world.approve().await.asked.release, ReleaseMode::Claim);
    assert!(pending_auto_runs(&*world.store, world.clock.now()).await.unwrap().is_empty());
}

//! Ways to wait: what a caller prefers, where it comes back to, and who is let go when the gateway ends.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{convert::Infallible, num::NonZeroUsize, sync::Arc, time::Duration};

use crewgate_approval::{
    ApprovalStore, AwaitApprovalLayer, Filter, MemoryStore, Phase, Preference, ReleasePath, Releaser, State,
    Wait, WaitingRoom,
};
use crewgate_core::{ApprovalId, Approvals, Basis, Clock, Decision, Duties, Principal, Refusal};
use crewgate_testkit::{
    ManualClock,
    suites::approval::{no, operation, outgoing, person, set, yes},
};
use http::{Request, Response};
use tower::{Layer, ServiceExt, util::BoxCloneSyncService};

type Stack = BoxCloneSyncService<Request<String>, Response<String>, Infallible>;

struct World {
    store: Arc<dyn ApprovalStore>,
    clock: ManualClock,
    stack: Stack,
    path: ReleasePath<String>,
    room: WaitingRoom<String>,
}

/// One policy: everything needs an owner. One crew: it answers `done`.
fn world(customise: impl FnOnce(AwaitApprovalLayer<String>) -> AwaitApprovalLayer<String>) -> World {
    let (clock, path) = (ManualClock::new(), ReleasePath::closed());
    let store: Arc<dyn ApprovalStore> = Arc::new(MemoryStore::new());
    let layer = AwaitApprovalLayer::new(Arc::clone(&store))
        .clock(clock.clone())
        .release_through(path.clone())
        .outcome(async |_| Some(Response::new("as it was".to_owned())))
        .settles_itself();
    let layer = customise(layer);
    let room = layer.waiting_room();
    let inner = layer.layer(tower::service_fn(async |_: Request<String>| {
        Ok::<_, Infallible>(Response::new("done".to_owned()))
    }));
    let stack = inner.map_request(|mut request: Request<String>| {
        let duties = Duties { approvals: [set("owners")].into(), ..Duties::default() };
        let basis = Basis::default();
        let decision = match request.extensions().get::<Approvals>() {
            Some(approvals) if approvals.sets == duties.approvals => Decision::Allow { duties, basis },
            _ => Decision::Ask { approvals: duties.approvals.clone(), duties, basis },
        };
        request.extensions_mut().insert(decision);
        request.extensions_mut().insert(outgoing());
        request
    });
    let stack = BoxCloneSyncService::new(stack);
    let releaser = Releaser::new(Arc::clone(&store), stack.clone()).clock(clock.clone());
    path.open(move |approval, principal| releaser.release(approval, principal));
    World { store, clock, stack, path, room }
}

impl World {
    async fn call(&self, prefer: Option<&str>) -> Response<String> {
        let mut request = Request::new(String::new());
        if let Some(prefer) = prefer {
            request.headers_mut().insert("prefer", prefer.parse().unwrap());
        }
        request.extensions_mut().insert(person("ana"));
        request.extensions_mut().insert(operation());
        self.stack.clone().oneshot(request).await.unwrap()
    }

    /// Asks, is let go, and gives the id of what waits.
    async fn let_go(&self) -> ApprovalId {
        assert_eq!(self.call(Some("respond-async")).await.status(), 202);
        self.only().await
    }

    async fn only(&self) -> ApprovalId {
        let all = self.store.list(Filter::at(self.clock.now())).await.unwrap();
        assert_eq!(all.len(), 1);
        all.first().unwrap().id()
    }

    async fn vote(&self, id: ApprovalId, approve: bool) {
        let row = self.store.find(id).await.unwrap().unwrap();
        let bob = person("bob");
        let ballot =
            if approve { yes(&row.asked, &bob, &["owners"]) } else { no(&row.asked, &bob, &["owners"]) };
        self.store.vote(ballot).await.unwrap();
    }

    async fn look(&self, id: ApprovalId, who: &Principal, wait: Option<u64>) -> Response<String> {
        let preference = Preference { wait: wait.map(Duration::from_secs), respond_async: false };
        self.room.answer(id, who, preference).await
    }
}

fn code(answer: &Response<String>) -> (u16, &'static str) {
    (answer.status().as_u16(), answer.extensions().get::<Refusal>().map_or("", |refusal| refusal.code))
}

fn applied(answer: &Response<String>) -> Option<&str> {
    answer.headers().get("preference-applied").map(|value| value.to_str().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_caller_is_held_as_long_as_it_prefers_and_no_longer_than_it_may() {
    let world = world(|layer| layer.longest_wait(|_| Duration::from_secs(40)));
    for (prefer, secs, said) in [
        (None, 25, None),
        (Some("respond-async"), 0, Some("respond-async")),
        (Some("wait=3"), 3, Some("wait=3")),
        (Some("wait=3, respond-async"), 3, Some("wait=3, respond-async")),
        (Some("wait=3600"), 40, Some("wait=40")),
    ] {
        let before = tokio::time::Instant::now();
        let answer = world.call(prefer).await;
        assert_eq!(code(&answer), (202, "approval_pending"), "{prefer:?}");
        assert_eq!((before.elapsed().as_secs(), applied(&answer)), (secs, said), "{prefer:?}");
        assert!(answer.headers()["location"].to_str().unwrap().starts_with("/approvals/"));
        assert_eq!(answer.headers()["retry-after"], "15");
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_starts_what_was_approved_and_reads_its_outcome_ever_after() {
    let world = world(|layer| layer);
    let id = world.let_go().await;
    let ana = person("ana");
    assert_eq!(code(&world.look(id, &ana, None).await), (202, "approval_pending"));
    world.vote(id, true).await;
    let answer = world.look(id, &ana, None).await;
    assert_eq!((answer.status().as_u16(), answer.body().as_str()), (200, "done"));
    for _ in 0..2 {
        assert_eq!(world.look(id, &ana, None).await.body(), "as it was");
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_can_wait_there() {
    let world = Arc::new(world(|layer| layer));
    let id = world.let_go().await;
    let waiting = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.look(id, &person("ana"), Some(30)).await }
    });
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.vote(id, true).await;
    let answer = waiting.await.unwrap();
    assert_eq!((answer.body().as_str(), applied(&answer)), ("done", Some("wait=30")));
}

#[tokio::test]
async fn what_is_not_ones_own_does_not_exist() {
    let world = world(|layer| layer);
    let id = world.let_go().await;
    world.vote(id, true).await;
    let mut other_client = person("ana");
    other_client.client = Some("script".to_owned());
    for (id, who) in [(id, person("eve")), (id, other_client), (ApprovalId::random(), person("ana"))] {
        assert_eq!(code(&world.look(id, &who, None).await), (404, "approval_not_found"));
        assert_eq!(world.room.watch(id, &who).await.unwrap_err().code, "approval_not_found");
    }
    let row = world.store.find(id).await.unwrap().unwrap();
    assert_eq!(row.state.phase(), Phase::Approved, "nobody else starts it");
}

#[tokio::test]
async fn a_no_is_told_with_its_reason() {
    let world = world(|layer| layer);
    let id = world.let_go().await;
    world.vote(id, false).await;
    assert_eq!(code(&world.look(id, &person("ana"), None).await), (403, "approval_denied"));
}

#[tokio::test(start_paused = true)]
async fn a_watch_tells_every_state_once_and_ends_with_the_last() {
    let world = world(|layer| layer);
    let id = world.let_go().await;
    let mut watch = world.room.watch(id, &person("ana")).await.unwrap();
    assert_eq!(watch.next().await, Some(State::Pending));
    assert!(tokio::time::timeout(Duration::from_secs(60), watch.next()).await.is_err(), "nothing moved");
    world.vote(id, true).await;
    assert!(matches!(watch.next().await, Some(State::Approved { .. })));
    world.look(id, &person("ana"), None).await;
    let last = watch.next().await;
    assert!(matches!(last, Some(State::Executed { .. })), "{last:?}");
    assert_eq!(watch.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn one_more_than_may_be_held_is_told_when_to_come_back_and_nobody_is_asked() {
    let world = world(|layer| layer.hold_limit(NonZeroUsize::MIN, None));
    let id = world.let_go().await;
    let watch = world.room.watch(id, &person("ana")).await.unwrap();
    for answer in [world.call(None).await, world.look(id, &person("ana"), Some(5)).await] {
        assert_eq!(code(&answer), (503, "approval_crowded"));
        assert!(answer.extensions().get::<Refusal>().unwrap().retry_after.is_some());
    }
    assert_eq!(world.only().await, id, "nobody was asked a second time");
    // Who does not wait needs no seat.
    assert_eq!(code(&world.look(id, &person("ana"), None).await), (202, "approval_pending"));
    drop(watch);
    assert_eq!(code(&world.call(Some("wait=1")).await), (202, "approval_pending"));
}

#[tokio::test(start_paused = true)]
async fn whoever_is_held_when_the_gateway_ends_is_let_go_and_nothing_else_happens() {
    let world = Arc::new(world(|layer| layer.wait_for(|_, _| Wait::Hold(Duration::from_secs(3600)))));
    let held = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.call(None).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let id = world.only().await;
    let mut watch = world.room.watch(id, &person("ana")).await.unwrap();
    assert_eq!(watch.next().await, Some(State::Pending));
    world.path.close();
    assert_eq!(code(&held.await.unwrap()), (202, "approval_pending"));
    assert_eq!(watch.next().await, None);
    let row = world.store.find(id).await.unwrap().unwrap();
    assert_eq!(row.state_at(world.clock.now()), State::Pending);
}

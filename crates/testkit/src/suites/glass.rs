//! What every [`ApprovalStore`](crewgate_approval::ApprovalStore) must do with break-glass.
//!
//! Call [`conforms`] with a closure that makes an empty store, from an integration test on the multi-threaded runtime.
#![expect(clippy::unwrap_used, reason = "a suite fails by panicking")]

use std::{future::Future, time::Duration};

use crewgate_approval::{
    BreakError, Filter, GlassBreak, Hindsight, MOST_UNREVIEWED, NewApproval, Phase, ReleaseMode, ReviewError,
    State, VoteError, pending_auto_runs,
};
use crewgate_core::{Principal, RunId, Timestamp, Verdict};

use super::approval::{Store, asked, linked, no, person, program, set, start, yes};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn after(seconds: u64) -> Timestamp {
    start().saturating_add(Duration::from_secs(seconds))
}

/// That this principal breaks the glass for this request, as the configuration `owners` → `security` allows, ten seconds
/// after the start.
#[must_use]
pub fn glass(of: &NewApproval, by: &Principal) -> GlassBreak {
    GlassBreak {
        approval: of.id,
        digest: of.digest,
        by: by.clone(),
        instead_of: [set("owners")].into(),
        reviewers: [set("security")].into(),
        within: DAY,
        reason: "production is down and nobody answers".to_owned(),
        at: after(10),
        gives: None,
    }
}

/// That this person, of these sets, finds it right an hour after the start.
#[must_use]
pub fn hindsight(of: &NewApproval, by: &Principal, sets: &[&str]) -> Hindsight {
    Hindsight {
        approval: of.id,
        by: by.clone(),
        sets: sets.iter().map(|name| set(name)).collect(),
        verdict: Verdict::Approve,
        reason: "I saw the outage".to_owned(),
        at: after(3600),
    }
}

/// Runs every behaviour, each on a store of its own.
///
/// # Panics
///
/// When one does not hold.
pub async fn conforms<F, Fut>(fresh: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Store>,
{
    a_broken_glass_lets_go_without_a_vote(fresh().await).await;
    only_who_asked_breaks_it_and_only_what_it_stands_for(fresh().await).await;
    what_was_decided_is_not_broken(fresh().await).await;
    somebody_else_closes_its_review_once(fresh().await).await;
    a_review_that_is_late_locks_every_identity_of_a_person(fresh().await).await;
    as_many_as_may_be_wait_for_their_review(fresh().await).await;
}

async fn opened(store: &Store, by: &Principal, needs: &[(&str, u32)]) -> NewApproval {
    let new = asked(by, needs);
    store.open(new.clone()).await.unwrap();
    new
}

async fn broken(store: &Store, by: &Principal) -> NewApproval {
    let new = opened(store, by, &[("owners", 1)]).await;
    store.break_glass(glass(&new, by)).await.unwrap();
    new
}

async fn a_broken_glass_lets_go_without_a_vote(store: Store) {
    let ana = person("ana");
    let new = broken(&store, &ana).await;
    let row = store.find(new.id).await.unwrap().unwrap();
    let usable = after(10).saturating_add(new.usable_for);
    assert_eq!(row.state, State::Approved { at: after(10), until: usable });
    assert!(row.votes.is_empty(), "that nobody has said yes stays visible");
    let broken = row.broken.clone().unwrap();
    assert_eq!((broken.by, broken.due), (ana.clone(), after(10).saturating_add(DAY)));
    // It starts at once, whatever its release says: the requester is there.
    assert_eq!(new.release, ReleaseMode::Claim);
    let started = pending_auto_runs(&*store, after(11)).await.unwrap();
    assert_eq!(
        started.iter().map(|(row, who)| (row.id(), who.key.clone())).collect::<Vec<_>>(),
        [(new.id, ana.key.clone())]
    );
    let lease = store.claim(new.id, after(11), Duration::from_secs(60)).await.unwrap().unwrap();
    store.mark_sent(lease, after(11)).await.unwrap();
    assert_eq!(
        store.break_glass(glass(&new, &ana)).await.unwrap_err(),
        BreakError::NotPending(store.find(new.id).await.unwrap().unwrap().state)
    );
}

async fn only_who_asked_breaks_it_and_only_what_it_stands_for(store: Store) {
    let ana = linked("okta", "ana", "Ana");
    let new = opened(&store, &ana, &[("owners", 1)]).await;
    let refused = async |glass: GlassBreak| store.break_glass(glass).await.unwrap_err();
    assert_eq!(refused(glass(&new, &person("bob"))).await, BreakError::NotRequester);
    assert_eq!(refused(glass(&new, &linked("entra", "ana", "Ana"))).await, BreakError::NotRequester);
    assert_eq!(refused(glass(&new, &program("ana"))).await, BreakError::NotRequester);
    let stale = glass(&asked(&person("eve"), &[("owners", 1)]), &ana);
    assert_eq!(refused(GlassBreak { approval: new.id, ..stale }).await, BreakError::DigestMismatch);
    let terse = "because            ".to_owned();
    assert_eq!(refused(GlassBreak { reason: terse, ..glass(&new, &ana) }).await, BreakError::Terse);
    let nobody = GlassBreak { reviewers: Default::default(), ..glass(&new, &ana) };
    assert_eq!(refused(nobody).await, BreakError::NotCovered);
    let legal = opened(&store, &ana, &[("owners", 1), ("legal", 1)]).await;
    assert_eq!(refused(glass(&legal, &ana)).await, BreakError::NotCovered);
    let unknown = asked(&ana, &[("owners", 1)]);
    assert_eq!(refused(glass(&unknown, &ana)).await, BreakError::Unknown);
    assert_eq!(store.find(new.id).await.unwrap().unwrap().state, State::Pending);
}

async fn what_was_decided_is_not_broken(store: Store) {
    let ana = person("ana");
    let new = opened(&store, &ana, &[("owners", 1)]).await;
    store.vote(no(&new, &person("bob"), &["owners"])).await.unwrap();
    let denied = store.break_glass(glass(&new, &ana)).await;
    assert!(matches!(denied, Err(BreakError::NotPending(State::Denied { .. }))), "{denied:?}");
    let new = opened(&store, &ana, &[("owners", 1)]).await;
    let late = store.break_glass(GlassBreak { at: new.expires, ..glass(&new, &ana) }).await;
    assert_eq!(late, Err(BreakError::NotPending(State::Expired)));
    // And what is broken is decided.
    let new = broken(&store, &ana).await;
    let vote = store.vote(no(&new, &person("bob"), &["owners"])).await;
    assert!(matches!(vote, Err(VoteError::NotPending(State::Approved { .. }))), "{vote:?}");
    assert_eq!(store.find(new.id).await.unwrap().unwrap().state.phase(), Phase::Approved);
}

async fn somebody_else_closes_its_review_once(store: Store) {
    let ana = linked("okta", "ana", "Ana");
    let new = broken(&store, &ana).await;
    let open = async || {
        let filter = Filter { unreviewed: true, ..Filter::at(after(20)) };
        store.list(filter).await.unwrap().len()
    };
    assert_eq!(open().await, 1);
    let refused = async |hindsight: Hindsight| store.review(hindsight).await.unwrap_err();
    let security = ["security"].as_slice();
    assert_eq!(refused(hindsight(&new, &ana, security)).await, ReviewError::OwnRequest);
    let other_self = linked("entra", "ana", "Ana");
    assert_eq!(refused(hindsight(&new, &other_self, security)).await, ReviewError::OwnRequest);
    assert_eq!(refused(hindsight(&new, &person("bob"), &["owners"])).await, ReviewError::NotEligible);
    assert_eq!(refused(hindsight(&new, &program("bot"), security)).await, ReviewError::NotEligible);
    assert_eq!(open().await, 1);
    let before = store.find(new.id).await.unwrap().unwrap();
    store.review(hindsight(&new, &person("sam"), security)).await.unwrap();
    assert_eq!(open().await, 0);
    let row = store.find(new.id).await.unwrap().unwrap();
    assert_eq!((row.state, row.version), (before.state, before.version + 1));
    assert_eq!(row.broken.unwrap().review.unwrap().by, person("sam").key);
    assert_eq!(refused(hindsight(&new, &person("sue"), security)).await, ReviewError::Closed);
    let whole = opened(&store, &ana, &[("owners", 1)]).await;
    store.vote(yes(&whole, &person("bob"), &["owners"])).await.unwrap();
    assert_eq!(refused(hindsight(&whole, &person("sam"), security)).await, ReviewError::Closed);
    let unknown = asked(&ana, &[("owners", 1)]);
    assert_eq!(refused(hindsight(&unknown, &person("sam"), security)).await, ReviewError::Unknown);
}

async fn a_review_that_is_late_locks_every_identity_of_a_person(store: Store) {
    let (ana, other_self) = (linked("okta", "ana", "Ana"), linked("entra", "ana", "Ana"));
    let late = after(10).saturating_add(DAY);
    let first = broken(&store, &ana).await;
    let again = async |who: &Principal, at: Timestamp| {
        let new = NewApproval {
            opened: at,
            expires: at.saturating_add(Duration::from_secs(3600)),
            run: Some(RunId::random()),
            ..asked(who, &[("owners", 1)])
        };
        store.open(new.clone()).await.unwrap();
        store.break_glass(GlassBreak { at, ..glass(&new, who) }).await
    };
    assert_eq!(again(&ana, late).await, Err(BreakError::Locked));
    assert_eq!(again(&other_self, late).await, Err(BreakError::Locked));
    assert!(again(&person("eve"), late).await.is_ok(), "another person's is another's");
    store.review(Hindsight { at: late, ..hindsight(&first, &person("sam"), &["security"]) }).await.unwrap();
    assert!(again(&other_self, late).await.is_ok());
}

async fn as_many_as_may_be_wait_for_their_review(store: Store) {
    let ana = person("ana");
    let mut first = None;
    for _ in 0..MOST_UNREVIEWED {
        first = Some(broken(&store, &ana).await);
    }
    let more = opened(&store, &ana, &[("owners", 1)]).await;
    assert_eq!(store.break_glass(glass(&more, &ana)).await, Err(BreakError::Locked));
    store.review(hindsight(&first.unwrap(), &person("sam"), &["security"])).await.unwrap();
    store.break_glass(glass(&more, &ana)).await.unwrap();
}

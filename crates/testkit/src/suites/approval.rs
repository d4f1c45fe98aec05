//! What every [`ApprovalStore`] must do, whatever it is made of.
//!
//! Call [`conforms`] with a closure that makes an empty store, and [`races`] with as many rounds as the store's speed
//! allows, from an integration test on the multi-threaded runtime.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a suite fails by panicking")]

use std::{collections::BTreeSet, future::Future, num::NonZeroU32, sync::Arc, time::Duration};

use bytes::Bytes;
use crewgate_approval::{
    Approval, ApprovalStore, Ballot, CancelError, End, Filter, Finding, Found, Lease, LeaseError, Need,
    NewApproval, OpenError, Phase, ReleaseMode, Resolution, ResolveError, State, Vote, VoteError, digest,
    walk,
};
use crewgate_core::{
    Action, ApprovalId, ApproverSet, Basis, Duties, Effect, Human, HumanId, Message, Operation, Outgoing,
    Principal, PrincipalKey, PrincipalKind, RequestId, Resource, RunId, Timestamp, TokenFacts, Verdict,
};
use futures_util::StreamExt;
use http::{HeaderValue, Method, uri::PathAndQuery};

/// A store under test.
pub type Store = Arc<dyn ApprovalStore>;

/// Long enough for an attempt.
const LEASE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// The instant at which everything here is asked for: 2026-06-15T12:00:00Z.
#[must_use]
pub fn start() -> Timestamp {
    Timestamp::from_secs(1_781_524_800)
}

/// A person at the issuer `okta`.
#[must_use]
pub fn person(subject: &str) -> Principal {
    Principal {
        key: PrincipalKey::new("okta", subject),
        kind: PrincipalKind::User,
        groups: Default::default(),
        client: Some("console".to_owned()),
        token: TokenFacts {
            issued: start(),
            expires: start().saturating_add(Duration::from_secs(3600)),
            fingerprint: "0123456789abcdef".to_owned(),
            mfa: true,
            sender_constrained: false,
            authenticated: None,
            class: None,
            actors: Vec::new(),
            exchanged: None,
        },
        human: None,
    }
}

/// An identity that is linked to a natural person.
#[must_use]
pub fn linked(issuer: &str, subject: &str, human: &str) -> Principal {
    Principal {
        key: PrincipalKey::new(issuer, subject),
        human: Some(Human::from(HumanId(human.to_owned()))),
        ..person(subject)
    }
}

/// A program.
#[must_use]
pub fn program(subject: &str) -> Principal {
    Principal { kind: PrincipalKind::Service, ..person(subject) }
}

/// A set of approvers.
#[must_use]
pub fn set(name: &str) -> ApproverSet {
    ApproverSet::new(name)
}

/// A kickoff of the crew `support`.
#[must_use]
pub fn operation() -> Operation {
    Operation {
        action: Action::of("kickoff"),
        resource: Resource { kind: "Crew".into(), name: "support".to_owned(), parents: Vec::new() },
        effect: Effect::Write,
        inputs: Vec::new(),
        datasets: Vec::new(),
        prompts: Vec::new(),
        has_undeclared_inputs: false,
        body_bytes: 2,
        webhook_hosts: Vec::new(),
        ids: Vec::new(),
        owner: None,
        run: None,
        message: Message { method: Method::POST, path: Vec::new(), body: None, free_text: Vec::new() },
    }
}

/// The bytes of that kickoff, with bytes in them that are no text.
#[must_use]
pub fn outgoing() -> Outgoing {
    Outgoing {
        method: Method::POST,
        path: PathAndQuery::from_static("/kickoff"),
        content_type: Some(HeaderValue::from_static("application/json")),
        body: Bytes::from_static(b"{\"inputs\":{}}\xff\x00"),
    }
}

/// A request of this person that needs so many of each set; undecided it ends after an hour, approved after a
/// quarter of one.
#[must_use]
pub fn asked(requester: &Principal, needs: &[(&str, u32)]) -> NewApproval {
    let (operation, outgoing, upstream) = (operation(), outgoing(), "https://support.example".to_owned());
    NewApproval {
        id: ApprovalId::random(),
        request: RequestId::random(),
        run: Some(RunId::random()),
        requester: requester.clone(),
        digest: digest(&outgoing, requester, &operation, &upstream),
        operation,
        outgoing,
        upstream,
        needs: needs
            .iter()
            .map(|(name, count)| Need {
                set: set(name),
                count: NonZeroU32::new(*count).unwrap(),
                then: Vec::new(),
            })
            .collect(),
        duties: Duties { approvals: needs.iter().map(|(name, _)| set(name)).collect(), ..Duties::default() },
        basis: Basis::default(),
        release: ReleaseMode::Claim,
        opened: start(),
        expires: start().saturating_add(Duration::from_secs(3600)),
        usable_for: Duration::from_secs(900),
        keyed: None,
    }
}

/// What this person says, for these sets, a second after the start, having read what waits.
#[must_use]
pub fn ballot(of: &NewApproval, by: &Principal, sets: &[&str], verdict: Verdict) -> Ballot {
    Ballot {
        approval: of.id,
        digest: of.digest,
        vote: Vote {
            approver: by.clone(),
            sets: sets.iter().map(|name| set(name)).collect(),
            lent: Vec::new(),
            verdict,
            reason: Some("because".to_owned()),
            at: start().saturating_add(SECOND),
        },
        gives: None,
    }
}

/// A yes.
#[must_use]
pub fn yes(of: &NewApproval, by: &Principal, sets: &[&str]) -> Ballot {
    ballot(of, by, sets, Verdict::Approve)
}

/// A no.
#[must_use]
pub fn no(of: &NewApproval, by: &Principal, sets: &[&str]) -> Ballot {
    ballot(of, by, sets, Verdict::Deny)
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
    what_was_opened_is_found_again(fresh().await).await;
    one_id_and_one_run_have_one_approval(fresh().await).await;
    an_approval_that_asks_nobody_is_refused(fresh().await).await;
    enough_people_approve(fresh().await).await;
    one_person_stands_in_one_place(fresh().await).await;
    nobody_decides_on_their_own_request(fresh().await).await;
    one_human_speaks_once(fresh().await).await;
    only_people_who_are_asked_speak(fresh().await).await;
    a_vote_on_another_page_is_refused(fresh().await).await;
    one_no_denies(fresh().await).await;
    ends_come_by_evaluation(fresh().await).await;
    a_claim_is_exclusive_until_its_lease_ends(fresh().await).await;
    what_was_sent_is_never_claimed_again(fresh().await).await;
    what_nobody_knows_a_person_finds_out(fresh().await).await;
    what_was_not_sent_is_given_back(fresh().await).await;
    nothing_is_sent_after_the_end(fresh().await).await;
    the_requester_takes_it_back(fresh().await).await;
    ends_are_final(fresh().await).await;
    a_list_is_what_the_filter_says(fresh().await).await;
    what_does_not_exist_is_unknown(fresh().await).await;
    what_waits_is_counted_for_each_identity(fresh().await).await;
}

async fn what_waits_is_counted_for_each_identity(store: Store) {
    let (ana, now) = (person("ana"), start().saturating_add(SECOND));
    let [first, second] = [(); 2].map(|()| asked(&ana, &[("owners", 1)]));
    for new in [&first, &second, &asked(&person("carol"), &[("owners", 1)])] {
        store.open(new.clone()).await.unwrap();
    }
    assert_eq!(store.waiting(&ana.key, now).await, Ok(2));
    store.vote(yes(&first, &person("bob"), &["owners"])).await.unwrap();
    assert_eq!(store.waiting(&ana.key, now).await, Ok(1), "what is decided does not wait");
    assert_eq!(store.waiting(&ana.key, second.expires).await, Ok(0), "nor what ended undecided");
    assert_eq!(store.waiting(&person("dora").key, now).await, Ok(0));
}

async fn open(store: &Store, new: &NewApproval) {
    store.open(new.clone()).await.expect("it opens");
}

async fn state(store: &Store, of: &NewApproval, now: Timestamp) -> State {
    store.find(of.id).await.unwrap().expect("it is there").state_at(now)
}

fn after(secs: u64) -> Timestamp {
    start().saturating_add(Duration::from_secs(secs))
}

/// A request of `ana` that `bob` of `owners` has approved.
async fn approved(store: &Store) -> NewApproval {
    let new = asked(&person("ana"), &[("owners", 1)]);
    open(store, &new).await;
    let state = store.vote(yes(&new, &person("bob"), &["owners"])).await.unwrap();
    assert!(matches!(state, State::Approved { .. }));
    new
}

async fn claimed(store: &Store, now: Timestamp) -> (NewApproval, Lease) {
    let new = approved(store).await;
    let lease = store.claim(new.id, now, LEASE).await.unwrap().expect("it can be claimed");
    (new, lease)
}

async fn what_was_opened_is_found_again(store: Store) {
    let mut new = asked(&linked("okta", "ana", "ana-maria"), &[("owners", 2), ("legal", 1)]);
    new.release = ReleaseMode::AutoRun { max_age: Duration::from_secs(600) };
    let opened = store.open(new.clone()).await.unwrap();
    assert_eq!((&opened.asked, &opened.state), (&new, &State::Pending));
    assert_eq!(store.find(new.id).await.unwrap(), Some(opened.clone()));
    assert_eq!(store.by_run(new.run.unwrap()).await.unwrap(), Some(opened));
    assert_eq!(store.find(ApprovalId::random()).await.unwrap(), None);
    assert_eq!(store.by_run(RunId::random()).await.unwrap(), None);
}

async fn one_id_and_one_run_have_one_approval(store: Store) {
    let first = asked(&person("ana"), &[("owners", 1)]);
    open(&store, &first).await;
    let same_id = NewApproval { run: None, ..first.clone() };
    assert_eq!(store.open(same_id).await.unwrap_err(), OpenError::Exists);
    let same_run = NewApproval { id: ApprovalId::random(), ..first.clone() };
    assert_eq!(store.open(same_run).await.unwrap_err(), OpenError::Exists);
    for _ in 0..2 {
        open(&store, &NewApproval { id: ApprovalId::random(), run: None, ..first.clone() }).await;
    }
}

async fn an_approval_that_asks_nobody_is_refused(store: Store) {
    for needs in [&[][..], &[("owners", 1), ("owners", 2)]] {
        let new = asked(&person("ana"), needs);
        assert_eq!(store.open(new.clone()).await.unwrap_err(), OpenError::Invalid);
        assert_eq!(store.find(new.id).await.unwrap(), None);
    }
}

async fn enough_people_approve(store: Store) {
    let new = asked(&person("ana"), &[("owners", 2), ("legal", 1)]);
    open(&store, &new).await;
    for (who, sets) in [("bob", "owners"), ("cem", "legal")] {
        assert_eq!(store.vote(yes(&new, &person(who), &[sets])).await.unwrap(), State::Pending);
    }
    let last = store.vote(yes(&new, &person("dan"), &["owners", "cooks"])).await.unwrap();
    let expected = State::Approved { at: after(1), until: after(901) };
    assert_eq!(last, expected);
    let row = store.find(new.id).await.unwrap().unwrap();
    assert_eq!((row.state, row.votes.len()), (expected, 3));
    let spoke_for = row.votes.last().unwrap().sets.clone();
    assert_eq!(spoke_for, [set("owners")].into(), "a set nobody asked is not kept");
}

async fn one_person_stands_in_one_place(store: Store) {
    let new = asked(&person("ana"), &[("owners", 1), ("legal", 1)]);
    open(&store, &new).await;
    let both = ["owners", "legal"];
    assert_eq!(store.vote(yes(&new, &person("bob"), &both)).await.unwrap(), State::Pending);
    // Whichever place bob took first, dan can only take one of them, and bob moves over.
    let state = store.vote(yes(&new, &person("dan"), &["owners"])).await.unwrap();
    assert!(matches!(state, State::Approved { .. }), "{state:?}");
}

async fn nobody_decides_on_their_own_request(store: Store) {
    let new = asked(&linked("okta", "ana", "ana-maria"), &[("owners", 1)]);
    open(&store, &new).await;
    for own in [person("ana"), linked("okta", "ana", "somebody"), linked("github", "am", "ana-maria")] {
        for verdict in [Verdict::Approve, Verdict::Deny] {
            let refused = store.vote(ballot(&new, &own, &["owners"], verdict)).await;
            assert_eq!(refused.unwrap_err(), VoteError::SelfApproval, "{}", own.key);
        }
    }
    assert_eq!(state(&store, &new, after(1)).await, State::Pending);
}

async fn one_human_speaks_once(store: Store) {
    let new = asked(&person("ana"), &[("owners", 2)]);
    open(&store, &new).await;
    let bob = linked("okta", "bob", "robert");
    assert_eq!(store.vote(yes(&new, &bob, &["owners"])).await.unwrap(), State::Pending);
    for again in [bob, linked("github", "rob", "robert")] {
        for verdict in [Verdict::Approve, Verdict::Deny] {
            let refused = store.vote(ballot(&new, &again, &["owners"], verdict)).await;
            assert_eq!(refused.unwrap_err(), VoteError::AlreadyVoted);
        }
    }
    assert_eq!(state(&store, &new, after(1)).await, State::Pending);
}

async fn only_people_who_are_asked_speak(store: Store) {
    let new = asked(&person("ana"), &[("owners", 1)]);
    open(&store, &new).await;
    for (who, sets) in [(person("bob"), &[][..]), (person("bob"), &["cooks"]), (program("bot"), &["owners"])]
    {
        for verdict in [Verdict::Approve, Verdict::Deny] {
            let refused = store.vote(ballot(&new, &who, sets, verdict)).await;
            assert_eq!(refused.unwrap_err(), VoteError::NotEligible);
        }
    }
    assert_eq!(state(&store, &new, after(1)).await, State::Pending);
}

async fn a_vote_on_another_page_is_refused(store: Store) {
    let (new, other) = (asked(&person("ana"), &[("owners", 1)]), asked(&person("eve"), &[("owners", 1)]));
    open(&store, &new).await;
    let stale = Ballot { digest: other.digest, ..yes(&new, &person("bob"), &["owners"]) };
    assert_eq!(store.vote(stale).await.unwrap_err(), VoteError::DigestMismatch);
    assert_eq!(state(&store, &new, after(1)).await, State::Pending);
}

async fn one_no_denies(store: Store) {
    let new = asked(&person("ana"), &[("owners", 2)]);
    open(&store, &new).await;
    store.vote(yes(&new, &person("bob"), &["owners"])).await.unwrap();
    let denied = State::Denied { by: person("dan").key, reason: Some("because".to_owned()) };
    assert_eq!(store.vote(no(&new, &person("dan"), &["owners"])).await.unwrap(), denied);
    let late = store.vote(yes(&new, &person("eve"), &["owners"])).await.unwrap_err();
    assert_eq!(late, VoteError::NotPending(denied));
    assert_eq!(store.claim(new.id, after(2), LEASE).await.unwrap(), None);
}

async fn ends_come_by_evaluation(store: Store) {
    let new = asked(&person("ana"), &[("owners", 1)]);
    open(&store, &new).await;
    let mut late = yes(&new, &person("bob"), &["owners"]);
    late.vote.at = new.expires;
    assert_eq!(store.vote(late).await.unwrap_err(), VoteError::NotPending(State::Expired));
    assert_eq!(state(&store, &new, new.expires).await, State::Expired);

    let new = approved(&store).await;
    assert_eq!(state(&store, &new, after(901)).await, State::Expired);
    assert_eq!(store.claim(new.id, after(901), LEASE).await.unwrap(), None);
    assert!(store.claim(new.id, after(900), LEASE).await.unwrap().is_some());
}

async fn a_claim_is_exclusive_until_its_lease_ends(store: Store) {
    let (new, first) = claimed(&store, after(2)).await;
    assert_eq!(first.number, 1);
    assert_eq!(store.claim(new.id, after(61), LEASE).await.unwrap(), None);
    let second = store.claim(new.id, after(62), LEASE).await.unwrap().expect("the first lease has ended");
    assert_eq!(second.number, 2);
    let now = after(63);
    assert_eq!(store.mark_sent(first, now).await, Err(LeaseError::Lost));
    assert_eq!(store.return_unsent(first, now).await, Err(LeaseError::Lost));
    assert_eq!(store.invalidate(first, "late".to_owned(), now).await, Err(LeaseError::Lost));
    assert_eq!(store.settle(first, End::Indeterminate, now).await, Err(LeaseError::Lost));
    store.mark_sent(second, now).await.unwrap();
}

async fn what_was_sent_is_never_claimed_again(store: Store) {
    let (new, lease) = claimed(&store, after(2)).await;
    assert_eq!(store.settle(lease, End::Executed, after(3)).await, Err(LeaseError::OutOfOrder));
    store.mark_sent(lease, after(3)).await.unwrap();
    assert_eq!(store.mark_sent(lease, after(3)).await, Err(LeaseError::OutOfOrder));
    assert_eq!(store.return_unsent(lease, after(4)).await, Err(LeaseError::OutOfOrder));
    assert_eq!(store.invalidate(lease, "late".to_owned(), after(4)).await, Err(LeaseError::OutOfOrder));
    assert_eq!(store.claim(new.id, after(10), LEASE).await.unwrap(), None);
    // Its holder is gone: nobody knows, and nobody tries again.
    assert_eq!(state(&store, &new, after(62)).await, State::Indeterminate);
    assert_eq!(store.claim(new.id, after(62), LEASE).await.unwrap(), None);
    // Unless the answer comes after all.
    store.settle(lease, End::Executed, after(63)).await.unwrap();
    assert_eq!(state(&store, &new, after(64)).await, State::Executed { at: after(63) });
    assert_eq!(store.settle(lease, End::Indeterminate, after(64)).await, Err(LeaseError::Lost));
}

/// What `by` says of it, speaking for `owners`.
fn found(of: &NewApproval, by: &Principal, finding: Finding, at: Timestamp) -> Resolution {
    Resolution {
        approval: of.id,
        by: by.clone(),
        sets: [ApproverSet::new("owners")].into(),
        finding,
        reason: "looked at the crew".to_owned(),
        at,
    }
}

async fn what_nobody_knows_a_person_finds_out(store: Store) {
    let ran = || Finding::Ran { upstream: Some("k-1".to_owned()) };
    let (new, lease) = claimed(&store, after(2)).await;
    let of = |by: &Principal, at| found(&new, by, ran(), after(at));
    store.mark_sent(lease, after(3)).await.unwrap();
    // As long as its answer may come, nobody else says.
    let early = store.resolve(of(&person("bob"), 10)).await;
    assert!(matches!(early, Err(ResolveError::NotIndeterminate(State::Executing { .. }))), "{early:?}");
    assert_eq!(state(&store, &new, after(62)).await, State::Indeterminate);

    assert_eq!(store.resolve(of(&person("ana"), 62)).await, Err(ResolveError::OwnRequest));
    let robot = Principal { kind: PrincipalKind::Service, ..person("robot") };
    assert_eq!(store.resolve(of(&robot, 62)).await, Err(ResolveError::NotEligible));
    let stranger = Resolution { sets: BTreeSet::new(), ..of(&person("eve"), 62) };
    assert_eq!(store.resolve(stranger).await, Err(ResolveError::NotEligible));
    let done = State::Executed { at: after(62) };
    assert_eq!(store.resolve(of(&person("bob"), 62)).await, Ok(done.clone()));
    // That is final: for another person, for its own late answer, and for whoever would start it.
    assert_eq!(
        store.resolve(of(&person("cleo"), 63)).await,
        Err(ResolveError::NotIndeterminate(done.clone()))
    );
    assert_eq!(store.settle(lease, End::Indeterminate, after(63)).await, Err(LeaseError::Lost));
    assert_eq!(store.claim(new.id, after(63), LEASE).await.unwrap(), None);
    assert_eq!(state(&store, &new, after(63)).await, done);

    let (new, lease) = claimed(&store, after(2)).await;
    store.mark_sent(lease, after(3)).await.unwrap();
    store.settle(lease, End::Indeterminate, after(4)).await.unwrap();
    let failed = store.resolve(found(&new, &person("bob"), Finding::DidNotRun, after(5))).await.unwrap();
    assert!(
        matches!(&failed, State::Failed { reason } if reason.contains("looked at the crew")),
        "{failed:?}"
    );
    assert_eq!(
        store.claim(new.id, after(6), LEASE).await.unwrap(),
        None,
        "what did not run is asked for anew"
    );
}

async fn what_was_not_sent_is_given_back(store: Store) {
    let (new, lease) = claimed(&store, after(2)).await;
    store.return_unsent(lease, after(3)).await.unwrap();
    assert_eq!(state(&store, &new, after(3)).await, State::Approved { at: after(1), until: after(901) });
    assert_eq!(store.mark_sent(lease, after(3)).await, Err(LeaseError::Lost));
    let again = store.claim(new.id, after(4), LEASE).await.unwrap().expect("it is free again");
    assert_eq!(again.number, 2);
    let failed = End::Failed { reason: "no route".to_owned() };
    store.settle(again, failed, after(5)).await.unwrap();
    assert_eq!(state(&store, &new, after(6)).await, State::Failed { reason: "no route".to_owned() });
}

async fn nothing_is_sent_after_the_end(store: Store) {
    // The lease is alive, the approval is not.
    let (new, lease) = claimed(&store, after(890)).await;
    assert_eq!(store.mark_sent(lease, after(901)).await, Err(LeaseError::Lost));
    store.return_unsent(lease, after(902)).await.unwrap();
    assert_eq!(state(&store, &new, after(902)).await, State::Expired);
    // The approval is alive, the lease is not.
    let (_, lease) = claimed(&store, after(2)).await;
    assert_eq!(store.mark_sent(lease, after(62)).await, Err(LeaseError::Lost));
    // Neither is: an end by evaluation is as final as a written one.
    let (_, lease) = claimed(&store, after(890)).await;
    assert_eq!(store.invalidate(lease, "late".to_owned(), after(960)).await, Err(LeaseError::Lost));
    let failed = End::Failed { reason: "late".to_owned() };
    assert_eq!(store.settle(lease, failed, after(960)).await, Err(LeaseError::Lost));
}

async fn the_requester_takes_it_back(store: Store) {
    let ana = linked("okta", "ana", "ana-maria");
    let new = asked(&ana, &[("owners", 1)]);
    open(&store, &new).await;
    let stranger = store.cancel(new.id, &person("eve"), after(1)).await;
    assert_eq!(stranger.unwrap_err(), CancelError::NotRequester);
    let other_identity = linked("github", "am", "ana-maria");
    let cancelled = State::Cancelled { by: other_identity.key.clone() };
    assert_eq!(store.cancel(new.id, &other_identity, after(1)).await.unwrap(), cancelled);
    let again = store.cancel(new.id, &ana, after(1)).await.unwrap_err();
    assert_eq!(again, CancelError::TooLate(cancelled));

    let (new, _) = claimed(&store, after(2)).await;
    let late = store.cancel(new.id, &person("ana"), after(3)).await.unwrap_err();
    assert!(matches!(late, CancelError::TooLate(State::Executing { .. })));
}

async fn ends_are_final(store: Store) {
    for end in 0..4 {
        let (new, lease) = claimed(&store, after(2)).await;
        match end {
            0 => store.invalidate(lease, "policy".to_owned(), after(3)).await.unwrap(),
            1 => {
                store.mark_sent(lease, after(3)).await.unwrap();
                store.settle(lease, End::Executed, after(4)).await.unwrap();
            }
            2 => store.settle(lease, End::Failed { reason: "x".to_owned() }, after(3)).await.unwrap(),
            _ => {
                store.return_unsent(lease, after(3)).await.unwrap();
                store.cancel(new.id, &person("ana"), after(4)).await.unwrap();
            }
        }
        let before = store.find(new.id).await.unwrap();
        let now = after(5);
        assert!(store.vote(no(&new, &person("dan"), &["owners"])).await.is_err());
        assert!(store.vote(yes(&new, &person("dan"), &["owners"])).await.is_err());
        assert!(store.cancel(new.id, &person("ana"), now).await.is_err());
        assert_eq!(store.claim(new.id, now, LEASE).await.unwrap(), None);
        assert!(store.return_unsent(lease, now).await.is_err());
        assert!(store.invalidate(lease, "again".to_owned(), now).await.is_err());
        assert!(store.mark_sent(lease, now).await.is_err());
        assert!(store.settle(lease, End::Indeterminate, now).await.is_err());
        assert_eq!(store.find(new.id).await.unwrap(), before, "end {end}");
    }
}

async fn a_list_is_what_the_filter_says(store: Store) {
    let mut all = Vec::new();
    for (n, (who, sets)) in
        (0..).zip([("ana", "owners"), ("ana", "legal"), ("eve", "owners"), ("eve", "cooks")])
    {
        let mut new = asked(&person(who), &[(sets, 1)]);
        new.opened = after(n);
        if n == 2 {
            new.release = ReleaseMode::AutoRun { max_age: SECOND };
        }
        open(&store, &new).await;
        all.push(new.id);
    }
    let ids = async |filter: Filter| {
        let found = store.list(filter).await.unwrap();
        found.iter().map(|row| all.iter().position(|id| *id == row.id()).unwrap()).collect::<Vec<_>>()
    };
    let every = Filter::at(after(10));
    assert_eq!(ids(every.clone()).await, [0, 1, 2, 3]);
    assert_eq!(ids(Filter { newest_first: true, ..every.clone() }).await, [3, 2, 1, 0]);
    let at = |n: usize| *all.get(n).unwrap();
    let second = store.find(at(1)).await.unwrap().unwrap().place();
    for (newest_first, after) in [(false, vec![2, 3]), (true, vec![0])] {
        let rest = Filter { newest_first, after: Some(second), ..every.clone() };
        assert_eq!(ids(rest).await, after, "those after one");
    }
    let one = Filter { limit: std::num::NonZeroUsize::MIN, ..every.clone() };
    let found =
        walk(&*store, one, 2, |row| (row.asked.requester.key.subject == "eve").then(|| row.id())).await;
    assert_eq!(found.unwrap(), Found { rows: vec![at(2), at(3)], more: false });
    assert_eq!(ids(Filter { requester: Some(person("ana").key), ..every.clone() }).await, [0, 1]);
    let sets = [set("owners"), set("cooks")].into();
    assert_eq!(ids(Filter { sets: Some(sets), ..every.clone() }).await, [0, 2, 3]);
    assert!(ids(Filter { sets: Some(BTreeSet::new()), ..every.clone() }).await.is_empty());
    assert_eq!(ids(Filter { auto_run: true, ..every.clone() }).await, [2]);
    let two = std::num::NonZeroUsize::new(2).unwrap();
    assert_eq!(ids(Filter { limit: two, ..every.clone() }).await, [0, 1]);
    // The limit counts what is meant, not what was looked at.
    let late = Filter { requester: Some(person("eve").key), limit: two, ..every.clone() };
    assert_eq!(ids(late).await, [2, 3]);

    let first = store.find(*all.first().unwrap()).await.unwrap().unwrap().asked;
    store.vote(yes(&first, &person("bob"), &["owners"])).await.unwrap();
    assert_eq!(ids(every.clone().phase(Phase::Approved)).await, [0]);
    assert_eq!(ids(every.phase(Phase::Pending)).await, [1, 2, 3]);
    // Evaluated at the filter's instant, with nobody having written anything.
    assert_eq!(ids(Filter::at(after(4000)).phase(Phase::Expired)).await, [0, 1, 2, 3]);
    store.claim(first.id, after(10), LEASE).await.unwrap().unwrap();
    assert_eq!(ids(Filter::at(after(11)).phase(Phase::Executing)).await, [0]);
    assert_eq!(ids(Filter::at(after(71)).phase(Phase::Approved)).await, [0]);
}

async fn what_does_not_exist_is_unknown(store: Store) {
    let new = asked(&person("ana"), &[("owners", 1)]);
    let lease = Lease { approval: new.id, number: 1 };
    let now = after(1);
    assert_eq!(store.vote(yes(&new, &person("bob"), &["owners"])).await.unwrap_err(), VoteError::Unknown);
    assert_eq!(store.cancel(new.id, &person("ana"), now).await.unwrap_err(), CancelError::Unknown);
    assert_eq!(store.claim(new.id, now, LEASE).await.unwrap(), None);
    assert_eq!(store.mark_sent(lease, now).await, Err(LeaseError::Unknown));
    assert_eq!(store.settle(lease, End::Executed, now).await, Err(LeaseError::Unknown));
    let finding = found(&new, &person("bob"), Finding::DidNotRun, now);
    assert_eq!(store.resolve(finding).await, Err(ResolveError::Unknown));
}

/// Two approvers, an approver against a denier, a canceller against an approver, an approver against the end, and eight
/// executors, this many times each: the one at one replica, the other at the other. Give the same store twice where there
/// is one. Needs the multi-threaded runtime to mean anything.
///
/// # Panics
///
/// When two win, or nobody does.
pub async fn races(replicas: [Store; 2], rounds: usize) {
    let race = |_| {
        let replicas = replicas.clone();
        async { tokio::spawn(race(replicas)).await.expect("a race was lost by both or won by both") }
    };
    // Many at a time, so that they meet in the same transactions too.
    futures_util::stream::iter(0..rounds).map(race).buffer_unordered(32).collect::<()>().await;
}

async fn race([store, other]: [Store; 2]) {
    // approve × approve: both count, exactly one of them completes the quorum.
    let new = asked(&person("ana"), &[("owners", 2)]);
    open(&store, &new).await;
    let (a, b) = both(
        vote(&store, yes(&new, &person("bob"), &["owners"])),
        vote(&other, yes(&new, &person("dan"), &["owners"])),
    )
    .await;
    let settled = [a.unwrap(), b.unwrap()].iter().filter(|s| s.phase() == Phase::Approved).count();
    assert_eq!(settled, 1, "two voters each saw the other's vote, or neither did");
    assert_eq!(find(&store, &new).await.votes.len(), 2);

    // approve × deny on a quorum of one: exactly one is counted, and the row says which.
    let new = asked(&person("ana"), &[("owners", 1)]);
    open(&store, &new).await;
    let (a, b) = both(
        vote(&store, yes(&new, &person("bob"), &["owners"])),
        vote(&other, no(&new, &person("dan"), &["owners"])),
    )
    .await;
    let row = find(&store, &new).await;
    match (a, b) {
        (Ok(won), Err(VoteError::NotPending(_))) | (Err(VoteError::NotPending(_)), Ok(won)) => {
            assert_eq!((row.state, row.votes.len()), (won, 1));
        }
        other => panic_with(&other),
    }

    // cancel × approve: if the approval came second it was refused.
    let new = asked(&person("ana"), &[("owners", 1)]);
    open(&store, &new).await;
    let (cancelling, id) = (Arc::clone(&other), new.id);
    let (a, b) = both(vote(&store, yes(&new, &person("bob"), &["owners"])), async move {
        cancelling.cancel(id, &person("ana"), after(2)).await
    })
    .await;
    assert!(matches!(b, Ok(State::Cancelled { .. })), "{b:?}");
    assert!(matches!(a, Ok(State::Approved { .. }) | Err(VoteError::NotPending(_))), "{a:?}");
    assert_eq!(find(&store, &new).await.state.phase(), Phase::Cancelled);

    // approve × expire: the vote that came in time counts, the late one does not, whichever is heard first.
    let new = asked(&person("ana"), &[("owners", 1)]);
    open(&store, &new).await;
    let mut late = yes(&new, &person("dan"), &["owners"]);
    late.vote.at = new.expires;
    let (a, b) = both(vote(&store, yes(&new, &person("bob"), &["owners"])), vote(&other, late)).await;
    assert!(matches!(a, Ok(State::Approved { .. })), "{a:?}");
    assert!(matches!(b, Err(VoteError::NotPending(State::Expired))), "{b:?}");
    assert_eq!(find(&store, &new).await.votes.len(), 1);

    // claim × 8: exactly one lease, and the one that has it sends once.
    let new = approved(&store).await;
    let claims = (0..8).map(|n| {
        let (store, id) = (Arc::clone(if n % 2 == 0 { &store } else { &other }), new.id);
        tokio::spawn(async move { store.claim(id, after(2), LEASE).await })
    });
    let mut leases = Vec::new();
    for claim in claims.collect::<Vec<_>>() {
        leases.extend(claim.await.unwrap().unwrap());
    }
    assert_eq!(leases.len(), 1);
    let lease = leases.pop().expect("there is one");
    let send = |store: &Store| {
        let store = Arc::clone(store);
        async move { store.mark_sent(lease, after(3)).await }
    };
    let (a, b) = both(send(&store), send(&other)).await;
    assert!(matches!((&a, &b), (Ok(()), Err(_)) | (Err(_), Ok(()))), "{a:?} {b:?}");
}

#[expect(clippy::panic, reason = "a suite fails by panicking")]
fn panic_with(what: &dyn std::fmt::Debug) {
    panic!("both or neither won: {what:?}");
}

fn vote(store: &Store, ballot: Ballot) -> impl Future<Output = Result<State, VoteError>> + Send + 'static {
    let store = Arc::clone(store);
    async move { store.vote(ballot).await }
}

async fn find(store: &Store, of: &NewApproval) -> Approval {
    store.find(of.id).await.unwrap().expect("it is there")
}

async fn both<A, B>(
    a: impl Future<Output = A> + Send + 'static,
    b: impl Future<Output = B> + Send + 'static,
) -> (A, B)
where
    A: Send + 'static,
    B: Send + 'static,
{
    let (a, b) = (tokio::spawn(a), tokio::spawn(b));
    (a.await.unwrap(), b.await.unwrap())
}

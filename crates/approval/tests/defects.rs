//! Defects that others' approvals have had, each as a test of its name. `docs/approval.md` lists them with the tests
//! elsewhere that hold the same.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crewgate_approval::{
    Approval, ApprovalStore, BreakError, Lease, LeaseError, MemoryStore, NewApproval, Phase, State,
    VoteError, machine,
};
use crewgate_core::{ApprovalId, Exchanged, Human, HumanId, Principal, RoleName, RunId, Timestamp};
use crewgate_testkit::suites::{
    approval::{asked, linked, no, person, program, start, yes},
    glass::glass,
};

const LEASE: Duration = Duration::from_secs(60);

fn after(seconds: u64) -> Timestamp {
    start().saturating_add(Duration::from_secs(seconds))
}

fn opened(new: &NewApproval) -> Approval {
    machine::open(new.clone()).unwrap().approval
}

fn said_yes(approval: &Approval, by: &Principal, sets: &[&str]) -> Result<Approval, VoteError> {
    machine::vote(approval, &yes(&approval.asked, by, sets)).map(|next| next.approval)
}

#[test]
fn an_administrator_approves_their_own_request() {
    let ana = linked("okta", "ana", "Ana");
    let waits = opened(&asked(&ana, &[("owners", 1)]));
    let every = ["owners", "admins", "security"];
    // By no set, no second identity, no program of hers.
    for who in
        [ana.clone(), linked("entra", "ana", "Ana"), Principal { kind: program("x").kind, ..ana.clone() }]
    {
        assert_eq!(said_yes(&waits, &who, &every), Err(VoteError::SelfApproval));
    }
    // Nor by somebody's token that she acts with: nobody speaks through an actor.
    let acted = |who: &Principal, by: &Principal| {
        let mut acted = who.clone();
        acted.token.actors = vec![by.key.clone()];
        acted
    };
    let through = acted(&person("bob"), &ana);
    assert_eq!(said_yes(&waits, &through, &every), Err(VoteError::NotEligible));
    // Nor by whoever acted when it was asked for, under any of their names.
    let dan = person("dan");
    let by_dan = opened(&asked(&acted(&person("bob"), &dan), &[("owners", 1)]));
    let second_name = Human::new(HumanId("Dan".to_owned()), [dan.key.clone()]);
    let other_dan = Principal { human: Some(second_name), ..person("dan-admin") };
    for who in [&dan, &other_dan, &person("bob")] {
        assert_eq!(said_yes(&by_dan, who, &every), Err(VoteError::SelfApproval), "{}", who.key);
    }
    // Nor by an identity that was linked to hers while it waited.
    let linked_since =
        Human::new(HumanId("Eve".to_owned()), ["eve", "eve-admin"].map(|name| person(name).key));
    let waits_unlinked = opened(&asked(&person("eve"), &[("owners", 1)]));
    let other_eve = Principal { human: Some(linked_since), ..person("eve-admin") };
    assert_eq!(said_yes(&waits_unlinked, &other_eve, &every), Err(VoteError::SelfApproval));
    // Nor is breaking the glass a yes: another identity of hers may not, and nobody is said to have agreed.
    let other_self = machine::break_glass(&waits, &glass(&waits.asked, &linked("entra", "ana", "Ana")), &[]);
    assert_eq!(other_self.unwrap_err(), BreakError::NotRequester);
    let broken = machine::break_glass(&waits, &glass(&waits.asked, &ana), &[]).unwrap().approval;
    assert!(broken.votes.is_empty() && broken.broken.is_some());
}

#[test]
fn another_token_of_the_same_person_starts_what_this_one_asked_for() {
    let ana = person("ana");
    let with = |change: &dyn Fn(&mut Principal)| {
        let mut other = ana.clone();
        change(&mut other);
        other
    };
    let narrow = |roles: &[&str]| {
        let roles = roles.iter().map(|role| RoleName::new(*role)).collect();
        with(&|who| who.token.exchanged = Some(Exchanged { roles: BTreeSet::clone(&roles) }))
    };
    let waits = opened(&asked(&ana, &[("owners", 1)]));
    let later = with(&|who| who.token.issued = who.token.expires);
    assert!(waits.may_be_started_by(&later), "a fresh token is");
    for other in [
        with(&|who| who.client = Some("another".to_owned())),
        with(&|who| who.token.actors = vec![person("agent").key]),
        narrow(&["readers"]),
        person("bob"),
    ] {
        assert!(!waits.may_be_started_by(&other), "{other:?}");
    }
    let narrowly = opened(&asked(&narrow(&["readers"]), &[("owners", 1)]));
    assert!(narrowly.may_be_started_by(&narrow(&["readers"])));
    assert!(!narrowly.may_be_started_by(&narrow(&["owners"])) && !narrowly.may_be_started_by(&ana));
}

#[test]
fn one_person_in_two_groups_satisfies_both() {
    let waits = opened(&asked(&person("ana"), &[("owners", 1), ("legal", 1)]));
    let once = said_yes(&waits, &person("bob"), &["owners", "legal"]).unwrap();
    assert_eq!(once.state, State::Pending);
    assert_eq!(said_yes(&once, &person("bob"), &["legal"]), Err(VoteError::AlreadyVoted));
    let twice = said_yes(&once, &person("dan"), &["owners"]).unwrap();
    assert_eq!(twice.state.phase(), Phase::Approved, "bob stands for legal then");
}

#[test]
fn more_votes_than_needed_never_approve() {
    let mut waits = opened(&asked(&person("ana"), &[("owners", 1), ("legal", 1)]));
    for name in ["bob", "dan", "eve", "sue"] {
        waits = said_yes(&waits, &person(name), &["owners"]).unwrap();
        assert_eq!(waits.state, State::Pending);
    }
    assert_eq!(said_yes(&waits, &person("lea"), &["legal"]).unwrap().state.phase(), Phase::Approved);
}

#[test]
fn approving_again_extends_what_was_given() {
    let waits = opened(&asked(&person("ana"), &[("owners", 1)]));
    let approved = said_yes(&waits, &person("bob"), &["owners"]).unwrap();
    let again = said_yes(&approved, &person("dan"), &["owners"]);
    assert_eq!(again, Err(VoteError::NotPending(approved.state.clone())));
    let until = after(1).saturating_add(waits.asked.usable_for);
    assert_eq!(approved.state_at(until), State::Expired);
}

#[test]
fn what_is_being_processed_is_opened_a_second_time() {
    let approved =
        said_yes(&opened(&asked(&person("ana"), &[("owners", 1)])), &person("bob"), &["owners"]).unwrap();
    let (claimed, lease) = machine::claim(&approved, after(2), LEASE).unwrap();
    assert!(machine::claim(&claimed.approval, after(3), LEASE).is_none());
    let sent = machine::mark_sent(&claimed.approval, lease, after(3)).unwrap().approval;
    assert_eq!(machine::mark_sent(&sent, lease, after(4)), Err(LeaseError::OutOfOrder));
    assert!(machine::claim(&sent, after(100), LEASE).is_none(), "not after its lease either");
}

#[test]
fn what_is_stale_is_mended_only_at_a_start() {
    let approved =
        said_yes(&opened(&asked(&person("ana"), &[("owners", 1)])), &person("bob"), &["owners"]).unwrap();
    let claimed = machine::claim(&approved, after(2), LEASE).unwrap().0.approval;
    assert_eq!(claimed.state_at(after(61)).phase(), Phase::Executing);
    // Nothing runs, nothing is swept: the instant alone.
    assert_eq!(claimed.state_at(after(62)).phase(), Phase::Approved);
    assert!(machine::claim(&claimed, after(62), LEASE).is_some());
}

#[test]
fn expiry_overwrites_what_was_decided() {
    let new = asked(&person("ana"), &[("owners", 1)]);
    let approved = said_yes(&opened(&new), &person("bob"), &["owners"]).unwrap();
    let denied = machine::vote(&opened(&new), &no(&new, &person("bob"), &["owners"])).unwrap().approval;
    let cancelled = machine::cancel(&opened(&new), &person("ana"), after(2)).unwrap().approval;
    assert_eq!(denied.state_at(new.expires).phase(), Phase::Denied);
    assert_eq!(cancelled.state_at(new.expires).phase(), Phase::Cancelled);
    // Its own end, counted from the last yes, and not that of the question.
    assert_eq!(approved.state_at(after(900)).phase(), Phase::Approved);
    assert_eq!(approved.state_at(after(901)).phase(), Phase::Expired);
}

#[tokio::test]
async fn an_approval_is_used_up_by_the_next_call() {
    let store: Arc<dyn ApprovalStore> = Arc::new(MemoryStore::new());
    let first = asked(&person("ana"), &[("owners", 1)]);
    // The same bytes for the same person to the same place: another request all the same.
    let next = NewApproval { id: ApprovalId::random(), run: Some(RunId::random()), ..first.clone() };
    for new in [&first, &next] {
        store.open(new.clone()).await.unwrap();
    }
    store.vote(yes(&first, &person("bob"), &["owners"])).await.unwrap();
    assert_eq!(store.claim(next.id, after(2), LEASE).await, Ok(None));
    let lease = store.claim(first.id, after(2), LEASE).await.unwrap().unwrap();
    let crossed = Lease { approval: next.id, ..lease };
    assert_eq!(store.mark_sent(crossed, after(3)).await, Err(LeaseError::Lost));
    store.mark_sent(lease, after(3)).await.unwrap();
}

#[tokio::test]
async fn an_approval_lands_on_another_command_of_the_same_id() {
    let store: Arc<dyn ApprovalStore> = Arc::new(MemoryStore::new());
    let new = asked(&person("ana"), &[("owners", 1)]);
    store.open(new.clone()).await.unwrap();
    let other = NewApproval { run: Some(RunId::random()), ..asked(&person("eve"), &[("owners", 1)]) };
    assert!(
        store.open(NewApproval { id: new.id, ..other.clone() }).await.is_err(),
        "an id stands for one request"
    );
    // And a yes to what was read elsewhere is a yes to that alone.
    let mut ballot = yes(&other, &person("bob"), &["owners"]);
    ballot.approval = new.id;
    assert_eq!(store.vote(ballot).await, Err(VoteError::DigestMismatch));
}

#[tokio::test]
async fn one_yes_is_a_yes_to_all_that_follows() {
    let store: Arc<dyn ApprovalStore> = Arc::new(MemoryStore::new());
    let first = asked(&person("ana"), &[("owners", 1)]);
    store.open(first.clone()).await.unwrap();
    store.vote(yes(&first, &person("bob"), &["owners"])).await.unwrap();
    let next = NewApproval { id: ApprovalId::random(), run: Some(RunId::random()), ..first };
    assert_eq!(store.open(next).await.unwrap().state, State::Pending);
}

//! What every [`GrantStore`] must do, whatever it is made of.
//!
//! Call [`conforms`] with a closure that makes an empty store, from an integration test on the multi-threaded runtime.
#![expect(clippy::unwrap_used, reason = "a suite fails by panicking")]

use std::{future::Future, num::NonZeroU32, sync::Arc, time::Duration};

use crewgate_approval::{
    ApprovalStore, Ballot, Gift, GiveError, Grant, GrantFilter, GrantState, GrantStore, MAX_GRANTS_OF_ONE,
    Narrowing, NewGrant, Revocation, RevokeError, SpendError, State,
};
use crewgate_core::{ApprovalId, Effect, GrantId, PrincipalKey, RequestId, RoleName, Timestamp};

use super::approval::{asked, person, set, start, yes};

/// A store under test.
pub type Store = Arc<dyn GrantStore>;

const HOUR: Duration = Duration::from_secs(3600);

/// The role `operators` for this subject of `okta`, agreed to by the owners, from the start for an hour.
#[must_use]
pub fn given(subject: &str) -> NewGrant {
    NewGrant {
        id: GrantId::random(),
        request: RequestId::random(),
        principal: PrincipalKey::new("okta", subject),
        role: RoleName::new("operators"),
        given: start(),
        from: start(),
        until: start().saturating_add(HOUR),
        narrowed: Narrowing::default(),
        reason: "the night shift".to_owned(),
        approval: ApprovalId::random(),
        sets: [set("owners")].into(),
    }
}

/// The same, for so many calls that change something.
///
/// # Panics
///
/// When `uses` is 0, which is no grant.
#[must_use]
pub fn limited(subject: &str, uses: u32) -> NewGrant {
    let narrowed = Narrowing { uses: Some(NonZeroU32::new(uses).unwrap()), ..Narrowing::default() };
    NewGrant { narrowed, ..given(subject) }
}

/// That this subject, who may speak for these sets, takes it away a second after the start.
#[must_use]
pub fn revocation(grant: GrantId, by: &str, sets: &[&str]) -> Revocation {
    Revocation {
        grant,
        request: RequestId::random(),
        by: PrincipalKey::new("okta", by),
        sets: sets.iter().map(|name| set(name)).collect(),
        reason: Some("not needed".to_owned()),
        at: start().saturating_add(Duration::from_secs(1)),
    }
}

/// What a request for a role gives with its last yes: all of it in one step, or nothing.
///
/// # Panics
///
/// When the stores break the contract, saying which part.
pub async fn is_given_with_the_last_yes(approvals: &dyn ApprovalStore, grants: &dyn GrantStore) {
    let ballot = |by: &str, new: &_| yes(new, &person(by), &["owners"]);
    let agree = async |first: Option<Gift>, last: Option<Gift>| {
        let new = asked(&person("ana"), &[("owners", 2)]);
        approvals.open(new.clone()).await.unwrap();
        let bob = Ballot { gives: first, ..ballot("bob", &new) };
        assert_eq!(approvals.vote(bob).await.unwrap(), State::Pending, "one of two");
        let state = approvals.vote(Ballot { gives: last, ..ballot("cleo", &new) }).await.unwrap();
        let stored = approvals.find(new.id).await.unwrap().unwrap().state;
        assert_eq!(state, stored, "what is told is what is stored");
        state
    };
    let at = start().saturating_add(Duration::from_secs(1));
    let role = || NewGrant { given: at, from: at, ..given("ana") };
    let (never, agreed) = (role(), role());
    let state = agree(Some(Ok(never.clone())), Some(Ok(agreed.clone()))).await;
    assert_eq!(state, State::Executed { at });
    assert_eq!(grants.find(never.id).await.unwrap(), None, "given before everybody had agreed");
    assert_eq!(grants.find(agreed.id).await.unwrap().map(|grant| grant.given), Some(agreed.clone()));
    // Nothing is given twice, and what cannot be given is told.
    let endless = NewGrant { until: at, ..role() };
    for new in [agreed, endless.clone()] {
        let state = agree(None, Some(Ok(new))).await;
        assert!(matches!(&state, State::Failed { .. }), "{state:?}");
    }
    assert_eq!(grants.find(endless.id).await.unwrap(), None);
    let reason = "the role cannot be asked for any more".to_owned();
    let state = agree(None, Some(Err(reason.clone()))).await;
    assert_eq!(state, State::Invalidated { reason });
    let state = agree(None, None).await;
    assert!(matches!(state, State::Approved { .. }), "{state:?}");
}

/// Runs the whole suite on fresh stores.
///
/// # Panics
///
/// When the store breaks the contract, saying which part.
pub async fn conforms<F: Future<Output = Store>>(make: impl Fn() -> F) {
    what_was_given_is_found_and_counts_in_its_time(&*make().await).await;
    what_means_nothing_is_not_given(&*make().await).await;
    one_principal_has_so_many_and_no_more(&*make().await).await;
    those_who_gave_it_or_hold_it_take_it_away_and_nobody_else(&*make().await).await;
    what_is_over_stays_over(&*make().await).await;
    uses_are_spent_by_calls_that_change_something(&*make().await).await;
    grants_are_listed_by_their_end(&*make().await).await;
    exactly_as_many_racing_uses_pass(make().await).await;
    a_revocation_and_a_use_race_for_the_last_word(make().await).await;
}

fn after(secs: u64) -> Timestamp {
    start().saturating_add(Duration::from_secs(secs))
}

async fn held(store: &dyn GrantStore, subject: &str, now: Timestamp) -> Vec<GrantId> {
    let grants = store.of(&PrincipalKey::new("okta", subject), now).await.unwrap();
    grants.iter().map(Grant::id).collect()
}

async fn what_was_given_is_found_and_counts_in_its_time(store: &dyn GrantStore) {
    let new = NewGrant { from: after(10), until: after(20), ..given("ana") };
    let grant = store.give(new.clone()).await.unwrap();
    assert_eq!((&grant.given, grant.used, &grant.revoked), (&new, 0, &None));
    assert_eq!(store.find(new.id).await.unwrap(), Some(grant.clone()));
    assert_eq!(store.find(GrantId::random()).await.unwrap(), None);
    assert_eq!(store.give(new.clone()).await, Err(GiveError::Exists));
    let just_before = |end: Timestamp| end.saturating_sub(Duration::from_micros(1));
    for (now, state, counts) in [
        (just_before(new.from), GrantState::Coming, false),
        (new.from, GrantState::Live, true),
        (just_before(new.until), GrantState::Live, true),
        (new.until, GrantState::Ended, false),
    ] {
        assert_eq!(grant.state_at(now), state, "{now}");
        assert_eq!(held(store, "ana", now).await, if counts { vec![new.id] } else { vec![] }, "{now}");
        assert_eq!(held(store, "bob", now).await, []);
    }
    // Another issuer's subject of that name is somebody else.
    assert_eq!(store.of(&PrincipalKey::new("entra", "ana"), new.from).await.unwrap(), []);
}

async fn what_means_nothing_is_not_given(store: &dyn GrantStore) {
    for wrong in [
        NewGrant { sets: [].into(), ..given("ana") },
        NewGrant { reason: "  ".to_owned(), ..given("ana") },
        NewGrant { until: start(), ..given("ana") },
        NewGrant { from: start().saturating_sub(HOUR), ..given("ana") },
    ] {
        let id = wrong.id;
        assert_eq!(store.give(wrong).await, Err(GiveError::Invalid));
        assert_eq!(store.find(id).await.unwrap(), None);
    }
}

async fn one_principal_has_so_many_and_no_more(store: &dyn GrantStore) {
    let first = given("ana");
    store.give(first.clone()).await.unwrap();
    for _ in 1..MAX_GRANTS_OF_ONE {
        store.give(given("ana")).await.unwrap();
    }
    assert_eq!(store.give(given("ana")).await, Err(GiveError::TooMany));
    assert_eq!(held(store, "ana", start()).await.len(), MAX_GRANTS_OF_ONE);
    store.give(given("bob")).await.unwrap();
    store.revoke(revocation(first.id, "ana", &[])).await.unwrap();
    store.give(given("ana")).await.unwrap();
}

async fn those_who_gave_it_or_hold_it_take_it_away_and_nobody_else(store: &dyn GrantStore) {
    for (by, sets, taken) in [
        ("eve", &[][..], false),
        ("eve", &["legal"][..], false),
        ("bob", &["owners"][..], true),
        ("ana", &[][..], true),
    ] {
        let new = given("ana");
        store.give(new.clone()).await.unwrap();
        let revocation = revocation(new.id, by, sets);
        let at = revocation.at;
        let answer = store.revoke(revocation.clone()).await;
        if taken {
            let revoked = answer.unwrap().revoked.unwrap();
            assert_eq!((revoked.by.subject.as_str(), revoked.at), (by, at));
            assert_eq!(revoked.reason.as_deref(), Some("not needed"));
            let over = Err(RevokeError::Over(GrantState::Revoked));
            assert_eq!(store.revoke(revocation).await, over, "twice");
        } else {
            assert_eq!(answer, Err(RevokeError::NotEligible));
        }
        assert_eq!(held(store, "ana", at).await.contains(&new.id), !taken, "{by}");
    }
    let unknown = revocation(GrantId::random(), "bob", &["owners"]);
    assert_eq!(store.revoke(unknown).await, Err(RevokeError::Unknown));
}

async fn what_is_over_stays_over(store: &dyn GrantStore) {
    let (ended, revoked) = (given("ana"), given("ana"));
    store.give(ended.clone()).await.unwrap();
    store.give(revoked.clone()).await.unwrap();
    let late = Revocation { at: ended.until, ..revocation(ended.id, "bob", &["owners"]) };
    assert_eq!(store.revoke(late).await, Err(RevokeError::Over(GrantState::Ended)));
    store.revoke(revocation(revoked.id, "bob", &["owners"])).await.unwrap();
    for (id, now, state) in
        [(ended.id, ended.until, GrantState::Ended), (revoked.id, after(2), GrantState::Revoked)]
    {
        for effect in [Effect::Read, Effect::Write] {
            let spent = store.spend(id, effect, RequestId::random(), now).await;
            assert_eq!(spent, Err(SpendError::Over(state)));
        }
    }
}

async fn uses_are_spent_by_calls_that_change_something(store: &dyn GrantStore) {
    let new = limited("ana", 2);
    let early = NewGrant { from: after(10), ..limited("ana", 2) };
    store.give(new.clone()).await.unwrap();
    store.give(early.clone()).await.unwrap();
    let spend = |id, effect| store.spend(id, effect, RequestId::random(), after(5));
    assert_eq!(spend(early.id, Effect::Read).await, Err(SpendError::Over(GrantState::Coming)));
    for effect in [Effect::Read, Effect::Write, Effect::Read, Effect::Write, Effect::Read] {
        assert_eq!(spend(new.id, effect).await, Ok(()));
    }
    assert_eq!(spend(new.id, Effect::Write).await, Err(SpendError::Over(GrantState::UsedUp)));
    let row = store.find(new.id).await.unwrap().unwrap();
    assert_eq!((row.used, row.state_at(after(5))), (2, GrantState::UsedUp));
    // It is still there for those who read what was started.
    assert_eq!(held(store, "ana", after(5)).await, [new.id]);
    assert_eq!(spend(GrantId::random(), Effect::Write).await, Err(SpendError::Unknown));
    // Without a limit nothing is counted.
    let endless = given("ana");
    store.give(endless.clone()).await.unwrap();
    for _ in 0..5 {
        assert_eq!(spend(endless.id, Effect::Write).await, Ok(()));
    }
    assert_eq!(store.find(endless.id).await.unwrap().unwrap().used, 0);
}

async fn grants_are_listed_by_their_end(store: &dyn GrantStore) {
    let ending = |subject: &str, secs| NewGrant { until: after(secs), ..given(subject) };
    let grants = [ending("ana", 300), ending("bob", 100), ending("ana", 200), ending("ana", 50)];
    for new in &grants {
        store.give(new.clone()).await.unwrap();
    }
    let [late, other, soon, ended] = grants.map(|new| new.id);
    let gone = given("ana");
    store.give(gone.clone()).await.unwrap();
    store.revoke(revocation(gone.id, "ana", &[])).await.unwrap();

    let ana = PrincipalKey::new("okta", "ana");
    let list = async |filter: GrantFilter| {
        store.list(filter).await.unwrap().iter().map(Grant::id).collect::<Vec<_>>()
    };
    let now = GrantFilter::at(after(60));
    assert_eq!(list(now.clone()).await, [other, soon, late]);
    assert_eq!(list(now.clone().of(&ana)).await, [soon, late]);
    assert_eq!(list(GrantFilter { limit: 1.try_into().unwrap(), ..now.clone() }).await, [other]);
    let by = |sets: &[&str]| Some(sets.iter().map(|name| set(name)).collect());
    assert_eq!(
        list(GrantFilter { sets: by(&["legal", "owners"]), ..now.clone() }).await,
        [other, soon, late]
    );
    for nobody in [by(&["legal"]), by(&[])] {
        assert_eq!(list(GrantFilter { sets: nobody, ..now.clone() }).await, []);
    }
    let all = GrantFilter { over: true, ..now.of(&ana) };
    assert_eq!(list(all).await, [gone.id, late, soon, ended]);
}

async fn exactly_as_many_racing_uses_pass(store: Store) {
    let new = limited("ana", 5);
    store.give(new.clone()).await.unwrap();
    let racers: Vec<_> = (0..32)
        .map(|_| {
            let (store, id) = (Arc::clone(&store), new.id);
            tokio::spawn(async move { store.spend(id, Effect::Write, RequestId::random(), start()).await })
        })
        .collect();
    let mut passed = 0;
    for racer in racers {
        passed += u32::from(racer.await.unwrap().is_ok());
    }
    assert_eq!((passed, store.find(new.id).await.unwrap().unwrap().used), (5, 5));
}

async fn a_revocation_and_a_use_race_for_the_last_word(store: Store) {
    for _ in 0..20 {
        let new = limited("ana", 1);
        store.give(new.clone()).await.unwrap();
        let (user, taker, id) = (Arc::clone(&store), Arc::clone(&store), new.id);
        let used =
            tokio::spawn(async move { user.spend(id, Effect::Write, RequestId::random(), after(1)).await });
        let taken = tokio::spawn(async move { taker.revoke(revocation(id, "ana", &[])).await });
        let (used, taken) = (used.await.unwrap(), taken.await.unwrap());
        assert!(taken.is_ok(), "a used grant can be taken away: {taken:?}");
        let row = store.find(id).await.unwrap().unwrap();
        assert!(row.revoked.is_some());
        // Either the use came first and counts, or it came second and was refused.
        assert_eq!(row.used, u32::from(used.is_ok()), "{used:?}");
    }
}

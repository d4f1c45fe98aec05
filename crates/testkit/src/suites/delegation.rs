//! What every [`DelegationStore`] must do, whatever it is made of.
//!
//! Call [`conforms`] with a closure that makes an empty store, from an integration test on the multi-threaded runtime.
#![expect(clippy::unwrap_used, reason = "a suite fails by panicking")]

use std::{collections::BTreeSet, future::Future, num::NonZeroUsize, sync::Arc, time::Duration};

use crewgate_approval::{
    DelegationFilter, DelegationStore, EndError, LONGEST_DELEGATION, LendError, MAX_DELEGATIONS_OF_ONE,
    NewDelegation,
};
use crewgate_core::{ApproverSet, DelegationId, PrincipalKey, RequestId, Timestamp};

use super::approval::{person, program, set, start};

/// A store under test.
pub type Store = Arc<dyn DelegationStore>;

const HOUR: Duration = Duration::from_secs(3600);

fn after(seconds: u64) -> Timestamp {
    start().saturating_add(Duration::from_secs(seconds))
}

fn own() -> BTreeSet<ApproverSet> {
    [set("owners"), set("legal")].into()
}

/// The voice of one for the owners, lent to another from the start for an hour.
#[must_use]
pub fn lent(by: &str, to: &str) -> NewDelegation {
    NewDelegation {
        id: DelegationId::random(),
        request: RequestId::random(),
        by: person(by),
        to: PrincipalKey::new("okta", to),
        sets: [set("owners")].into(),
        given: start(),
        from: start(),
        until: start().saturating_add(HOUR),
        reason: "vacation".to_owned(),
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
    it_counts_from_its_beginning_until_its_end(fresh().await).await;
    only_what_is_ones_own_is_lent_and_not_for_ever(fresh().await).await;
    either_side_ends_it_once(fresh().await).await;
    it_is_listed_by_its_end(fresh().await).await;
}

async fn it_counts_from_its_beginning_until_its_end(store: Store) {
    let new = NewDelegation { from: after(10), ..lent("bob", "dan") };
    store.lend(new.clone(), own()).await.unwrap();
    let to = async |who: &str, at| {
        let who = PrincipalKey::new("okta", who);
        store.to(&who, at).await.unwrap().iter().map(|row| row.id()).collect::<Vec<_>>()
    };
    assert!(to("dan", after(9)).await.is_empty());
    assert_eq!(to("dan", after(10)).await, [new.id]);
    assert_eq!(to("dan", after(3599)).await, [new.id]);
    assert!(to("dan", after(3600)).await.is_empty());
    assert!(to("bob", after(10)).await.is_empty());
}

async fn only_what_is_ones_own_is_lent_and_not_for_ever(store: Store) {
    let lend = async |new: NewDelegation| store.lend(new, own()).await.unwrap_err();
    let good = lent("bob", "dan");
    let sets = [set("owners"), set("cooks")].into();
    assert_eq!(lend(NewDelegation { sets, ..good.clone() }).await, LendError::NotTheirs);
    assert_eq!(lend(NewDelegation { by: program("bob"), ..good.clone() }).await, LendError::NotTheirs);
    for wrong in [
        NewDelegation { sets: BTreeSet::new(), ..good.clone() },
        NewDelegation { to: person("bob").key, ..good.clone() },
        NewDelegation { reason: " ".to_owned(), ..good.clone() },
        NewDelegation { until: start(), ..good.clone() },
        NewDelegation { given: after(1), ..good.clone() },
        NewDelegation { until: after(1).saturating_add(LONGEST_DELEGATION), ..good.clone() },
    ] {
        assert_eq!(lend(wrong).await, LendError::Invalid);
    }
    store.lend(good.clone(), own()).await.unwrap();
    assert_eq!(lend(good).await, LendError::Exists);
    for _ in 1..MAX_DELEGATIONS_OF_ONE {
        store.lend(lent("bob", "dan"), own()).await.unwrap();
    }
    assert_eq!(lend(lent("bob", "eve")).await, LendError::TooMany);
    store.lend(lent("sue", "eve"), own()).await.unwrap();
}

async fn either_side_ends_it_once(store: Store) {
    let end = async |id, who: &str, at| {
        store.end(id, PrincipalKey::new("okta", who), RequestId::random(), at).await
    };
    for who in ["bob", "dan"] {
        let new = lent("bob", "dan");
        store.lend(new.clone(), own()).await.unwrap();
        assert_eq!(end(new.id, "eve", after(1)).await, Err(EndError::NotTheirs));
        let row = end(new.id, who, after(1)).await.unwrap();
        assert_eq!(row.ended.unwrap().by, PrincipalKey::new("okta", who));
        assert_eq!(end(new.id, who, after(2)).await, Err(EndError::Over));
        assert!(store.to(&new.to, after(2)).await.unwrap().is_empty());
    }
    let new = lent("bob", "dan");
    store.lend(new.clone(), own()).await.unwrap();
    assert_eq!(end(new.id, "bob", after(3600)).await, Err(EndError::Over));
    assert_eq!(end(DelegationId::random(), "bob", after(1)).await, Err(EndError::Unknown));
}

async fn it_is_listed_by_its_end(store: Store) {
    let last = NewDelegation { until: after(7200), ..lent("bob", "dan") };
    let (first, others) = (lent("dan", "eve"), lent("sue", "sam"));
    for new in [&last, &first, &others] {
        store.lend(new.clone(), own()).await.unwrap();
    }
    let ids = async |filter: DelegationFilter| {
        store.list(filter).await.unwrap().iter().map(|row| row.id()).collect::<Vec<_>>()
    };
    let all = DelegationFilter::at(after(1));
    assert_eq!(ids(all.clone().of(&person("dan").key)).await, [first.id, last.id]);
    assert_eq!(ids(all.clone()).await.len(), 3);
    assert_eq!(ids(DelegationFilter { limit: NonZeroUsize::MIN, ..all }).await.len(), 1);
    assert_eq!(ids(DelegationFilter::at(after(3600))).await, [last.id]);
}

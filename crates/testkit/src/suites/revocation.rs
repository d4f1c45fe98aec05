//! What every [`RevocationStore`] must do, whatever it is made of.
//!
//! Call [`conforms`] with a closure that makes an empty store, from an integration test on the multi-threaded runtime.
#![expect(clippy::unwrap_used, reason = "a suite fails by panicking")]

use std::{future::Future, sync::Arc, time::Duration};

use crewgate_core::{PrincipalKey, RevokedTokens, Timestamp};
use crewgate_oidc::{Lift, Revocation, RevocationStore, RevokeError};

use super::approval::start;

/// A store under test.
pub type Store = Arc<dyn RevocationStore>;

const HOUR: Duration = Duration::from_secs(3600);

fn later(secs: u64) -> Timestamp {
    start().saturating_add(Duration::from_secs(secs))
}

/// All tokens of this subject of `okta`.
#[must_use]
pub fn subject(subject: &str) -> RevokedTokens {
    RevokedTokens::Subject { principal: PrincipalKey::new("okta", subject) }
}

/// A revocation of these tokens made so many seconds after the start, for an hour.
#[must_use]
pub fn revocation(tokens: RevokedTokens, secs: u64) -> Revocation {
    Revocation {
        tokens,
        before: later(secs),
        until: later(secs).saturating_add(HOUR),
        at: later(secs),
        by: Some(PrincipalKey::new("okta", "sue")),
        reason: Some("left the company".to_owned()),
    }
}

fn lift(tokens: RevokedTokens, secs: u64) -> Lift {
    Lift { tokens, at: later(secs), by: PrincipalKey::new("okta", "sue"), reason: None }
}

/// Runs the whole suite on fresh stores.
///
/// # Panics
///
/// When the store breaks the contract, saying which part.
pub async fn conforms<F: Future<Output = Store>>(make: impl Fn() -> F) {
    what_is_revoked_stands_until_its_end(&*make().await).await;
    every_kind_of_tokens_stands_for_itself(&*make().await).await;
    a_second_revocation_never_hits_less(&*make().await).await;
    what_is_lifted_is_gone_and_cannot_be_lifted_twice(&*make().await).await;
    every_change_changes_the_version_and_nothing_else_does(&*make().await).await;
    racing_revocations_of_one_subject_join(make().await).await;
}

async fn what_is_revoked_stands_until_its_end(store: &dyn RevocationStore) {
    let made = store.revoke(revocation(subject("ana"), 0)).await.unwrap();
    assert_eq!(made, revocation(subject("ana"), 0));
    assert_eq!(store.standing(later(3599)).await.unwrap(), [made]);
    assert_eq!(store.standing(later(3600)).await.unwrap(), []);
    // What has ended is forgotten with the next one, and is not joined with it.
    let again = revocation(subject("ana"), 4000);
    assert_eq!(store.revoke(again.clone()).await.unwrap(), again);
    assert_eq!(store.standing(later(4000)).await.unwrap(), [again]);
}

async fn every_kind_of_tokens_stands_for_itself(store: &dyn RevocationStore) {
    let (issuer, name) = ("okta".to_owned(), "ana".to_owned());
    let kinds = [
        subject("ana"),
        RevokedTokens::Subject { principal: PrincipalKey::new("entra", "ana") },
        RevokedTokens::Client { issuer: issuer.clone(), client: name.clone() },
        RevokedTokens::Issuer { issuer: issuer.clone() },
        RevokedTokens::Token { issuer, id: name },
    ];
    for kind in &kinds {
        store.revoke(revocation(kind.clone(), 0)).await.unwrap();
    }
    let standing = store.standing(start()).await.unwrap();
    assert_eq!(standing.len(), kinds.len());
    assert!(standing.is_sorted_by_key(|row| row.tokens.clone()), "in the order of the tokens");
    store.lift(lift(subject("ana"), 1)).await.unwrap();
    let left = store.standing(start()).await.unwrap();
    assert!(left.len() == kinds.len() - 1 && left.iter().all(|row| row.tokens != subject("ana")), "{left:?}");
}

async fn a_second_revocation_never_hits_less(store: &dyn RevocationStore) {
    store.revoke(revocation(subject("ana"), 100)).await.unwrap();
    let older = Revocation {
        before: later(5),
        until: later(200),
        at: later(101),
        by: None,
        reason: None,
        ..revocation(subject("ana"), 0)
    };
    let joined = store.revoke(older).await.unwrap();
    assert_eq!((joined.before, joined.until), (later(100), later(3700)));
    assert_eq!((joined.by, joined.at), (None, later(101)));
    let newer = store.revoke(revocation(subject("ana"), 300)).await.unwrap();
    assert_eq!((newer.before, newer.until), (later(300), later(3900)));
    assert_eq!(store.standing(later(300)).await.unwrap(), [newer]);
}

async fn what_is_lifted_is_gone_and_cannot_be_lifted_twice(store: &dyn RevocationStore) {
    assert_eq!(store.lift(lift(subject("ana"), 0)).await, Err(RevokeError::NotRevoked));
    store.revoke(revocation(subject("ana"), 0)).await.unwrap();
    store.lift(lift(subject("ana"), 1)).await.unwrap();
    assert_eq!(store.standing(start()).await.unwrap(), []);
    assert_eq!(store.lift(lift(subject("ana"), 1)).await, Err(RevokeError::NotRevoked));
    store.revoke(revocation(subject("ana"), 2)).await.unwrap();
    assert_eq!(store.lift(lift(subject("ana"), 3602)).await, Err(RevokeError::NotRevoked), "it has ended");
}

async fn every_change_changes_the_version_and_nothing_else_does(store: &dyn RevocationStore) {
    let first = store.version().await.unwrap();
    assert_eq!(store.version().await.unwrap(), first);
    store.revoke(revocation(subject("ana"), 0)).await.unwrap();
    let second = store.version().await.unwrap();
    assert_ne!(second, first);
    assert_eq!(store.lift(lift(subject("bob"), 0)).await, Err(RevokeError::NotRevoked));
    assert_eq!(store.version().await.unwrap(), second);
    store.lift(lift(subject("ana"), 1)).await.unwrap();
    assert!(![first, second].contains(&store.version().await.unwrap()));
}

async fn racing_revocations_of_one_subject_join(store: Store) {
    let made: Vec<_> = (0..32_u64)
        .map(|secs| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.revoke(revocation(subject("ana"), secs)).await })
        })
        .collect();
    for one in made {
        one.await.unwrap().unwrap();
    }
    let standing = store.standing(later(31)).await.unwrap();
    assert_eq!(standing.iter().map(|row| row.before).collect::<Vec<_>>(), [later(31)]);
}

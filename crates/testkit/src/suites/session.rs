//! What every [`SessionStore`] must do, whatever it is made of.
//!
//! Call [`conforms`] with a closure that makes an empty store, from an integration test on the multi-threaded runtime.
#![expect(clippy::unwrap_used, reason = "a suite fails by panicking")]

use std::{future::Future, sync::Arc, time::Duration};

use crewgate_core::{PrincipalKey, Timestamp};
use crewgate_oidc::{
    MAX_SESSIONS_EACH, NewSession, SESSION_IDLE, SESSION_LIFE, SESSION_TOUCH, Session, SessionId,
    SessionStore, SessionsOf,
};

use super::approval::{person, start};

/// A store under test.
pub type Store = Arc<dyn SessionStore>;

fn later(time: Duration) -> Timestamp {
    start().saturating_add(time)
}

/// A session of this person of `okta` that begins so long after the start, inside the issuer's session `sid`.
#[must_use]
pub fn session(sub: &str, sid: &str, after: Duration) -> Session {
    let mut principal = person(sub);
    // What the principal is called by may be another thing than `sub`.
    principal.key = PrincipalKey::new("okta", format!("id-of-{sub}"));
    Session {
        principal,
        sub: sub.to_owned(),
        begun: later(after),
        authenticated: Some(later(after)),
        acr: Some("mfa".to_owned()),
        sid: Some(sid.to_owned()),
    }
}

async fn begin(store: &dyn SessionStore, session: Session) -> SessionId {
    let id = SessionId::random().unwrap();
    store.begin(NewSession { key: id.key(), session, over: None }).await.unwrap();
    id
}

async fn lives(store: &dyn SessionStore, id: &SessionId, at: Duration) -> bool {
    store.resume(id.key(), later(at)).await.unwrap().is_some()
}

/// Runs the whole suite on fresh stores.
///
/// # Panics
///
/// When the store breaks the contract, saying which part.
pub async fn conforms<F: Future<Output = Store>>(make: impl Fn() -> F) {
    a_session_is_found_by_its_own_id_alone(&*make().await).await;
    an_unused_session_ends(&*make().await).await;
    a_used_session_ends_too(&*make().await).await;
    a_new_session_takes_the_place_of_the_old_one(&*make().await).await;
    a_person_has_so_many_sessions_and_the_oldest_ends(&*make().await).await;
    what_is_ended_stays_ended(&*make().await).await;
    an_issuer_ends_its_own(&*make().await).await;
    a_session_ends_once(make().await).await;
}

async fn a_session_is_found_by_its_own_id_alone(store: &dyn SessionStore) {
    let ana = session("ana", "s1", Duration::ZERO);
    let id = begin(store, ana.clone()).await;
    begin(store, session("bob", "s2", Duration::ZERO)).await;
    assert_eq!(store.resume(id.key(), start()).await.unwrap(), Some(ana));
    assert!(!lives(store, &SessionId::random().unwrap(), Duration::ZERO).await);
}

async fn an_unused_session_ends(store: &dyn SessionStore) {
    let id = begin(store, session("ana", "s", Duration::ZERO)).await;
    let last = SESSION_IDLE - Duration::from_micros(1);
    assert!(!lives(store, &id, SESSION_IDLE).await);
    assert!(lives(store, &id, last).await, "asking after its end is no use, and is no end of it");
    // Its use counts from then on.
    assert!(lives(store, &id, SESSION_IDLE + SESSION_TOUCH).await);
    assert!(!lives(store, &id, SESSION_IDLE * 3).await);
}

async fn a_used_session_ends_too(store: &dyn SessionStore) {
    let id = begin(store, session("ana", "s", Duration::ZERO)).await;
    let step = SESSION_IDLE / 2;
    let mut at = Duration::ZERO;
    while at + step < SESSION_LIFE {
        at += step;
        assert!(lives(store, &id, at).await, "{at:?}");
    }
    assert!(!lives(store, &id, SESSION_LIFE).await);
}

async fn a_new_session_takes_the_place_of_the_old_one(store: &dyn SessionStore) {
    let old = begin(store, session("ana", "s", Duration::ZERO)).await;
    let id = SessionId::random().unwrap();
    let next = session("ana", "s", Duration::from_secs(1));
    store.begin(NewSession { key: id.key(), session: next, over: Some(old.key()) }).await.unwrap();
    assert!(!lives(store, &old, Duration::from_secs(2)).await);
    assert!(lives(store, &id, Duration::from_secs(2)).await);
}

async fn a_person_has_so_many_sessions_and_the_oldest_ends(store: &dyn SessionStore) {
    let other = begin(store, session("bob", "s", Duration::ZERO)).await;
    let mut own = Vec::new();
    for second in 0..=u64::try_from(MAX_SESSIONS_EACH).unwrap() {
        own.push(begin(store, session("ana", "s", Duration::from_secs(second))).await);
    }
    let mut living = Vec::new();
    for id in &own {
        living.push(lives(store, id, Duration::from_secs(60)).await);
    }
    assert_eq!(living.iter().position(|lives| *lives), Some(1), "the first has ended");
    assert!(living.iter().skip(1).all(|lives| *lives));
    assert!(lives(store, &other, Duration::from_secs(60)).await);
}

async fn what_is_ended_stays_ended(store: &dyn SessionStore) {
    let (id, other) = (
        begin(store, session("ana", "s", Duration::ZERO)).await,
        begin(store, session("ana", "s", Duration::ZERO)).await,
    );
    assert!(store.end(id.key(), start()).await.unwrap());
    assert!(!store.end(id.key(), start()).await.unwrap());
    assert!(!lives(store, &id, Duration::ZERO).await);
    assert!(lives(store, &other, Duration::ZERO).await);
}

async fn an_issuer_ends_its_own(store: &dyn SessionStore) {
    let of = |sub: &str, sid: &str| session(sub, sid, Duration::ZERO);
    let ids = [
        begin(store, of("ana", "s1")).await,
        begin(store, of("ana", "s2")).await,
        begin(store, of("bob", "s1")).await,
    ];
    let (okta, other) = ("okta".to_owned(), "entra".to_owned());
    let sid = |issuer: &String, subject: Option<&str>| SessionsOf::Sid {
        issuer: issuer.clone(),
        sid: "s1".to_owned(),
        subject: subject.map(str::to_owned),
    };
    let subject = |issuer: &String| SessionsOf::Subject { issuer: issuer.clone(), subject: "ana".to_owned() };
    let ended = async |which| store.end_all(which, start()).await.unwrap();
    assert_eq!(ended(sid(&other, None)).await, 0);
    assert_eq!(ended(subject(&other)).await, 0);
    assert_eq!(ended(sid(&okta, Some("eve"))).await, 0);
    assert_eq!(ended(sid(&okta, Some("bob"))).await, 1);
    assert_eq!(ended(subject(&okta)).await, 2);
    for id in &ids {
        assert!(!lives(store, id, Duration::ZERO).await);
    }
}

async fn a_session_ends_once(store: Store) {
    let id = begin(&*store, session("ana", "s", Duration::ZERO)).await;
    let racers: Vec<_> = (0..16)
        .map(|_| {
            let (store, key) = (Arc::clone(&store), id.key());
            tokio::spawn(async move { store.end(key, start()).await })
        })
        .collect();
    let mut ended = 0;
    for racer in racers {
        ended += u32::from(racer.await.unwrap().unwrap());
    }
    assert_eq!(ended, 1);
}

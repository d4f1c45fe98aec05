//! The store in memory, under a scheduler that tries ten thousand orders of its locks: `src/memory.rs` itself, with
//! shuttle's lock in the place of the standard library's.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::{sync::Arc, time::Duration};

use crewgate_approval::{
    Approval, ApprovalStore, Ballot, BreakError, Broken, CancelError, End, Filter, Gift, GiveError,
    GlassBreak, Grant, Hindsight, Hint, KeptKey, KeyStore, Lease, LeaseError, NewApproval, NewGrant,
    OpenError, Phase, Resolution, ResolveError, ReviewError, State, StoreError, VoteError, hand_over,
    machine,
};
use crewgate_core::Timestamp;
use crewgate_testkit::suites::approval::{asked, no, person, start, yes};
use futures_util::{FutureExt, future::BoxFuture};
use shuttle::thread;

use self::memory::MemoryStore;

/// What `src/lock.rs` is in the library.
mod lock {
    pub(crate) use std::sync::PoisonError;

    pub(crate) use shuttle::sync::{Mutex, MutexGuard};
}

#[path = "../src/memory.rs"]
#[expect(dead_code, unreachable_pub, reason = "what these tests do not configure, in a module of theirs")]
mod memory;

const SCHEDULES: usize = 10_000;
const LEASE: Duration = Duration::from_secs(60);

fn after(seconds: u64) -> Timestamp {
    start().saturating_add(Duration::from_secs(seconds))
}

/// The store never waits but for its lock.
fn now<T>(future: BoxFuture<'_, T>) -> T {
    future.now_or_never().unwrap_or_else(|| panic!("the store in memory waits for something"))
}

fn opened(owners: u32) -> (Arc<MemoryStore>, NewApproval) {
    let (store, new) = (MemoryStore::new(), asked(&person("ana"), &[("owners", owners)]));
    now(store.open(new.clone())).unwrap();
    (Arc::new(store), new)
}

fn vote(store: &Arc<MemoryStore>, ballot: Ballot) -> thread::JoinHandle<Result<State, VoteError>> {
    let store = Arc::clone(store);
    thread::spawn(move || now(store.vote(ballot)))
}

fn found(store: &MemoryStore, new: &NewApproval) -> Approval {
    now(store.find(new.id)).unwrap().unwrap()
}

#[test]
fn approve_and_approve_both_count_and_one_completes() {
    shuttle::check_random(
        || {
            let (store, new) = opened(2);
            let bob = vote(&store, yes(&new, &person("bob"), &["owners"]));
            let dan = vote(&store, yes(&new, &person("dan"), &["owners"]));
            let states = [bob.join().unwrap().unwrap(), dan.join().unwrap().unwrap()];
            assert_eq!(states.iter().filter(|state| state.phase() == Phase::Approved).count(), 1);
            assert_eq!(found(&store, &new).votes.len(), 2);
        },
        SCHEDULES,
    );
}

#[test]
fn approve_and_deny_have_one_winner() {
    shuttle::check_random(
        || {
            let (store, new) = opened(1);
            let bob = vote(&store, yes(&new, &person("bob"), &["owners"]));
            let dan = vote(&store, no(&new, &person("dan"), &["owners"]));
            let row = found_after(&store, &new, [bob, dan]);
            assert_eq!(row.votes.len(), 1);
        },
        SCHEDULES,
    );
}

/// The row after both have spoken, of whom one won, with the state the winner was told.
fn found_after(
    store: &MemoryStore,
    new: &NewApproval,
    voters: [thread::JoinHandle<Result<State, VoteError>>; 2],
) -> Approval {
    let row = match voters.map(|voter| voter.join().unwrap()) {
        [Ok(won), Err(VoteError::NotPending(_))] | [Err(VoteError::NotPending(_)), Ok(won)] => {
            let row = found(store, new);
            assert_eq!(row.state, won);
            row
        }
        other => panic!("not one winner: {other:?}"),
    };
    // I5: what has ended stays ended, whoever comes after.
    let late = now(store.vote(yes(new, &person("eve"), &["owners"])));
    assert!(matches!(late, Err(VoteError::NotPending(_))), "{late:?}");
    row
}

#[test]
fn approve_and_expire_agree_in_every_order() {
    shuttle::check_random(
        || {
            let (store, new) = opened(1);
            let mut late = yes(&new, &person("dan"), &["owners"]);
            late.vote.at = new.expires;
            let bob = vote(&store, yes(&new, &person("bob"), &["owners"]));
            let dan = vote(&store, late);
            assert!(matches!(bob.join().unwrap(), Ok(State::Approved { .. })));
            assert!(matches!(dan.join().unwrap(), Err(VoteError::NotPending(_))));
            let row = found(&store, &new);
            assert_eq!((row.votes.len(), row.state_at(new.expires)), (1, State::Expired));
            assert_eq!(now(store.claim(new.id, new.expires, LEASE)), Ok(None));
        },
        SCHEDULES,
    );
}

#[test]
fn of_two_executors_one_sends() {
    shuttle::check_random(
        || {
            let (store, new) = opened(1);
            now(store.vote(yes(&new, &person("bob"), &["owners"]))).unwrap();
            let executor = |store: &Arc<MemoryStore>| {
                let (store, id) = (Arc::clone(store), new.id);
                thread::spawn(move || {
                    let Some(lease) = now(store.claim(id, after(2), LEASE)).unwrap() else { return 0 };
                    if now(store.mark_sent(lease, after(3))).is_err() {
                        return 0;
                    }
                    now(store.settle(lease, End::Executed, after(4))).unwrap();
                    1
                })
            };
            let executors = [executor(&store), executor(&store)];
            let sent: u32 = executors.map(|executor| executor.join().unwrap()).into_iter().sum();
            assert_eq!(sent, 1);
            assert_eq!(found(&store, &new).state.phase(), Phase::Executed);
        },
        SCHEDULES,
    );
}

/// That these tests can fail: read, changed and written back without a lock around all of it, the scheduler finds the
/// two winners.
#[test]
fn without_one_lock_around_both_two_executors_are_found() {
    let race = || {
        let new = asked(&person("ana"), &[("owners", 1)]);
        let open = machine::open(new.clone()).unwrap().approval;
        let row = machine::vote(&open, &yes(&new, &person("bob"), &["owners"])).unwrap().approval;
        let row = Arc::new(lock::Mutex::new(row));
        let executor = |row: &Arc<lock::Mutex<Approval>>| {
            let row = Arc::clone(row);
            thread::spawn(move || {
                let read = row.lock().unwrap().clone();
                let claimed = machine::claim(&read, after(2), LEASE);
                claimed.map(|(next, _)| *row.lock().unwrap() = next.approval).is_some()
            })
        };
        let won = [executor(&row), executor(&row)].map(|executor| executor.join().unwrap());
        assert!(won != [true, true], "both may send");
    };
    assert!(std::panic::catch_unwind(move || shuttle::check_random(race, SCHEDULES)).is_err());
}

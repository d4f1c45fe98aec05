//! The laws of the state machine, over random histories.
#![expect(clippy::indexing_slicing, clippy::string_slice, reason = "tests")]

use std::{collections::BTreeSet, time::Duration};

use crewgate_approval::{
    Approval, Digest, End, Lease, NewApproval, Phase, State, digest,
    machine::{self, Transition},
};
use crewgate_core::{Duties, HumanId, Principal, Timestamp, Verdict};
use crewgate_testkit::suites::approval::{
    asked, ballot, linked, operation, outgoing, person, program, start,
};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Move {
    Vote { who: usize, sets: Vec<usize>, approve: bool, stale: bool },
    Cancel { who: usize },
    Claim,
    Return { lease: u64 },
    Invalidate { lease: u64 },
    Send { lease: u64 },
    Settle { lease: u64, end: usize },
}

const SETS: [&str; 3] = ["owners", "legal", "cooks"];

/// Six identities of five humans, and a program.
fn people() -> Vec<Principal> {
    let mut people = ["ana", "bob", "cem", "dan"].map(person).to_vec();
    people.push(linked("okta", "eve", "eva"));
    people.push(linked("github", "eva", "eva"));
    people.push(program("bot"));
    people
}

fn moves() -> impl Strategy<Value = Vec<(u64, Move)>> {
    let one = prop_oneof![
        6 => (0..7usize, proptest::collection::vec(0..3usize, 0..3), prop::bool::weighted(0.9), prop::bool::weighted(0.05))
            .prop_map(|(who, sets, approve, stale)| Move::Vote { who, sets, approve, stale }),
        1 => (0..7usize).prop_map(|who| Move::Cancel { who }),
        3 => Just(Move::Claim),
        1 => (1..4u64).prop_map(|lease| Move::Return { lease }),
        1 => (1..4u64).prop_map(|lease| Move::Invalidate { lease }),
        3 => (1..4u64).prop_map(|lease| Move::Send { lease }),
        2 => (1..4u64, 0..3usize).prop_map(|(lease, end)| Move::Settle { lease, end }),
    ];
    // Seconds between moves: mostly short, sometimes past a lease (60), a use (900) or the request itself (3600).
    let gap = prop_oneof![8 => 0..20u64, 1 => 30..120u64, 1 => 500..4000u64];
    proptest::collection::vec((gap, one), 1..40)
}

fn apply(row: &Approval, step: &Move, now: Timestamp) -> Option<Transition> {
    let held = |lease: u64| Lease { approval: row.id(), number: lease };
    match step {
        Move::Vote { who, sets, approve, stale } => {
            let sets = sets.iter().map(|set| SETS[*set]).collect::<Vec<_>>();
            let verdict = if *approve { Verdict::Approve } else { Verdict::Deny };
            let mut ballot = ballot(&row.asked, &people()[*who], &sets, verdict);
            ballot.vote.at = now;
            if *stale {
                ballot.digest = digest(&outgoing(), &person("x"), &operation(), "elsewhere");
            }
            machine::vote(row, &ballot).ok()
        }
        Move::Cancel { who } => machine::cancel(row, &people()[*who], now).ok(),
        Move::Claim => machine::claim(row, now, Duration::from_secs(60)).map(|(next, _)| next),
        Move::Return { lease } => machine::return_unsent(row, held(*lease), now).ok(),
        Move::Invalidate { lease } => machine::invalidate(row, held(*lease), "policy", now).ok(),
        Move::Send { lease } => machine::mark_sent(row, held(*lease), now).ok(),
        Move::Settle { lease, end } => {
            let end =
                [End::Executed, End::Failed { reason: "x".to_owned() }, End::Indeterminate][*end].clone();
            machine::settle(row, held(*lease), &end, now).ok()
        }
    }
}

/// Whether these votes fill these needs, by trying every assignment: slow, and obviously right.
fn enough(row: &Approval) -> bool {
    fn fill(places: &[String], voters: &mut Vec<BTreeSet<String>>) -> bool {
        let Some((place, rest)) = places.split_first() else { return true };
        (0..voters.len()).any(|n| {
            if !voters[n].contains(place) {
                return false;
            }
            let voter = voters.swap_remove(n);
            let filled = fill(rest, voters);
            voters.push(voter);
            let last = voters.len() - 1;
            voters.swap(n, last);
            filled
        })
    }
    let places = row
        .asked
        .needs
        .iter()
        .flat_map(|need| std::iter::repeat_n(need.set.to_string(), need.count.get() as usize))
        .collect::<Vec<_>>();
    let mut voters = row
        .votes
        .iter()
        .filter(|vote| vote.verdict == Verdict::Approve)
        .map(|vote| vote.sets.iter().map(ToString::to_string).collect())
        .collect::<Vec<_>>();
    fill(&places, &mut voters)
}

fn check(before: &Approval, after: &Approval, now: Timestamp, requester: &Principal) {
    let (was, is) = (before.state_at(now), after.state_at(now));
    // I5: nothing moves out of an end.
    assert!(!was.phase().is_terminal(), "{was:?} became {is:?}");
    assert_eq!(after.version, before.version + 1);
    assert_eq!(after.asked, before.asked);
    // I3: enough distinct people, none of them who asked, at the moment of approval.
    for (n, vote) in after.votes.iter().enumerate() {
        assert!(!vote.approver.same_person(requester));
        assert!(after.votes[..n].iter().all(|earlier| !earlier.approver.same_person(&vote.approver)));
    }
    if matches!(before.state, State::Pending) && matches!(after.state, State::Approved { .. }) {
        assert!(enough(after));
    }
    if matches!(after.state, State::Pending) {
        assert!(!enough(after), "enough people said yes and it still waits");
    }
    // I7: expiry alone comes from nobody answering, and it is never written.
    assert_ne!(after.state.phase(), Phase::Expired);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_history_breaks_a_law(
        needs in prop::sample::select(vec![
            vec![("owners", 1)],
            vec![("owners", 2)],
            vec![("owners", 1), ("legal", 1)],
            vec![("owners", 2), ("legal", 1), ("cooks", 1)],
        ]),
        history in moves(),
    ) {
        let requester = person("ana");
        let mut row = machine::open(asked(&requester, &needs)).unwrap().approval;
        let (mut now, mut sends) = (start(), 0);
        for (gap, step) in history {
            now = now.saturating_add(Duration::from_secs(gap));
            let Some(next) = apply(&row, &step, now) else { continue };
            check(&row, &next.approval, now, &requester);
            if matches!(step, Move::Send { .. }) {
                // I4: only something approved, within its use, by the attempt that holds it.
                let State::Executing { until, lease_ends, sent: false, .. } = row.state else {
                    panic!("sent from {:?}", row.state)
                };
                prop_assert!(now < until && now < lease_ends && enough(&row));
                // I2: what is sent is what was digested, and nothing has touched it.
                let asked = &next.approval.asked;
                prop_assert_eq!(
                    digest(&asked.outgoing, &asked.requester, &asked.operation, &asked.upstream),
                    asked.digest
                );
                sends += 1;
            }
            row = next.approval;
        }
        // I1
        prop_assert!(sends <= 1, "sent {} times", sends);
    }

    #[test]
    fn any_change_of_what_is_sent_changes_the_digest(
        body in proptest::collection::vec(any::<u8>(), 0..40),
        other in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let digest_of = |body: &[u8]| {
            let mut outgoing = outgoing();
            outgoing.body = body.to_vec().into();
            digest(&outgoing, &person("ana"), &operation(), "u")
        };
        prop_assert_eq!(digest_of(&body) == digest_of(&other), body == other);
    }
}

#[test]
fn every_part_of_the_request_is_in_the_digest() {
    let base = (outgoing(), person("ana"), operation(), "u".to_owned());
    let mut seen = BTreeSet::new();
    let mut add = |change: &dyn Fn(&mut (_, Principal, _, String))| {
        let mut parts = base.clone();
        change(&mut parts);
        assert!(seen.insert(digest(&parts.0, &parts.1, &parts.2, &parts.3)), "two requests, one digest");
    };
    add(&|_| ());
    add(&|(o, ..): &mut (crewgate_core::Outgoing, _, crewgate_core::Operation, _)| {
        o.method = http::Method::PUT
    });
    add(&|(o, ..)| o.path = "/kickoff?x=1".parse().unwrap());
    add(&|(o, ..)| o.content_type = None);
    add(&|(o, ..)| o.content_type = Some(http::HeaderValue::from_static("")));
    add(&|(o, ..)| o.body = bytes::Bytes::new());
    add(&|(_, p, ..)| p.key.issuer.push('a'));
    add(&|(_, p, ..)| p.key.subject.push('a'));
    add(&|(_, p, ..)| p.client = None);
    add(&|(_, p, ..)| p.client = Some("other".to_owned()));
    add(&|(_, _, o, _)| o.action = crewgate_core::Action::of("resume"));
    add(&|(_, _, o, _)| o.resource.name.push('a'));
    add(&|(_, _, o, _)| o.resource.kind = "Flow".into());
    add(&|(_, _, o, _)| o.webhook_hosts = vec!["ab".to_owned()]);
    add(&|(_, _, o, _)| o.webhook_hosts = vec!["a".to_owned(), "b".to_owned()]);
    add(&|(.., u)| u.push('a'));
    // Bytes that move from one part to the next.
    add(&|(_, p, ..)| (p.key.issuer, p.key.subject) = ("oktaa".to_owned(), "na".to_owned()));
    // Who it is for is the identity: what else the token says does not matter.
    let mut fresh = person("ana");
    fresh.groups = crewgate_core::Groups::of("okta", ["admins"]);
    fresh.human = Some(HumanId("x".to_owned()).into());
    fresh.token.fingerprint.push('0');
    assert_eq!(digest(&base.0, &fresh, &base.2, &base.3), digest(&base.0, &base.1, &base.2, &base.3));
}

#[test]
fn the_digest_of_a_known_request_does_not_move() {
    // Approvals outlive a release of this program: a change here orphans every one that waits, and needs a new
    // domain string.
    let known = digest(&outgoing(), &person("ana"), &operation(), "https://support.example");
    assert_eq!(known.to_string(), "5fbb4e7b83d6592f25126355b44741c9e59f3ab77e2db06d811635a842eff215");
}

#[test]
fn a_digest_has_one_spelling() {
    let known = digest(&outgoing(), &person("ana"), &operation(), "u");
    let text = known.to_string();
    assert_eq!(text.len(), 64);
    assert_eq!(text.parse::<Digest>(), Ok(known));
    assert_eq!(serde_json::from_str::<Digest>(&serde_json::to_string(&known).unwrap()).unwrap(), known);
    for bad in
        [&text[1..], &text.to_uppercase().replace(|c: char| c.is_ascii_digit(), "A"), &format!("{text}0"), ""]
    {
        assert!(bad.parse::<Digest>().is_err(), "{bad}");
    }
}

#[test]
fn an_approval_survives_storage() {
    let new = NewApproval {
        duties: Duties { masks: [crewgate_core::MaskProfile::new("pii")].into(), ..Duties::default() },
        ..asked(&person("ana"), &[("owners", 1)])
    };
    let row = machine::open(new).unwrap().approval;
    let row =
        machine::vote(&row, &ballot(&row.asked, &person("bob"), &["owners"], Verdict::Approve)).unwrap();
    let (row, _) = machine::claim(&row.approval, start(), Duration::from_secs(60)).unwrap();
    let text = serde_json::to_string(&row.approval).unwrap();
    assert_eq!(serde_json::from_str::<Approval>(&text).unwrap(), row.approval);
}

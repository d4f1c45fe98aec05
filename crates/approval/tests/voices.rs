//! Voices that are lent, and requests that go to somebody else when nobody decides: who may speak, and how often.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeSet, time::Duration};

use crewgate_approval::{Approval, Ballot, Loan, NewApproval, Phase, Tier, VoteError, machine};
use crewgate_core::{ApprovalStep, ApproverSet, DelegationId, Fact, Principal, Verdict};
use crewgate_testkit::suites::approval::{asked, ballot, linked, no, person, set, start, yes};
use proptest::prelude::*;

const TWO_HOURS: Duration = Duration::from_secs(7200);

fn opened(new: &NewApproval) -> Approval {
    machine::open(new.clone()).unwrap().approval
}

/// That the voter speaks with these voices too.
fn with(mut ballot: Ballot, lenders: &[(&Principal, &[&str])]) -> Ballot {
    ballot.vote.lent = lenders
        .iter()
        .map(|(lender, sets)| Loan {
            delegation: DelegationId::random(),
            lender: (*lender).clone(),
            sets: sets.iter().map(|name| set(name)).collect(),
        })
        .collect();
    ballot
}

fn after(approval: &Approval, ballot: &Ballot) -> Result<Approval, VoteError> {
    machine::vote(approval, ballot).map(|next| next.approval)
}

#[test]
fn somebody_speaks_with_a_lent_voice_and_the_record_says_whose() {
    let new = asked(&person("ana"), &[("owners", 1)]);
    let ballot = with(yes(&new, &person("dan"), &[]), &[(&person("bob"), &["owners", "legal"])]);
    let next = machine::vote(&opened(&new), &ballot).unwrap();
    assert_eq!(next.approval.state.phase(), Phase::Approved);
    let Fact::Approval { step: ApprovalStep::Voted { by, sets, instead_of, .. }, .. } = next.fact else {
        panic!("{:?}", next.fact)
    };
    assert_eq!((by, sets), (person("dan").key, [set("owners")].into()));
    assert_eq!(instead_of, [person("bob").key].into());
}

#[test]
fn a_lent_voice_counts_once() {
    let new = asked(&person("ana"), &[("owners", 2)]);
    let (bob, dan, eve) = (person("bob"), person("dan"), person("eve"));
    let lent = [(&bob, ["owners"].as_slice())];
    let first = after(&opened(&new), &with(yes(&new, &dan, &[]), &lent)).unwrap();
    // Its lender speaks too: one voice all the same.
    let both = after(&first, &yes(&new, &bob, &["owners"])).unwrap();
    assert_eq!(both.state.phase(), Phase::Pending);
    let third = after(&both, &yes(&new, &eve, &["owners"])).unwrap();
    assert_eq!(third.state.phase(), Phase::Approved);
    // Lent to two: the second has none.
    let second = after(&first, &with(yes(&new, &eve, &[]), &lent));
    assert_eq!(second, Err(VoteError::NotEligible));
    // Its lender has spoken: nobody else does with it.
    let own = after(&opened(&new), &yes(&new, &bob, &["owners"])).unwrap();
    assert_eq!(after(&own, &with(yes(&new, &dan, &[]), &lent)), Err(VoteError::NotEligible));
}

#[test]
fn nobody_lends_a_voice_for_their_own_request() {
    let ana = linked("okta", "ana", "Ana");
    let new = asked(&ana, &[("owners", 1)]);
    let dan = person("dan");
    for lender in [&ana, &linked("entra", "a.n.a", "Ana")] {
        let ballot = with(yes(&new, &dan, &[]), &[(lender, &["owners"])]);
        assert_eq!(after(&opened(&new), &ballot), Err(VoteError::NotEligible));
    }
    // Nor does anybody's voice make them one who may decide on it.
    let ballot = with(yes(&new, &ana, &[]), &[(&dan, &["owners"])]);
    assert_eq!(after(&opened(&new), &ballot), Err(VoteError::SelfApproval));
}

#[test]
fn who_may_speak_uses_nobody_elses_voice() {
    let new = asked(&person("ana"), &[("owners", 2)]);
    let (bob, dan) = (person("bob"), person("dan"));
    let first = with(yes(&new, &dan, &["owners"]), &[(&bob, &["owners"])]);
    let first = after(&opened(&new), &first).unwrap();
    assert!(first.votes.iter().all(|vote| vote.lent.is_empty()));
    let both = after(&first, &yes(&new, &bob, &["owners"])).unwrap();
    assert_eq!(both.state.phase(), Phase::Approved, "two people, each for themselves");
}

#[test]
fn whose_voice_was_used_may_still_say_no() {
    let new = asked(&person("ana"), &[("owners", 2)]);
    let bob = person("bob");
    let ballot = with(yes(&new, &person("dan"), &[]), &[(&bob, &["owners"])]);
    let first = after(&opened(&new), &ballot).unwrap();
    assert_eq!(after(&first, &no(&new, &bob, &["owners"])).unwrap().state.phase(), Phase::Denied);
}

#[test]
fn a_request_goes_to_the_next_when_it_has_waited_and_not_before() {
    let mut new = asked(&person("ana"), &[("owners", 1)]);
    new.expires = start().saturating_add(TWO_HOURS * 2);
    new.needs[0].then = vec![Tier { set: set("directors"), after: TWO_HOURS }];
    let (waits, boss) = (opened(&new), person("boss"));
    let at = |seconds: u64| {
        let mut ballot = yes(&new, &boss, &["directors"]);
        ballot.vote.at = start().saturating_add(Duration::from_secs(seconds));
        ballot
    };
    assert_eq!(after(&waits, &at(7199)), Err(VoteError::NotEligible));
    let approved = after(&waits, &at(7200)).unwrap();
    assert_eq!(approved.state.phase(), Phase::Approved);
    assert_eq!(approved.votes[0].sets, [set("owners")].into(), "for the set that policy asked for");
    let voices = |seconds: u64| waits.voices(start().saturating_add(Duration::from_secs(seconds)));
    assert_eq!(voices(7199), [set("owners")].into());
    assert_eq!(voices(7200), [set("directors"), set("owners")].into());
    // Whom policy named may still speak.
    assert_eq!(
        after(&waits, &yes(&new, &person("bob"), &["owners"])).unwrap().state.phase(),
        Phase::Approved
    );
}

const NAMES: [&str; 5] = ["ana", "bob", "dan", "eve", "sue"];

/// Who says yes, for which own sets, with whose voice for which sets.
type Word = (usize, BTreeSet<usize>, Option<(usize, BTreeSet<usize>)>);

fn words() -> impl Strategy<Value = Vec<Word>> {
    let sets = || prop::collection::btree_set(0..2_usize, 0..3);
    prop::collection::vec((0..NAMES.len(), sets(), prop::option::of((0..NAMES.len(), sets()))), 1..8)
}

fn names(sets: &BTreeSet<usize>) -> Vec<&'static str> {
    sets.iter().map(|n| if *n == 0 { "owners" } else { "legal" }).collect()
}

/// Who spoke, and for which sets with whose voice.
type Heard = (BTreeSet<&'static str>, Vec<(ApproverSet, &'static str)>);

/// Whether each place can have a voice of its own among those that were heard, none of them the requester's: by trying
/// all ways, as the law says it and no code of the machine's does.
fn lawful(places: &[ApproverSet], voices: &[Heard]) -> bool {
    let Some((place, rest)) = places.split_first() else { return true };
    voices.iter().enumerate().any(|(n, (used_up, may))| {
        may.iter().filter(|(set, _)| set == place).any(|(_, voice)| {
            // Nobody else's place is taken by this person or with this voice.
            let others = voices
                .iter()
                .enumerate()
                .filter(|(m, _)| *m != n)
                .map(|(_, (who, may))| {
                    let left = may.iter().filter(|(_, other)| other != voice).cloned().collect();
                    (who.clone(), left)
                })
                .collect::<Vec<_>>();
            !used_up.contains("ana") && *voice != "ana" && lawful(rest, &others)
        })
    })
}

proptest! {
    /// I3: whatever people say with whatever voices, what is approved has for every place a voice of its own, of a
    /// person of its own, and none of the requester's.
    #[test]
    fn i3_every_place_has_a_voice_of_its_own(words in words(), owners in 1..3_u32, legal in 1..3_u32) {
        let new = asked(&person("ana"), &[("owners", owners), ("legal", legal)]);
        let mut approval = opened(&new);
        let mut spoken = Vec::new();
        for (who, own, lent) in &words {
            let voter = person(NAMES[*who]);
            let mut word = ballot(&new, &voter, &names(own), Verdict::Approve);
            if let Some((lender, sets)) = lent {
                word = with(word, &[(&person(NAMES[*lender]), names(sets).as_slice())]);
            }
            let Ok(next) = after(&approval, &word) else { continue };
            let mut may = names(own).iter().map(|n| (set(n), NAMES[*who])).collect::<Vec<_>>();
            if let Some((lender, sets)) = lent {
                may.extend(names(sets).iter().map(|n| (set(n), NAMES[*lender])));
            }
            spoken.push((BTreeSet::from([NAMES[*who]]), may));
            approval = next;
            if approval.state.phase() == Phase::Approved {
                let places = [(set("owners"), owners), (set("legal"), legal)];
                let places: Vec<_> =
                    places.iter().flat_map(|(set, n)| vec![set.clone(); usize::try_from(*n).unwrap()]).collect();
                prop_assert!(lawful(&places, &spoken), "{spoken:?}");
                break;
            }
        }
    }
}

//! A log, changed in every way somebody could change it.

use bytes::Bytes;
use crewgate_core::{Fact, RequestId, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::{Entry, Frame, Hash, Phase, Prepared};

fn log(length: u16) -> (Vec<Leaf>, Head) {
    let mut head = Head::default();
    let leaves = (1..=length)
        .map(|n| {
            let mut entry =
                Entry::new(Phase::Outcome, RequestId::random(), Timestamp::from_secs(i64::from(n)))
                    .with_fact(Fact::Answered { status: n });
            entry.request_body = Some(Bytes::from_static(b"{}"));
            entry.frames = vec![Frame { offset_micros: 5, bytes: Bytes::from_static(b"answer") }];
            let leaf = Prepared::new(entry).unwrap().after(head);
            head = Head { count: leaf.seq, hash: leaf.hash };
            leaf
        })
        .collect();
    (leaves, head)
}

fn fault(leaves: &[Leaf], head: Head) -> (u64, FaultKind) {
    let fault = verify(leaves, head).unwrap_err();
    (fault.seq, fault.kind)
}

#[test]
fn an_untouched_log_verifies() {
    let (leaves, head) = log(5);
    assert_eq!(verify(&leaves, head), Ok(()));
    assert_eq!(verify(&[], Head::default()), Ok(()));
}

#[test]
fn every_edited_column_is_found() {
    let (leaves, head) = log(5);
    let edits: [fn(&mut Leaf); 6] = [
        |leaf| leaf.record = leaf.record.replace("\"status\":3", "\"status\":4"),
        |leaf| leaf.record.push(' '),
        |leaf| leaf.body = None,
        |leaf| leaf.body = Some(Bytes::from_static(b"[]")),
        |leaf| leaf.frames = Bytes::new(),
        |leaf| leaf.hash = Hash::of(b"another"),
    ];
    for edit in edits {
        let mut leaves = leaves.clone();
        edit(&mut leaves[2]);
        assert_eq!(fault(&leaves, head), (3, FaultKind::Edited));
    }
}

#[test]
fn an_edit_with_a_new_hash_breaks_the_link_to_the_next() {
    let (mut leaves, head) = log(5);
    let mut entry = leaves[2].entry().unwrap();
    entry.facts.clear();
    leaves[2] = Prepared::new(entry).unwrap().after(Head { count: 2, hash: leaves[1].hash });
    assert_eq!(fault(&leaves, head), (4, FaultKind::Unlinked));
    // The same at the end of the log contradicts the head.
    assert_eq!(fault(&leaves[..3], Head { count: 3, hash: log(3).1.hash }), (3, FaultKind::Unlinked));
}

#[test]
fn a_deleted_leaf_is_found_with_and_without_renumbering() {
    let (mut leaves, head) = log(5);
    leaves.remove(2);
    assert_eq!(fault(&leaves, head), (3, FaultKind::Missing));
    leaves[2].seq = 3;
    leaves[3].seq = 4;
    assert_eq!(fault(&leaves, head), (3, FaultKind::Moved { from: 4 }));
}

#[test]
fn a_log_cut_at_its_end_is_found_by_its_head() {
    let (leaves, head) = log(5);
    assert_eq!(fault(&leaves[..4], head), (5, FaultKind::Truncated));
    assert_eq!(fault(&[], head), (1, FaultKind::Truncated));
}

#[test]
fn an_inserted_leaf_is_found() {
    let (leaves, head) = log(5);
    let stranger = |at: &Head| {
        Prepared::new(Entry::new(Phase::Control, RequestId::random(), Timestamp::from_secs(1)))
            .unwrap()
            .after(*at)
    };
    // Between two, the others pushed up.
    let mut pushed = leaves.clone();
    pushed.insert(2, stranger(&Head { count: 2, hash: leaves[1].hash }));
    for (leaf, seq) in pushed.iter_mut().zip(1..) {
        leaf.seq = seq;
    }
    assert_eq!(fault(&pushed, head), (3, FaultKind::Inserted));
    // A second leaf with a number that is taken.
    let mut double = leaves.clone();
    double.insert(3, leaves[2].clone());
    assert_eq!(fault(&double, head), (3, FaultKind::Inserted));
    // Behind the end.
    let mut behind = leaves;
    behind.push(stranger(&head));
    assert_eq!(fault(&behind, head), (6, FaultKind::Inserted));
}

#[test]
fn swapped_leaves_are_found() {
    let (mut leaves, head) = log(5);
    leaves.swap(1, 3);
    leaves[1].seq = 2;
    leaves[3].seq = 4;
    assert_eq!(fault(&leaves, head), (2, FaultKind::Moved { from: 4 }));
}

proptest! {
    #[test]
    fn no_single_changed_byte_passes(place in 0usize..4, at in any::<prop::sample::Index>(), flip in 1u8..) {
        let (mut leaves, head) = log(4);
        let leaf = &mut leaves[place];
        let mut record = leaf.record.clone().into_bytes();
        let at = at.index(record.len());
        record[at] ^= flip;
        if let Ok(record) = String::from_utf8(record) {
            leaf.record = record;
            prop_assert!(verify(&leaves, head).is_err());
        }
    }
}

use std::fmt;

use crate::{Hash, Head, Leaf};

/// Reads leaves in the order of their `seq` and finds the first that is not as it was written.
///
/// A hash chain proves that nobody changed a leaf without changing all that follow. Whoever can rewrite the whole log
/// and its head leaves no trace in it: compare with a [`Head`] remembered elsewhere.
#[derive(Debug, Clone, Default)]
pub struct Verifier {
    at: Head,
}

/// Where the log is not what it was, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// The first place that is wrong.
    pub seq: u64,
    /// What is wrong there.
    pub kind: FaultKind,
}

/// What is wrong with a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// Its contents and its hash do not belong together.
    Edited,
    /// A leaf stands here that the log does not know: pushed between others or put behind the end.
    Inserted,
    /// There is no leaf at this place.
    Missing,
    /// The leaf of another place stands here.
    Moved {
        /// Which place it was written for.
        from: u64,
    },
    /// The log ends before this place, and its head says that it goes on.
    Truncated,
    /// It is whole but does not follow from the leaf before it: that one, or this one, was replaced.
    Unlinked,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seq = self.seq;
        match self.kind {
            FaultKind::Edited => write!(f, "leaf {seq} was edited"),
            FaultKind::Inserted => write!(f, "leaf {seq} was inserted"),
            FaultKind::Missing => write!(f, "leaf {seq} was deleted"),
            FaultKind::Moved { from } => {
                write!(f, "leaves were reordered: in place {seq} stands the leaf written as {from}")
            }
            FaultKind::Truncated => write!(f, "the log was cut: leaf {seq} and those after it are gone"),
            FaultKind::Unlinked => {
                write!(f, "leaf {seq} does not follow from the one before it: one was replaced")
            }
        }
    }
}

impl std::error::Error for Fault {}

impl Verifier {
    /// Begins at the first leaf.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next leaf.
    ///
    /// # Errors
    ///
    /// The [`Fault`] at this place; what follows it says nothing any more.
    pub fn next(&mut self, leaf: &Leaf) -> Result<(), Fault> {
        let expected = self.at.count.saturating_add(1);
        let fault = |seq, kind| Err(Fault { seq, kind });
        if leaf.seq > expected {
            return fault(expected, FaultKind::Missing);
        }
        if leaf.seq < expected {
            return fault(leaf.seq, FaultKind::Inserted);
        }
        match leaf.claimed_seq() {
            Some(from) if from == expected => {}
            // Everything was pushed up by one: the place it was pushed from holds the stranger.
            Some(from) if from.checked_add(1) == Some(expected) => return fault(from, FaultKind::Inserted),
            Some(from) => return fault(expected, FaultKind::Moved { from }),
            None => return fault(expected, FaultKind::Edited),
        }
        if !leaf.is_whole() {
            return fault(expected, FaultKind::Edited);
        }
        if leaf.prev != self.at.hash {
            return fault(expected, FaultKind::Unlinked);
        }
        self.at = Head { count: leaf.seq, hash: leaf.hash };
        Ok(())
    }

    /// How far it got: the head of a log that ends here.
    #[must_use]
    pub fn head(&self) -> Head {
        self.at
    }

    /// Compares the end with the head that was expected. A log longer than that head is
    /// [`Inserted`](FaultKind::Inserted); to check that a log begins with a head remembered earlier, finish there and
    /// go on with a clone.
    ///
    /// # Errors
    ///
    /// The [`Fault`] at the end.
    pub fn finish(&self, expected: Head) -> Result<(), Fault> {
        let place = self.at.count.min(expected.count).saturating_add(1);
        if self.at.count < expected.count {
            Err(Fault { seq: place, kind: FaultKind::Truncated })
        } else if self.at.count > expected.count {
            Err(Fault { seq: place, kind: FaultKind::Inserted })
        } else if self.at.hash != expected.hash {
            Err(Fault { seq: expected.count, kind: FaultKind::Unlinked })
        } else {
            Ok(())
        }
    }
}

/// Verifies a whole log against its head.
///
/// ```
/// use crewgate_audit::{AuditStore, Entry, Lane, MemoryStore, Phase, verify};
/// use crewgate_core::{RequestId, Timestamp};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let store = MemoryStore::new();
/// for second in 1..=3 {
///     let entry = Entry::new(Phase::Control, RequestId::random(), Timestamp::from_secs(second));
///     store.append(Lane::Outcome, entry).await.unwrap();
/// }
/// let (mut leaves, head) = (store.all(), store.head().await.unwrap());
/// assert_eq!(verify(&leaves, head), Ok(()));
///
/// leaves.remove(1);
/// assert_eq!(verify(&leaves, head).unwrap_err().to_string(), "leaf 2 was deleted");
/// # }
/// ```
///
/// # Errors
///
/// The first [`Fault`].
pub fn verify<'a>(leaves: impl IntoIterator<Item = &'a Leaf>, head: Head) -> Result<(), Fault> {
    let mut verifier = Verifier::new();
    leaves.into_iter().try_for_each(|leaf| verifier.next(leaf))?;
    verifier.finish(head)
}

// The first leaf names no predecessor.
const _: () = assert!(matches!(Hash::GENESIS.as_bytes(), [0, ..]));

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use crewgate_core::{Fact, RequestId, Timestamp};
    use proptest::prelude::*;

    use super::*;
    use crate::{Entry, Frame, Phase, Prepared};

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
}

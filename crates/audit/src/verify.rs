use std::fmt;

use crate::{AuditError, AuditStore, Head, Leaf, Query};

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

/// Leaves read at a time: some megabytes.
const PAGE: u32 = 500;

/// Verifies the whole log of a store, page by page and while it grows, and gives the head it verified up to.
/// `progress` hears after each page how many leaves are verified and how many there are.
///
/// # Errors
///
/// [`AuditError`] when the store cannot be read; inside, the first [`Fault`].
pub async fn verify_log(
    store: &dyn AuditStore,
    mut progress: impl FnMut(u64, u64) + Send,
) -> Result<Result<Head, Fault>, AuditError> {
    let mut verifier = Verifier::new();
    // Where the log ends now. What is added meanwhile is verified too, up to the head that is then the latest.
    let mut head = store.head().await?;
    loop {
        let page = store.leaves(Query::default().after(verifier.head().count).limit(PAGE)).await?;
        for leaf in &page {
            if let Err(fault) = verifier.next(leaf) {
                return Ok(Err(fault));
            }
        }
        progress(verifier.head().count, head.count.max(verifier.head().count));
        if page.is_empty() {
            let latest = store.head().await?;
            if latest == head || verifier.head().count >= latest.count {
                return Ok(verifier.finish(latest).map(|()| latest));
            }
            head = latest;
        }
    }
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;

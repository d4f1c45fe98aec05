use std::{collections::BTreeMap, fmt, ops::Range};

use crate::{
    AuditError, Class, Held, Leaf, Log,
    leaf::Prunes,
    tlog::{Hash, Head, NoteError, SignedCheckpoint, TILE, Tree, VerifierKey},
};

/// A log as it was found by [`verify`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Its length and root, as signed.
    pub head: Head,
    /// The first leaf that is there; 0 unless the record says that its beginning was cut off.
    pub first: u64,
    /// Leaves whose content was there and is what they commit to.
    pub whole: u64,
    /// Leaves whose content was erased or pruned, as the record says.
    pub erased: u64,
    /// Leaves whose content is sealed with a key that is not at hand: not looked at.
    pub sealed: u64,
}

/// Where the log is not what it was, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// The first leaf that is wrong.
    pub leaf: u64,
    /// What is wrong there.
    pub kind: FaultKind,
}

/// What is wrong with a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// The leaf's content is not what it commits to.
    Content,
    /// There is no leaf at this place.
    Deleted,
    /// Its record is not the one that was written.
    Edited,
    /// Two checkpoints signed by the log contradict each other: it told different stories.
    Forked,
    /// A leaf stands here that was never written here, and the others were pushed up, or it stands behind the end.
    Inserted,
    /// The leaf of another place stands here.
    Moved {
        /// Which place it was written for.
        from: u64,
    },
    /// Another log of the same name, as good as this one, goes on differently from this leaf on.
    Parted,
    /// The leaf's content is gone, and no erasure is on the record.
    Removed,
    /// Leaves and hashes were rewritten together from somewhere in here on: they fit each other, and no checkpoint.
    Rewritten {
        /// The last leaf that can be the first rewritten one.
        to: u64,
    },
    /// The whole log is older than the checkpoint it was compared with.
    RolledBack,
    /// The leaves are right; a hash of the tree beside them was changed.
    Tile {
        /// The tile's level.
        level: u8,
    },
    /// The log ends before this leaf, and its checkpoint says that it goes on.
    Truncated,
    /// The checkpoint from this leaf on is not signed by a key of the log.
    Unsigned(NoteError),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let leaf = self.leaf;
        match self.kind {
            FaultKind::Content => write!(f, "what lies beside leaf {leaf} was edited"),
            FaultKind::Deleted => write!(f, "leaf {leaf} was deleted"),
            FaultKind::Edited => write!(f, "leaf {leaf} was edited"),
            FaultKind::Forked => {
                write!(f, "the log was forked: it signed two different stories before leaf {leaf}")
            }
            FaultKind::Inserted => write!(f, "leaf {leaf} was inserted"),
            FaultKind::Moved { from } => {
                write!(f, "leaves were reordered: in place {leaf} stands the leaf written as {from}")
            }
            FaultKind::Parted => {
                write!(f, "the log was forked: the other one tells another story from leaf {leaf} on")
            }
            FaultKind::Removed => {
                write!(f, "what lay beside leaf {leaf} was removed, and no erasure is on the record")
            }
            FaultKind::Rewritten { to } if to == leaf => {
                write!(f, "leaf {leaf} was rewritten together with its hashes")
            }
            FaultKind::Rewritten { to } => {
                write!(
                    f,
                    "leaves were rewritten together with their hashes, the first of them between {leaf} and {to}"
                )
            }
            FaultKind::RolledBack => {
                write!(f, "the log was rolled back: leaf {leaf} and those after it are gone")
            }
            FaultKind::Tile { level } => write!(f, "a hash of level {level} above leaf {leaf} was edited"),
            FaultKind::Truncated => write!(f, "the log was cut: leaf {leaf} and those after it are gone"),
            FaultKind::Unsigned(error) => {
                write!(f, "the checkpoint over leaf {leaf} cannot be trusted: {error}")
            }
        }
    }
}

impl std::error::Error for Fault {}

/// Kept checkpoints read at a time.
const PAGE: u32 = 1000;

/// Verifies a whole log, while it may be growing: every leaf against its hash, every hash against the tree, the tree
/// against every kept checkpoint, the latest checkpoint against the log's keys, and what lies beside the leaves against
/// what they commit to. Whoever can rewrite the log and sign for it leaves no trace in it; `remembered` is a checkpoint
/// kept elsewhere that it must still begin with. `progress` hears how many leaves are verified and how many there are.
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
/// let verified = verify(&store, None, |_, _| ()).await.unwrap().unwrap();
/// assert_eq!(verified.head.size, 3);
/// # }
/// ```
///
/// # Errors
///
/// [`AuditError`] when the log cannot be read; inside, the first [`Fault`].
pub async fn verify(
    log: &dyn Log,
    remembered: Option<&SignedCheckpoint>,
    mut progress: impl FnMut(u64, u64) + Send,
) -> Result<Result<Verified, Fault>, AuditError> {
    loop {
        let first = log.first().await?;
        let mut walk = Walk::new(log, remembered, first);
        let fault = match walk.all(&mut progress).await {
            Ok(verified) => return Ok(Ok(verified)),
            Err(Stop::Error(AuditError::Corrupt { leaf })) => Fault { leaf, kind: FaultKind::Edited },
            Err(Stop::Error(error)) => return Err(error),
            Err(Stop::Fault(fault)) => fault,
        };
        // Cut shorter meanwhile: what was missed may have been cut off.
        if log.first().await? == first {
            return Ok(Err(walk.beginning().await?.unwrap_or(fault)));
        }
    }
}

enum Stop {
    Error(AuditError),
    Fault(Fault),
}

impl From<AuditError> for Stop {
    fn from(error: AuditError) -> Self {
        Self::Error(error)
    }
}

fn fault(leaf: u64, kind: FaultKind) -> Stop {
    Stop::Fault(Fault { leaf, kind })
}

/// What was seen so far.
struct Walk<'a> {
    log: &'a dyn Log,
    keys: Vec<VerifierKey>,
    /// Where the log begins now.
    first: u64,
    tree: Tree,
    remembered: Option<&'a SignedCheckpoint>,
    /// Kept checkpoints ahead, and how far they have been read.
    ahead: std::collections::VecDeque<(u64, String)>,
    read: u64,
    /// The size up to which every checkpoint agreed, and the first that did not.
    agreed: u64,
    contradiction: Option<(u64, String)>,
    /// The first hash above the leaves that does not follow from them.
    above: Option<(u64, u8)>,
    erasures: Erasures,
    counts: Verified,
}

/// What is gone, and what the record says may be.
#[derive(Default)]
struct Erasures {
    /// Leaves whose person's key is gone, by pseudonym.
    subjects: BTreeMap<String, Vec<u64>>,
    /// The last leaf that tells of an erasure, by pseudonym.
    told: BTreeMap<String, u64>,
    /// Leaves that lie beside nothing, by class, and how far their class was pruned.
    missing: BTreeMap<Option<Class>, Vec<Range<u64>>>,
    pruned: BTreeMap<Option<Class>, u64>,
    /// How much of the beginning may be gone.
    cut: u64,
}

impl<'a> Walk<'a> {
    fn new(log: &'a dyn Log, remembered: Option<&'a SignedCheckpoint>, first: u64) -> Self {
        Self {
            log,
            keys: log.keys(),
            first,
            tree: Tree::default(),
            remembered,
            ahead: std::collections::VecDeque::new(),
            read: first.saturating_sub(1),
            agreed: 0,
            contradiction: None,
            above: None,
            erasures: Erasures::default(),
            counts: Verified { head: Head::default(), first: 0, whole: 0, erased: 0, sealed: 0 },
        }
    }

    async fn all(&mut self, progress: &mut (impl FnMut(u64, u64) + Send)) -> Result<Verified, Stop> {
        let mut head = self.latest().await?;
        self.tree = self.trunk().await?;
        self.compare().await?;
        loop {
            while self.tree.size() < head.size {
                self.bundle(head).await?;
                progress(self.tree.size(), head.size);
            }
            self.end(head)?;
            // Read before asking where the log ends: what stands behind that end was never written.
            let behind = self.log.bundle(head.size / TILE).await?;
            let again = self.latest().await?;
            if again.size > head.size {
                head = again;
                continue;
            }
            if behind.iter().any(|leaf| leaf.index >= head.size) {
                return Err(fault(head.size, FaultKind::Inserted));
            }
            self.remembered(head).await?;
            if let Some(fault) = self.uncut() {
                return Err(Stop::Fault(fault));
            }
            self.erasures.check()?;
            return Ok(Verified { head, first: self.first, ..self.counts });
        }
    }

    /// The tree as it stood where the log begins now, from the tiles that are kept of it.
    async fn trunk(&self) -> Result<Tree, Stop> {
        let mut edge = Vec::new();
        for ((n, width), level) in Tree::edge_of(self.first).zip(0_u8..) {
            let mut tile = if width == 0 { Vec::new() } else { self.log.tile(level, n).await? };
            tile.truncate(width);
            if tile.len() < width {
                return Err(fault(0, FaultKind::Tile { level }));
            }
            edge.push(tile);
        }
        Tree::resume(self.first, edge).ok_or_else(|| fault(0, FaultKind::Deleted))
    }

    /// The first leaf that is gone from the beginning, and of which the leaves heard so far do not say that it may be.
    fn uncut(&self) -> Option<Fault> {
        let may = self.erasures.cut;
        (may < self.first).then_some(Fault { leaf: may, kind: FaultKind::Deleted })
    }

    /// As [`uncut`](Self::uncut), where the walk ended early: what is left may say that it was cut off.
    async fn beginning(&mut self) -> Result<Option<Fault>, AuditError> {
        let mut n = self.tree.size() / TILE;
        while self.uncut().is_some() {
            let leaves = self.log.bundle(n).await?;
            if leaves.is_empty() {
                break;
            }
            for leaf in &leaves {
                self.erasures.hear(leaf);
            }
            n += 1;
        }
        Ok(self.uncut())
    }

    /// What the latest checkpoint says, once its signature is found good.
    async fn latest(&self) -> Result<Head, Stop> {
        let note = self.log.checkpoint().await?;
        let signed = SignedCheckpoint::parse(&note).and_then(|signed| signed.verify(&self.keys).cloned());
        match signed {
            Ok(checkpoint) => Ok(checkpoint.head),
            Err(error) => Err(fault(self.first_unsigned().await?, FaultKind::Unsigned(error))),
        }
    }

    /// How far the kept checkpoints can be trusted.
    async fn first_unsigned(&self) -> Result<u64, AuditError> {
        let mut good = 0;
        loop {
            let page = self.log.checkpoints(good, PAGE).await?;
            let trusted = page.iter().map_while(|(size, note)| {
                let signed = SignedCheckpoint::parse(note).ok()?;
                (signed.verify(&self.keys).ok()?.head.size == *size).then_some(*size)
            });
            let trusted: Vec<u64> = trusted.collect();
            good = trusted.last().copied().unwrap_or(good);
            if trusted.len() < page.len() || page.is_empty() {
                return Ok(good);
            }
        }
    }

    /// The next leaves, up to the end of their tile.
    async fn bundle(&mut self, head: Head) -> Result<(), Stop> {
        let begin = self.tree.size();
        let n = begin / TILE;
        let end = head.size.min((n + 1) * TILE);
        let leaves = self.log.bundle(n).await?;
        let tile = self.log.tile(0, n).await?;
        let leaves: Vec<&Leaf> = leaves.iter().filter(|leaf| (begin..end).contains(&leaf.index)).collect();
        for (index, place) in (begin..end).zip(0_usize..) {
            let hash = place_in(&tile, index);
            match leaves.get(place) {
                Some(leaf) if leaf.index == index => {
                    if hash != Some(leaf.hash()) {
                        return Err(self.name(index, &leaves, hash, head).await?);
                    }
                }
                Some(_) => return Err(fault(index, FaultKind::Deleted)),
                None => {
                    let more = self.log.bundle(n + 1).await?;
                    let kind = if more.is_empty() { FaultKind::Truncated } else { FaultKind::Deleted };
                    return Err(fault(index, kind));
                }
            }
        }
        for leaf in leaves {
            let tiles = self.tree.extend([leaf.hash()]);
            for tile in tiles.iter().filter(|tile| tile.level > 0) {
                let stored = self.log.tile(tile.level, tile.n).await?;
                if !stored.starts_with(&tile.hashes) && self.above.is_none() {
                    self.above = Some((leaf.index - leaf.index % TILE, tile.level));
                }
            }
            self.content(leaf)?;
            self.compare().await?;
        }
        Ok(())
    }

    /// The tree as it is now against the checkpoint kept for it.
    async fn compare(&mut self) -> Result<(), Stop> {
        let size = self.tree.size();
        if self.ahead.is_empty() && self.read < size {
            self.ahead = self.log.checkpoints(self.read, PAGE).await?.into();
            self.read = self.ahead.back().map_or(u64::MAX, |(size, _)| *size);
        }
        while let Some((kept, note)) = self.ahead.pop_front_if(|(kept, _)| *kept <= size) {
            let says = SignedCheckpoint::parse(&note).map(|signed| signed.claimed().head);
            if kept == size && says == Ok(self.tree.head()) {
                self.agreed = size;
            } else if self.contradiction.is_none() {
                self.contradiction = Some((kept, note));
            }
        }
        Ok(())
    }

    /// The whole tree against the latest checkpoint, and what that makes of contradictions on the way.
    fn end(&self, head: Head) -> Result<(), Stop> {
        if self.tree.head() != head {
            let upto = self.contradiction.as_ref().map_or(head.size, |(size, _)| *size);
            let from = self.above.map_or(self.agreed, |(leaf, _)| leaf.max(self.agreed));
            return Err(fault(from, FaultKind::Rewritten { to: upto.saturating_sub(1).max(from) }));
        }
        if let Some((size, note)) = &self.contradiction {
            let signed = SignedCheckpoint::parse(note).and_then(|signed| signed.verify(&self.keys).cloned());
            let kind = match signed {
                Ok(_) => FaultKind::Forked,
                Err(error) => FaultKind::Unsigned(error),
            };
            return Err(fault(size.saturating_sub(1), kind));
        }
        match self.above {
            Some((leaf, level)) => Err(fault(leaf, FaultKind::Tile { level })),
            None => Ok(()),
        }
    }

    /// The log against a checkpoint kept elsewhere.
    async fn remembered(&self, head: Head) -> Result<(), Stop> {
        let Some(signed) = self.remembered else { return Ok(()) };
        let known = match signed.verify(&self.keys) {
            Ok(checkpoint) => checkpoint.head,
            Err(error) => return Err(fault(signed.claimed().head.size, FaultKind::Unsigned(error))),
        };
        if known.size > head.size {
            return Err(fault(head.size, FaultKind::RolledBack));
        }
        if known.size < self.first {
            return Err(AuditError::Cut { first: self.first }.into());
        }
        let mut begin = self.trunk().await?;
        while begin.size() < known.size {
            let n = begin.size() / TILE;
            let leaves = self.log.bundle(n).await?;
            begin.extend(leaves.iter().filter(|leaf| leaf.index < known.size).map(Leaf::hash));
            if begin.size() < known.size && begin.size() / TILE == n {
                return Err(fault(begin.size(), FaultKind::Deleted));
            }
        }
        if begin.head() == known {
            Ok(())
        } else {
            Err(fault(known.size.saturating_sub(1), FaultKind::Forked))
        }
    }

    /// Says what happened where a leaf and its hash do not belong together.
    async fn name(
        &self,
        index: u64,
        leaves: &[&Leaf],
        wanted: Option<Hash>,
        head: Head,
    ) -> Result<Stop, AuditError> {
        // It is the hash that was changed when the leaves lead to what stands above them.
        let mut tree = self.tree.clone();
        let tiles = tree.extend(leaves.iter().map(|leaf| leaf.hash()));
        let stored = match tiles.iter().find(|tile| tile.level == 1) {
            Some(tile) => self.log.tile(1, tile.n).await?.starts_with(&tile.hashes),
            None => tree.head() == head,
        };
        if stored {
            return Ok(fault(index, FaultKind::Tile { level: 0 }));
        }
        let found = self.record_at(index).await?;
        let next = self.record_at(index + 1).await?;
        let Some(found) = found else { return Ok(fault(index, FaultKind::Deleted)) };
        Ok(match self.written_at(found, head.size).await? {
            // Everything behind it was pulled down by one.
            Some(from) if from == index + 1 && next != wanted => fault(index, FaultKind::Deleted),
            Some(from) => fault(index, FaultKind::Moved { from }),
            None if next.is_some() && next == wanted => fault(index, FaultKind::Inserted),
            None => fault(index, FaultKind::Edited),
        })
    }

    async fn record_at(&self, index: u64) -> Result<Option<Hash>, AuditError> {
        let leaves = self.log.bundle(index / TILE).await?;
        Ok(leaves.iter().find(|leaf| leaf.index == index).map(Leaf::hash))
    }

    /// For which place this leaf was written, by the hashes beside the leaves.
    async fn written_at(&self, hash: Hash, size: u64) -> Result<Option<u64>, AuditError> {
        for n in 0..size.div_ceil(TILE) {
            let tile = self.log.tile(0, n).await?;
            if let Some((place, _)) = (n * TILE..).zip(&tile).find(|(_, written)| **written == hash) {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    fn content(&mut self, leaf: &Leaf) -> Result<(), Stop> {
        let index = leaf.index;
        let class = self.erasures.hear(leaf);
        match &leaf.held {
            Held::Open(content) if leaf.commits_to(content) => self.counts.whole += 1,
            Held::Open(_) | Held::Broken => return Err(fault(index, FaultKind::Content)),
            Held::Sealed => self.counts.sealed += 1,
            Held::Erased { subject } => {
                self.counts.erased += 1;
                self.erasures.subjects.entry(subject.clone()).or_default().push(index);
            }
            Held::Missing => {
                self.counts.erased += 1;
                let missing = self.erasures.missing.entry(class).or_default();
                match missing.last_mut() {
                    Some(range) if range.end == index => range.end += 1,
                    _ => missing.push(index..index + 1),
                }
            }
        }
        Ok(())
    }
}

impl Erasures {
    /// Takes in what a leaf says was given up; which class it is of itself.
    fn hear(&mut self, leaf: &Leaf) -> Option<Class> {
        let record = leaf.parse()?;
        self.told.extend(record.erases.map(|subject| (subject.into_owned(), leaf.index)));
        if let Some(Prunes { below, class }) = record.prunes {
            let pruned = self.pruned.entry(class.parse().ok()).or_default();
            *pruned = below.max(*pruned);
        }
        self.cut = self.cut.max(record.cuts.unwrap_or_default());
        Some(Class::of(record.phase))
    }

    fn check(&self) -> Result<(), Stop> {
        // An erasure speaks of what was written before it.
        let untold = self.subjects.iter().filter_map(|(subject, leaves)| {
            let told = self.told.get(subject);
            leaves.iter().copied().find(|leaf| told.is_none_or(|told| leaf > told))
        });
        let gone = self.missing.iter().filter_map(|(class, ranges)| {
            let pruned = class.and_then(|class| self.pruned.get(&Some(class))).copied().unwrap_or_default();
            ranges.iter().find(|range| range.end > pruned).map(|range| range.start.max(pruned))
        });
        match untold.chain(gone).min() {
            Some(leaf) => Err(fault(leaf, FaultKind::Removed)),
            None => Ok(()),
        }
    }
}

fn place_in(tile: &[Hash], index: u64) -> Option<Hash> {
    tile.get(usize::try_from(index % TILE).ok()?).copied()
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;

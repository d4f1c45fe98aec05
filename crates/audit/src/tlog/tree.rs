use super::{Hash, TILE, Tile};

/// How long a log is and the root of its tree. Whoever remembers a head can tell later whether the log still begins
/// the way it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Leaves so far.
    pub size: u64,
    /// The Merkle Tree Hash of all of them (RFC 6962 §2.1).
    pub root: Hash,
}

impl Default for Head {
    fn default() -> Self {
        Self { size: 0, root: Hash::of(b"") }
    }
}

/// A tree that grows at its right edge. It keeps only that edge: the last, partial tile of each level.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    peaks: Peaks,
    /// The partial tile of each level; empty where the level ends with a full one.
    edge: Vec<Vec<Hash>>,
}

impl Tree {
    /// The tree of this size with these partial tiles, lowest level first; `None` when they do not belong to the size.
    #[must_use]
    pub fn resume(size: u64, edge: Vec<Vec<Hash>>) -> Option<Self> {
        let widths = Self::edge_of(size).map(|(_, width)| width);
        if !widths.eq(edge.iter().map(Vec::len)) {
            return None;
        }
        let roots = edge.iter().rev().flat_map(|tile| Peaks::of(tile.iter().copied()).roots).collect();
        Some(Self { peaks: Peaks { count: size, roots }, edge })
    }

    /// Place and width of the last tile of each level in a tree of this size, lowest level first: what
    /// [`resume`](Self::resume) needs. A width of 0 is no tile.
    pub fn edge_of(size: u64) -> impl Iterator<Item = (u64, usize)> {
        let counts = std::iter::successors(Some(size), |count| Some(count / TILE));
        let width = |count: u64| usize::try_from(count % TILE).unwrap_or_default();
        counts.take_while(|count| *count > 0).map(move |count| (count / TILE, width(count)))
    }

    /// Puts these leaves behind the others, and gives each tile that came to be or grew.
    pub fn extend(&mut self, leaves: impl IntoIterator<Item = Hash>) -> Vec<Tile> {
        let (mut tiles, mut top) = (Vec::new(), None);
        for leaf in leaves {
            let Self { peaks, edge } = self;
            let count = peaks.count.saturating_add(1);
            let mut put = |level: u8, hash: Hash| {
                top = top.max(Some(level));
                let at = usize::from(level);
                edge.resize(edge.len().max(at + 1), Vec::new());
                let Some(tile) = edge.get_mut(at) else { return };
                tile.push(hash);
                if u64::try_from(tile.len()) == Ok(TILE) {
                    // It ends with this leaf, so what is shifted out is zero.
                    let n = (count >> (8 * (u32::from(level) + 1))) - 1;
                    tiles.push(Tile { level, n, hashes: std::mem::take(tile) });
                }
            };
            put(0, leaf);
            peaks.push(leaf, |height, node| {
                if height.is_multiple_of(8) {
                    put(height / 8, node);
                }
            });
        }
        let partial = (0_u8..).zip(&self.edge).zip(Self::edge_of(self.size()));
        let partial = partial.filter(|((level, tile), _)| Some(*level) <= top && !tile.is_empty());
        tiles.extend(partial.map(|((level, tile), (n, _))| Tile { level, n, hashes: tile.clone() }));
        tiles
    }

    /// Leaves so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.peaks.count
    }

    /// Size and root.
    #[must_use]
    pub fn head(&self) -> Head {
        Head { size: self.size(), root: self.peaks.root().unwrap_or(Head::default().root) }
    }
}

/// Roots of the complete subtrees above so many hashes, the largest first: one per bit of the count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Peaks {
    count: u64,
    roots: Vec<Hash>,
}

impl Peaks {
    pub(super) fn of(hashes: impl IntoIterator<Item = Hash>) -> Self {
        let mut peaks = Self::default();
        hashes.into_iter().for_each(|hash| peaks.push(hash, |_, _| ()));
        peaks
    }

    /// Puts a hash behind the others. `above` hears the root and the height of each subtree it completes.
    fn push(&mut self, hash: Hash, mut above: impl FnMut(u8, Hash)) {
        let mut node = hash;
        for height in 1..=u8::try_from(self.count.trailing_ones()).unwrap_or_default() {
            let Some(left) = self.roots.pop() else { break };
            node = Hash::node(left, node);
            above(height, node);
        }
        self.roots.push(node);
        self.count = self.count.saturating_add(1);
    }

    /// The root above all of them; `None` for none.
    pub(super) fn root(&self) -> Option<Hash> {
        self.roots.iter().rev().copied().reduce(|right, left| Hash::node(left, right))
    }
}

//! Proofs that a leaf is in a tree and that a tree begins with a smaller one (RFC 6962 §2.1.1 and §2.1.2).

use std::{collections::BTreeMap, ops::Range};

use futures_util::future::BoxFuture;

use super::{Hash, TILE, tree::Peaks};

/// Where tiles can be read.
pub trait Tiles {
    /// Why one cannot be read.
    type Error;

    /// The hashes of the `n`-th tile of a level, as many as there are; empty when there is no such tile.
    ///
    /// # Errors
    ///
    /// When it cannot be told.
    fn tile(&self, level: u8, n: u64) -> BoxFuture<'_, Result<Vec<Hash>, Self::Error>>;
}

/// The hashes that lead from leaf `index` to the root of the first `size` leaves. `None` when there is no such leaf or
/// a tile lacks hashes.
///
/// # Errors
///
/// Those of the tiles.
pub async fn inclusion_proof<T: Tiles + ?Sized>(
    tiles: &T,
    index: u64,
    size: u64,
) -> Result<Option<Vec<Hash>>, T::Error> {
    if index >= size {
        return Ok(None);
    }
    let (mut at, mut spans) = (0..size, Vec::new());
    while at.end - at.start > 1 {
        let middle = at.start + split(at.end - at.start);
        let (left, right) = (at.start..middle, middle..at.end);
        let (next, sibling) = if index < middle { (left, right) } else { (right, left) };
        spans.push(sibling);
        at = next;
    }
    Reader::new(tiles).all(spans).await
}

/// The hashes that show that the tree of the first `new` leaves begins with that of the first `old`. `None` when it
/// cannot or a tile lacks hashes; empty for equal sizes and for `old` = 0.
///
/// # Errors
///
/// Those of the tiles.
pub async fn consistency_proof<T: Tiles + ?Sized>(
    tiles: &T,
    old: u64,
    new: u64,
) -> Result<Option<Vec<Hash>>, T::Error> {
    if old > new {
        return Ok(None);
    }
    if old == 0 || old == new {
        return Ok(Some(Vec::new()));
    }
    let (mut at, mut spans) = (0..new, Vec::new());
    while old != at.end {
        let middle = at.start + split(at.end - at.start);
        let (left, right) = (at.start..middle, middle..at.end);
        let (next, sibling) = if old <= middle { (left, right) } else { (right, left) };
        spans.push(sibling);
        at = next;
    }
    // The old tree's own root is known to whoever verifies.
    if at.start != 0 {
        spans.push(at);
    }
    Reader::new(tiles).all(spans).await
}

/// The largest power of two below a count of at least 2.
fn split(count: u64) -> u64 {
    1 << (u64::BITS - 1 - (count - 1).leading_zeros())
}

/// Reads each tile once.
struct Reader<'a, T: ?Sized> {
    tiles: &'a T,
    read: BTreeMap<(u8, u64), Vec<Hash>>,
}

impl<'a, T: Tiles + ?Sized> Reader<'a, T> {
    fn new(tiles: &'a T) -> Self {
        Self { tiles, read: BTreeMap::new() }
    }

    /// The root of each span, from the leaf up.
    async fn all(mut self, spans: Vec<Range<u64>>) -> Result<Option<Vec<Hash>>, T::Error> {
        let mut hashes = Vec::new();
        for span in spans.into_iter().rev() {
            let Some(hash) = self.root(span).await? else { return Ok(None) };
            hashes.push(hash);
        }
        Ok(Some(hashes))
    }

    /// The root above a span of leaves: complete subtrees, each of them inside one tile, folded from the right.
    async fn root(&mut self, span: Range<u64>) -> Result<Option<Hash>, T::Error> {
        let (mut begin, mut roots) = (span.start, Vec::new());
        while begin < span.end {
            let height = (span.end - begin).ilog2();
            let (level, inside) = (height / 8, height % 8);
            let place = begin >> (8 * level);
            let Some(root) = self.complete(level, place, 1 << inside).await? else { return Ok(None) };
            roots.push(root);
            begin += 1 << height;
        }
        Ok(roots.into_iter().rev().reduce(|right, left| Hash::node(left, right)))
    }

    async fn complete(&mut self, level: u32, place: u64, width: u64) -> Result<Option<Hash>, T::Error> {
        let key = (u8::try_from(level).unwrap_or(u8::MAX), place / TILE);
        if !self.read.contains_key(&key) {
            let hashes = self.tiles.tile(key.0, key.1).await?;
            self.read.insert(key, hashes);
        }
        let at = |place: u64| usize::try_from(place % TILE).unwrap_or(usize::MAX);
        let hashes = self.read.get(&key).and_then(|tile| {
            let begin = at(place);
            tile.get(begin..begin.checked_add(usize::try_from(width).ok()?)?)
        });
        Ok(hashes.and_then(|hashes| Peaks::of(hashes.iter().copied()).root()))
    }
}

/// Whether the proof leads from this leaf hash to this root (RFC 9162 §2.1.3.2).
#[must_use]
pub fn verify_inclusion(leaf: Hash, index: u64, size: u64, proof: &[Hash], root: Hash) -> bool {
    verify_subtree_inclusion(leaf, index, 0..size, proof, root)
}

/// Whether the proof leads from this leaf hash to the root of a subtree.
#[must_use]
pub fn verify_subtree_inclusion(
    leaf: Hash,
    index: u64,
    subtree: Range<u64>,
    proof: &[Hash],
    root: Hash,
) -> bool {
    if !is_subtree(&subtree) || !subtree.contains(&index) {
        return false;
    }
    let (mut place, mut last) = (index - subtree.start, subtree.end - subtree.start - 1);
    let mut at = leaf;
    for hash in proof {
        if last == 0 {
            return false;
        }
        if place & 1 == 1 || place == last {
            at = Hash::node(*hash, at);
            while place & 1 == 0 && place != 0 {
                (place, last) = (place >> 1, last >> 1);
            }
        } else {
            at = Hash::node(at, *hash);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    last == 0 && at == root
}

/// Whether the proof shows that the tree of `new` leaves with this root begins with the tree of `old` leaves with that
/// one. Every tree begins with the empty one, so nothing proves that: it is `false`.
#[must_use]
pub fn verify_consistency(old: u64, new: u64, proof: &[Hash], old_root: Hash, new_root: Hash) -> bool {
    if old == new {
        return old > 0 && proof.is_empty() && old_root == new_root;
    }
    old > 0 && verify_subtree_consistency(0..old, new, proof, old_root, new_root)
}

/// Whether the proof shows that a tree of `size` leaves with this root has a subtree with that one.
#[must_use]
pub fn verify_subtree_consistency(
    subtree: Range<u64>,
    size: u64,
    proof: &[Hash],
    subtree_root: Hash,
    root: Hash,
) -> bool {
    if subtree.is_empty() && subtree.start <= size {
        // Nothing is in every tree.
        return proof.is_empty() && subtree_root == Hash::of(b"");
    }
    if !is_subtree(&subtree) || subtree.end > size {
        return false;
    }
    let (mut first, mut last, mut end) = (subtree.start, subtree.end - 1, size - 1);
    // Up to the height at which both trees part: what is below is inside the subtree.
    while first != last && (last == end || last & 1 == 1) {
        (first, last, end) = (first >> 1, last >> 1, end >> 1);
    }
    let mut rest = proof.iter();
    let seed = if first == last { Some(&subtree_root) } else { rest.next() };
    let Some(seed) = seed else { return false };
    let (mut old, mut new) = (*seed, *seed);
    for hash in rest {
        if end == 0 {
            return false;
        }
        if last & 1 == 1 || last == end {
            if first < last {
                old = Hash::node(*hash, old);
            }
            new = Hash::node(*hash, new);
            while last & 1 == 0 && last != 0 {
                (first, last, end) = (first >> 1, last >> 1, end >> 1);
            }
        } else {
            new = Hash::node(new, *hash);
        }
        (first, last, end) = (first >> 1, last >> 1, end >> 1);
    }
    end == 0 && old == subtree_root && new == root
}

/// Whether these leaves can stand under one node: they begin at a multiple of the power of two they fit in.
fn is_subtree(span: &Range<u64>) -> bool {
    let fits =
        |width: u64| width.checked_next_power_of_two().is_some_and(|width| span.start.is_multiple_of(width));
    span.start < span.end && fits(span.end - span.start)
}

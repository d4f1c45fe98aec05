use super::Hash;

/// Hashes in a full tile, entries in a full bundle.
pub const TILE: u64 = 256;

/// Bytes a leaf can have: an entry bundle counts them with 16 bits.
pub const MAX_LEAF_BYTES: usize = 65_535;

/// Consecutive hashes at one level of the tree: the `n`-th 256 of them, or as many as there are.
///
/// At level 0 they are leaf hashes; at level *l* each stands for 256 hashes of level *l* − 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tile {
    /// How many times 256 leaves each hash stands for, as a power.
    pub level: u8,
    /// Its place in the level.
    pub n: u64,
    /// At least one, at most [`TILE`].
    pub hashes: Vec<Hash>,
}

impl Tile {
    /// The hashes in one piece, as they are stored and served.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
    }

    /// The hashes again; `None` for bytes that no tile has.
    #[must_use]
    pub fn hashes_of(bytes: &[u8]) -> Option<Vec<Hash>> {
        let (hashes, rest) = bytes.as_chunks::<32>();
        let fits = rest.is_empty() && !hashes.is_empty() && u64::try_from(hashes.len()).ok()? <= TILE;
        fits.then(|| hashes.iter().copied().map(Hash::from).collect())
    }
}

/// Where `tlog-tiles` serves the `n`-th tile of a level, of so many hashes.
#[must_use]
pub fn tile_path(level: u8, n: u64, width: usize) -> String {
    format!("tile/{level}/{}", number_path(n, width))
}

/// Where `tlog-tiles` serves the `n`-th bundle of so many entries.
#[must_use]
pub fn bundle_path(n: u64, width: usize) -> String {
    format!("tile/entries/{}", number_path(n, width))
}

/// A number in path elements of three digits, with the width of what is partial: `x001/x234/067.p/8`.
#[must_use]
pub fn number_path(n: u64, width: usize) -> String {
    let mut path = format!("{:03}", n % 1000);
    let mut rest = n / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    if u64::try_from(width).is_ok_and(|width| width < TILE) { format!("{path}.p/{width}") } else { path }
}

/// An entry bundle: each leaf behind its length in 16 bits. `None` when one is longer than [`MAX_LEAF_BYTES`].
#[must_use]
pub fn encode_bundle<'a>(leaves: impl IntoIterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for leaf in leaves {
        out.extend(u16::try_from(leaf.len()).ok()?.to_be_bytes());
        out.extend_from_slice(leaf);
    }
    Some(out)
}

/// The leaves again; `None` when a length and the bytes behind it do not belong together.
#[must_use]
pub fn decode_bundle(mut bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut leaves = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
        let (leaf, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        leaves.push(leaf.to_vec());
        bytes = rest;
    }
    bytes.is_empty().then_some(leaves)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_those_of_the_specification() {
        assert_eq!(number_path(1_234_067, 256), "x001/x234/067");
        assert_eq!(number_path(0, 256), "000");
        assert_eq!(number_path(273, 112), "273.p/112");
        assert_eq!(bundle_path(1000, 1), "tile/entries/x001/000.p/1");
        assert_eq!(tile_path(2, 0, 1), "tile/2/000.p/1");
    }

    proptest! {
        #[test]
        fn bundles_come_back_as_they_went(leaves in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20)) {
            let bundle = encode_bundle(leaves.iter().map(Vec::as_slice)).unwrap();
            prop_assert_eq!(decode_bundle(&bundle), Some(leaves));
        }

        #[test]
        fn strange_bundles_are_refused_or_have_one_spelling(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            if let Some(leaves) = decode_bundle(&bytes) {
                prop_assert_eq!(encode_bundle(leaves.iter().map(Vec::as_slice)), Some(bytes));
            }
        }
    }

    #[test]
    fn a_leaf_that_does_not_fit_is_not_bundled() {
        assert!(encode_bundle([vec![0; MAX_LEAF_BYTES].as_slice()]).is_some());
        assert!(encode_bundle([vec![0; MAX_LEAF_BYTES + 1].as_slice()]).is_none());
    }
}

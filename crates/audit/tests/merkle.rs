//! The tree, its proofs and the canonical form against published vectors and another implementation.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::{
    convert::Infallible,
    fs,
    future::Future,
    path::{Path, PathBuf},
};

use crewgate_audit::tlog::{
    Hash, TILE, Tile, Tiles, Tree, consistency_proof, inclusion_proof, verify_consistency, verify_inclusion,
    verify_subtree_consistency, verify_subtree_inclusion,
};
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use futures_util::future::{BoxFuture, FutureExt, ready};
use proptest::prelude::*;
use serde_json::Value;
use sha2::Sha256;

/// A folder of the vectors beside the project. Absent: said loudly, and a failure where everything is required.
fn vectors(name: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors").join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(std::env::var_os("CREWGATE_REQUIRE_ALL").is_none(), "{} is not there", folder.display());
    eprintln!("NOT RUN: {} is not there, so its vectors were not tried", folder.display());
    None
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// Runs every vector of a folder: `check` gives `None` for what cannot even be read, which no good vector is.
fn run(folder: &str, check: impl Fn(&Value) -> Option<bool>) {
    let Some(root) = vectors("merkle") else { return };
    let mut found = Vec::new();
    files(&root.join(folder), &mut found);
    let mut good = 0;
    for path in &found {
        let vector: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let wanted = !vector["wantErr"].as_bool().unwrap();
        assert_eq!(check(&vector).unwrap_or(false), wanted, "{}", path.display());
        good += usize::from(wanted);
    }
    assert!(good > 0 && good < found.len(), "{folder}: {good} of {} should verify", found.len());
}

fn number(vector: &Value, name: &str) -> Option<u64> {
    vector[name].as_u64()
}

fn hash(vector: &Value, name: &str) -> Option<Hash> {
    Hash::from_base64(vector[name].as_str()?)
}

/// Where the vectors do not care what a root is they hold something that is no hash; it stands for one that nothing
/// else has.
fn any_root(vector: &Value, name: &str) -> Option<Hash> {
    let text = vector[name].as_str()?;
    Some(Hash::from_base64(text).unwrap_or_else(|| Hash::of(format!("no hash: {text}").as_bytes())))
}

fn proof(vector: &Value) -> Option<Vec<Hash>> {
    match &vector["proof"] {
        Value::Null => Some(Vec::new()),
        proof => proof.as_array()?.iter().map(|hash| Hash::from_base64(hash.as_str()?)).collect(),
    }
}

#[test]
fn the_published_inclusion_proofs_hold_and_fail_as_they_should() {
    run("inclusion", |v| {
        let (leaf, root) = (hash(v, "leafHash")?, hash(v, "root")?);
        Some(verify_inclusion(leaf, number(v, "leafIdx")?, number(v, "treeSize")?, &proof(v)?, root))
    });
    run("subtreeinclusion", |v| {
        let subtree = number(v, "start")?..number(v, "end")?;
        let (leaf, root) = (hash(v, "leafHash")?, hash(v, "root")?);
        Some(verify_subtree_inclusion(leaf, number(v, "leafIdx")?, subtree, &proof(v)?, root))
    });
}

#[test]
fn the_published_consistency_proofs_hold_and_fail_as_they_should() {
    run("consistency", |v| {
        let (old, new) = (any_root(v, "root1")?, any_root(v, "root2")?);
        Some(verify_consistency(number(v, "size1")?, number(v, "size2")?, &proof(v)?, old, new))
    });
    run("subtreeconsistency", |v| {
        let subtree = number(v, "start")?..number(v, "end")?;
        let (old, new) = (any_root(v, "root1")?, any_root(v, "root2")?);
        Some(verify_subtree_consistency(subtree, number(v, "size")?, &proof(v)?, old, new))
    });
}

#[test]
fn the_canonical_form_is_that_of_rfc_8785() {
    let Some(root) = vectors("jcs") else { return };
    let mut found = Vec::new();
    files(&root.join("input"), &mut found);
    assert!(!found.is_empty());
    for path in found {
        let input: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let wanted = fs::read_to_string(root.join("output").join(path.file_name().unwrap())).unwrap();
        assert_eq!(crewgate_audit::canonical(&input).unwrap(), wanted, "{}", path.display());
    }
}

/// Tiles as they were given out, the widest of each.
#[derive(Default)]
struct Kept(std::collections::BTreeMap<(u8, u64), Vec<Hash>>);

impl Kept {
    fn take(&mut self, tiles: Vec<Tile>) {
        for tile in tiles {
            self.0.insert((tile.level, tile.n), tile.hashes);
        }
    }
}

impl Tiles for Kept {
    type Error = Infallible;

    fn tile(&self, level: u8, n: u64) -> BoxFuture<'_, Result<Vec<Hash>, Infallible>> {
        ready(Ok(self.0.get(&(level, n)).cloned().unwrap_or_default())).boxed()
    }
}

fn now<T>(proof: impl Future<Output = Result<T, Infallible>>) -> T {
    let Ok(proof) = proof.now_or_never().unwrap();
    proof
}

/// A tree grown in these steps, its tiles, and the same leaves in the other implementation.
fn grow(steps: &[u64]) -> (Tree, Kept, MemoryBackedTree<Sha256, Vec<u8>>) {
    let (mut tree, mut kept, mut oracle) = (Tree::default(), Kept::default(), MemoryBackedTree::new());
    for step in steps {
        let leaves: Vec<_> = (tree.size()..tree.size() + step).map(|n| n.to_be_bytes().to_vec()).collect();
        kept.take(tree.extend(leaves.iter().map(|leaf| Hash::leaf(leaf))));
        leaves.into_iter().for_each(|leaf| oracle.push(leaf));
    }
    (tree, kept, oracle)
}

#[test]
fn a_large_tree_has_the_tiles_of_the_specification() {
    let (tree, kept, oracle) = grow(&[70_000]);
    assert_eq!(tree.head().root.as_bytes().as_slice(), oracle.root().as_bytes().as_slice());
    let widths = |level| kept.0.iter().filter(move |((l, _), _)| *l == level).map(|(_, tile)| tile.len());
    assert_eq!((widths(0).count(), widths(0).next_back()), (274, Some(112)));
    assert_eq!(widths(1).collect::<Vec<_>>(), [256, 17]);
    assert_eq!(widths(2).collect::<Vec<_>>(), [1]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn trees_and_proofs_equal_those_of_another_implementation(
        steps in prop::collection::vec(0u64..400, 1..6),
        at in any::<prop::sample::Index>(),
        begin in any::<prop::sample::Index>(),
    ) {
        let (tree, kept, oracle) = grow(&steps);
        let head = tree.head();
        prop_assert_eq!(head.root.as_bytes().to_vec(), oracle.root().as_bytes().to_vec());
        prop_assume!(head.size > 0);

        let index = at.index(usize::try_from(head.size).unwrap());
        let ours = now(inclusion_proof(&kept, index as u64, head.size)).unwrap();
        let theirs = oracle.prove_inclusion(index);
        prop_assert_eq!(ours.iter().flat_map(|hash| *hash.as_bytes()).collect::<Vec<_>>(), theirs.as_bytes());
        let leaf = Hash::leaf(&(index as u64).to_be_bytes());
        prop_assert!(verify_inclusion(leaf, index as u64, head.size, &ours, head.root));
        prop_assert!(!verify_inclusion(Hash::leaf(b""), index as u64, head.size, &ours, head.root));

        let old = begin.index(usize::try_from(head.size).unwrap()) as u64 + 1;
        let (smaller, ..) = grow(&[old]);
        let ours = now(consistency_proof(&kept, old, head.size)).unwrap();
        if old < head.size {
            let theirs = oracle.prove_consistency(usize::try_from(head.size - old).unwrap());
            prop_assert_eq!(ours.iter().flat_map(|hash| *hash.as_bytes()).collect::<Vec<_>>(), theirs.as_bytes());
        }
        prop_assert!(verify_consistency(old, head.size, &ours, smaller.head().root, head.root));
        prop_assert_eq!(verify_consistency(old, head.size, &ours, Hash::default(), head.root), false);
    }

    #[test]
    fn a_tree_goes_on_from_its_edge(first in 0u64..1500, then in 1u64..600) {
        let (mut whole, kept, _) = grow(&[first]);
        let edge: Vec<_> = Tree::edge_of(first)
            .zip(0u8..)
            .map(|((n, width), level)| {
                let tile = kept.0.get(&(level, n)).cloned().unwrap_or_default();
                assert_eq!(tile.len() as u64 % TILE, width as u64);
                tile
            })
            .collect();
        let mut resumed = Tree::resume(first, edge).unwrap();
        prop_assert_eq!(resumed.head(), whole.head());
        let more: Vec<_> = (0..then).map(|n| Hash::of(&n.to_be_bytes())).collect();
        prop_assert_eq!(resumed.extend(more.clone()), whole.extend(more.clone()));
        prop_assert_eq!(resumed.head(), whole.head());
    }
}

#[test]
fn an_edge_of_another_size_is_refused() {
    assert!(Tree::resume(3, vec![vec![Hash::default(); 2]]).is_none());
    assert!(Tree::resume(256, vec![vec![Hash::default(); 256]]).is_none());
    assert!(Tree::resume(256, vec![vec![], vec![Hash::default()]]).is_some());
    assert!(Tree::resume(0, vec![]).is_some());
}

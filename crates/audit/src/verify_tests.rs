//! A log, changed in every way somebody could change it.

use std::sync::Mutex;

use bytes::Bytes;
use crewgate_core::{Fact, RequestId, Timestamp};
use futures_util::future::{BoxFuture, FutureExt, ready};
use proptest::prelude::*;

use super::*;
use crate::{
    Content, Entry, Folder, Frame, Phase, Prepared, export, parted,
    tlog::{Checkpoint, KeyKind, Signer, Tiles},
};

/// A log whose every part can be changed.
#[derive(Clone)]
struct Paper {
    keys: Vec<VerifierKey>,
    first: u64,
    leaves: Vec<Leaf>,
    tiles: BTreeMap<(u8, u64), Vec<Hash>>,
    checkpoints: Vec<(u64, String)>,
}

fn entry(n: u64) -> Entry {
    let mut entry =
        Entry::new(Phase::Outcome, RequestId::random(), Timestamp::from_secs(i64::try_from(n).unwrap()))
            .with_fact(Fact::Answered { status: 200 });
    entry.request_body = Some(Bytes::from_static(b"{}"));
    entry.frames = vec![Frame { offset_micros: 5, bytes: Bytes::from_static(b"answer") }];
    entry
}

/// Signs one checkpoint per group of this many leaves.
fn log(length: u64, group: usize, signer: &Signer) -> Paper {
    paper((0..length).map(|n| Prepared::new(entry(n)).unwrap().at(n)).collect(), group, signer)
}

fn paper(leaves: Vec<Leaf>, group: usize, signer: &Signer) -> Paper {
    let (mut tree, mut tiles, mut checkpoints) = (Tree::default(), BTreeMap::new(), Vec::new());
    for group in leaves.chunks(group) {
        for tile in tree.extend(group.iter().map(Leaf::hash)) {
            tiles.insert((tile.level, tile.n), tile.hashes);
        }
        let checkpoint = Checkpoint { origin: signer.verifier().name().to_owned(), head: tree.head() };
        checkpoints.push((tree.size(), checkpoint.sign(std::slice::from_ref(signer)).unwrap().to_string()));
    }
    Paper { keys: vec![signer.verifier().clone()], first: 0, leaves, tiles, checkpoints }
}

fn signer() -> Signer {
    Signer::generate("log.example", KeyKind::Log).unwrap()
}

impl Tiles for Paper {
    type Error = AuditError;

    fn tile(&self, level: u8, n: u64) -> BoxFuture<'_, Result<Vec<Hash>, AuditError>> {
        ready(Ok(self.tiles.get(&(level, n)).cloned().unwrap_or_default())).boxed()
    }
}

impl Log for Paper {
    fn keys(&self) -> Vec<VerifierKey> {
        self.keys.clone()
    }

    fn checkpoint(&self) -> BoxFuture<'_, Result<String, AuditError>> {
        ready(self.checkpoints.last().map(|(_, note)| note.clone()).ok_or(AuditError::Unavailable)).boxed()
    }

    fn checkpoints(&self, above: u64, limit: u32) -> BoxFuture<'_, Result<Vec<(u64, String)>, AuditError>> {
        let limit = usize::try_from(limit).unwrap();
        let kept = self.checkpoints.iter().filter(|(size, _)| *size > above).take(limit);
        ready(Ok(kept.cloned().collect())).boxed()
    }

    fn bundle(&self, n: u64) -> BoxFuture<'_, Result<Vec<Leaf>, AuditError>> {
        ready(Ok(self.leaves.iter().filter(|leaf| leaf.index / TILE == n).cloned().collect())).boxed()
    }

    fn first(&self) -> BoxFuture<'_, Result<u64, AuditError>> {
        ready(Ok(self.first)).boxed()
    }
}

impl Paper {
    fn verdict(&self) -> Result<Verified, Fault> {
        self.against(None)
    }

    fn against(&self, remembered: Option<&SignedCheckpoint>) -> Result<Verified, Fault> {
        verify(self, remembered, |_, _| ()).now_or_never().unwrap().unwrap()
    }

    /// The same damage, found in a folder with nothing but the public key.
    fn exported(&self) -> Result<Verified, Fault> {
        static COUNT: Mutex<u32> = Mutex::new(0);
        let number = {
            let mut count = COUNT.lock().unwrap();
            *count += 1;
            *count
        };
        let path = std::env::temp_dir().join(format!("crewgate-folder-{}-{number}", std::process::id()));
        let wrote = export(self, &path, true, |_, _| ()).now_or_never().unwrap();
        let verdict = wrote.map(|_| {
            let folder = Folder::open(&path, self.keys.clone()).unwrap();
            verify(&folder, None, |_, _| ()).now_or_never().unwrap().unwrap()
        });
        std::fs::remove_dir_all(&path).unwrap();
        verdict.unwrap()
    }

    fn renumber(&mut self) {
        self.leaves.iter_mut().zip(0..).for_each(|(leaf, index)| leaf.index = index);
    }

    fn last(&self) -> SignedCheckpoint {
        SignedCheckpoint::parse(&self.checkpoints.last().unwrap().1).unwrap()
    }
}

fn fault(verdict: Result<Verified, Fault>) -> (u64, FaultKind) {
    let fault = verdict.unwrap_err();
    (fault.leaf, fault.kind)
}

#[test]
fn an_untouched_log_verifies_however_it_grew() {
    for (length, group) in [(1, 1), (5, 1), (256, 256), (257, 3), (700, 100)] {
        let log = log(length, group, &signer());
        let verified = log.verdict().unwrap();
        assert_eq!((verified.head.size, verified.whole), (length, length));
        assert_eq!(log.exported(), Ok(verified));
    }
}

#[test]
fn an_edited_leaf_is_named() {
    let log = log(600, 7, &signer());
    for at in [0, 3, 255, 256, 511, 512, 599] {
        let mut log = log.clone();
        let leaf = &mut log.leaves[at];
        leaf.record = leaf.record.replace("\"phase\":\"outcome\"", "\"phase\":\"refused\"");
        assert_eq!(fault(log.verdict()), (at as u64, FaultKind::Edited));
        assert_eq!(fault(log.exported()), (at as u64, FaultKind::Edited));
    }
}

#[test]
fn edited_content_is_named() {
    let log = log(300, 7, &signer());
    let edits: [fn(&mut Content); 4] = [
        |content| content.facts = Bytes::from_static(b"[]"),
        |content| content.request_body = None,
        |content| content.frames = Bytes::new(),
        |content| content.salt = [0; 32],
    ];
    for edit in edits {
        let mut log = log.clone();
        let Held::Open(content) = &mut log.leaves[260].held else { panic!() };
        edit(content);
        assert_eq!(fault(log.verdict()), (260, FaultKind::Content));
        assert_eq!(fault(log.exported()), (260, FaultKind::Content));
    }
}

#[test]
fn a_deleted_leaf_is_named_with_and_without_renumbering() {
    let log = log(600, 7, &signer());
    for at in [0, 3, 255, 256, 598] {
        let mut log = log.clone();
        log.leaves.remove(at);
        assert_eq!(fault(log.verdict()), (at as u64, FaultKind::Deleted));
        log.renumber();
        assert_eq!(fault(log.verdict()), (at as u64, FaultKind::Deleted));
        assert_eq!(fault(log.exported()), (at as u64, FaultKind::Deleted));
    }
}

#[test]
fn a_log_cut_at_its_end_is_named() {
    let log = log(600, 7, &signer());
    for length in [0, 3, 256, 599] {
        let mut log = log.clone();
        log.leaves.truncate(length);
        assert_eq!(fault(log.verdict()), (length as u64, FaultKind::Truncated));
    }
}

#[test]
fn an_inserted_leaf_is_named() {
    let log = log(600, 7, &signer());
    for at in [0, 3, 255, 256, 600] {
        let mut log = log.clone();
        log.leaves.insert(at, Prepared::new(entry(9)).unwrap().at(0));
        log.renumber();
        assert_eq!(fault(log.verdict()), (at as u64, FaultKind::Inserted));
    }
}

#[test]
fn moved_leaves_are_named() {
    let log = log(600, 7, &signer());
    for (one, other) in [(1, 3), (3, 4), (10, 400)] {
        let mut log = log.clone();
        log.leaves.swap(one, other);
        log.renumber();
        assert_eq!(fault(log.verdict()), (one as u64, FaultKind::Moved { from: other as u64 }));
        assert_eq!(fault(log.exported()), (one as u64, FaultKind::Moved { from: other as u64 }));
    }
}

#[test]
fn an_edited_hash_is_not_mistaken_for_an_edited_leaf() {
    let log = log(600, 7, &signer());
    for (level, n, at, leaf) in [(0, 0, 3, 3), (0, 2, 80, 592), (1, 0, 1, 256)] {
        let mut log = log.clone();
        log.tiles.get_mut(&(level, n)).unwrap()[at] = Hash::default();
        assert_eq!(fault(log.verdict()), (leaf, FaultKind::Tile { level }));
    }
}

#[test]
fn a_log_rewritten_with_its_hashes_contradicts_its_checkpoints() {
    let (signer, stranger) = (signer(), signer());
    for (group, at, from, to) in [(1, 300, 300, 300), (7, 300, 294, 300), (7, 3, 0, 6)] {
        let log = log(600, group, &signer);
        let mut leaves = log.leaves.clone();
        leaves[at] = Prepared::new(entry(9)).unwrap().at(at as u64);
        let mut forged = Paper { checkpoints: log.checkpoints.clone(), ..paper(leaves, group, &signer) };
        let found = forged.verdict().unwrap_err();
        assert_eq!((found.leaf, found.kind), (from, FaultKind::Rewritten { to }));
        // With the key it fits, unless one of the old checkpoints is left, or remembered elsewhere.
        let resigned = paper(forged.leaves.clone(), group, &signer);
        assert!(resigned.verdict().is_ok());
        assert_eq!(fault(resigned.against(Some(&log.last()))), (599, FaultKind::Forked));
        forged.checkpoints.pop();
        forged.checkpoints.push(resigned.checkpoints.last().unwrap().clone());
        assert_eq!(fault(forged.verdict()), (to, FaultKind::Forked));
        // With another key nothing is believed.
        let mut swapped = paper(forged.leaves.clone(), group, &stranger);
        swapped.keys.clone_from(&log.keys);
        let (leaf, kind) = fault(swapped.verdict());
        assert_eq!((leaf, kind), (0, FaultKind::Unsigned(NoteError::Untrusted)));
    }
}

#[test]
fn a_key_swapped_half_way_is_named_from_there() {
    let (signer, stranger) = (signer(), signer());
    let log = log(60, 7, &signer);
    let mut swapped = log.clone();
    let other = paper(log.leaves.clone(), 7, &stranger);
    swapped.checkpoints.splice(4.., other.checkpoints.into_iter().skip(4));
    assert_eq!(fault(swapped.verdict()), (28, FaultKind::Unsigned(NoteError::Untrusted)));
}

#[test]
fn a_log_rolled_back_is_found_by_a_checkpoint_kept_elsewhere() {
    let signer = signer();
    let whole = log(60, 1, &signer);
    let older = paper(whole.leaves.iter().take(40).cloned().collect(), 1, &signer);
    assert!(older.verdict().is_ok(), "by itself it is a good log");
    assert_eq!(fault(older.against(Some(&whole.last()))), (40, FaultKind::RolledBack));
    assert!(whole.against(Some(&older.last())).is_ok(), "it only grew");
}

#[test]
fn what_is_gone_must_have_been_given_up_on_the_record() {
    let signer = signer();
    let whole = log(60, 7, &signer);
    let mut log = whole.clone();
    log.leaves[5].held = Held::Missing;
    assert_eq!(fault(log.verdict()), (5, FaultKind::Removed));
    log.leaves[5].held = Held::Erased { subject: "a1".to_owned() };
    assert_eq!(fault(log.verdict()), (5, FaultKind::Removed));
    assert_eq!(fault(log.exported()), (5, FaultKind::Removed));

    let tell = |fact| {
        let entry = Entry::new(Phase::Erasure, RequestId::random(), Timestamp::from_secs(1)).with_fact(fact);
        let mut leaves = log.leaves.clone();
        leaves.push(Prepared::new(entry).unwrap().at(60));
        paper(leaves, 7, &signer)
    };
    let erased = tell(Fact::Erased { subject: "a1".to_owned() }).verdict().unwrap();
    assert_eq!((erased.whole, erased.erased), (60, 1));
    assert_eq!(fault(tell(Fact::Erased { subject: "b2".to_owned() }).verdict()), (5, FaultKind::Removed));
    let mut later = tell(Fact::Erased { subject: "a1".to_owned() });
    later.leaves.push(Prepared::new(entry(61)).unwrap().at(61));
    later.leaves[61].held = Held::Erased { subject: "a1".to_owned() };
    let later = paper(later.leaves, 7, &signer);
    assert_eq!(fault(later.verdict()), (61, FaultKind::Removed), "it was written after the erasure");
    let mut pruned = tell(Fact::Pruned { below: 6, class: "calls".to_owned() });
    pruned.leaves[5].held = Held::Missing;
    assert!(pruned.verdict().is_ok());
    pruned.leaves[6].held = Held::Missing;
    assert_eq!(fault(pruned.verdict()), (6, FaultKind::Removed));
}

/// The hash of a leaf that is no longer there.
fn gone(n: u64) -> Hash {
    Hash::leaf(&n.to_be_bytes())
}

/// A log of which all before `first` was cut off, as the leaf behind the others tells.
fn cut(first: u64, told: u64, length: u64, signer: &Signer) -> Paper {
    let mut leaves: Vec<Leaf> = (first..length).map(|n| Prepared::new(entry(n)).unwrap().at(n)).collect();
    let tells = Entry::new(Phase::Erasure, RequestId::random(), Timestamp::from_secs(1))
        .with_fact(Fact::Cut { below: told });
    leaves.push(Prepared::new(tells).unwrap().at(length));
    let mut tree = Tree::default();
    let mut tiles = BTreeMap::new();
    let hashes = (0..first).map(gone).chain(leaves.iter().map(Leaf::hash));
    for tile in tree.extend(hashes) {
        let end = (tile.n + 1) << (8 * (u32::from(tile.level) + 1));
        if end > first {
            tiles.insert((tile.level, tile.n), tile.hashes);
        }
    }
    let checkpoint = Checkpoint { origin: signer.verifier().name().to_owned(), head: tree.head() };
    let note = checkpoint.sign(std::slice::from_ref(signer)).unwrap().to_string();
    Paper {
        keys: vec![signer.verifier().clone()],
        first,
        leaves,
        tiles,
        checkpoints: vec![(tree.size(), note)],
    }
}

#[test]
fn a_log_whose_beginning_was_cut_off_verifies_from_there_on() {
    let signer = signer();
    for first in [256, 512, 65_536, 65_536 + 768] {
        let log = cut(first, first, first + 300, &signer);
        assert_eq!(
            log.verdict().map(|verified| (verified.first, verified.whole)),
            Ok((first, 301)),
            "{first}"
        );
        assert_eq!(log.exported().map(|verified| verified.first), Ok(first), "{first}");
        let above = |(level, n): &(u8, u64)| (n << (8 * (u32::from(*level) + 1))) < first;
        for place in log.tiles.keys().filter(|place| above(place)) {
            let mut log = log.clone();
            log.tiles.get_mut(place).unwrap()[0] = gone(7);
            assert_eq!(fault(log.verdict()).0, 0, "{first}: {place:?}");
        }
        let mut log = log;
        log.tiles.retain(|(level, _), _| *level == 0);
        assert_eq!(fault(log.verdict()).0, 0, "{first}");
    }
}

#[test]
fn a_beginning_that_was_cut_off_without_a_word_is_named() {
    let signer = signer();
    assert_eq!(fault(cut(512, 0, 700, &signer).verdict()), (0, FaultKind::Deleted));
    assert_eq!(fault(cut(512, 256, 700, &signer).verdict()), (256, FaultKind::Deleted));
    let mut log = cut(512, 256, 1200, &signer);
    log.leaves[3].record.push(' ');
    assert_eq!(fault(log.verdict()), (256, FaultKind::Deleted), "what is wrong first comes first");
    let mut log = cut(512, 512, 1200, &signer);
    log.leaves[3].record.push(' ');
    assert_eq!(fault(log.verdict()), (515, FaultKind::Edited));
}

/// The hashes of a log, without leaves.
fn bare(hashes: impl IntoIterator<Item = Hash>, signer: &Signer) -> Paper {
    let mut tree = Tree::default();
    let tiles = tree.extend(hashes).into_iter().map(|tile| ((tile.level, tile.n), tile.hashes)).collect();
    let checkpoint = Checkpoint { origin: signer.verifier().name().to_owned(), head: tree.head() };
    let note = checkpoint.sign(std::slice::from_ref(signer)).unwrap().to_string();
    let keys = vec![signer.verifier().clone()];
    Paper { keys, first: 0, leaves: Vec::new(), tiles, checkpoints: vec![(tree.size(), note)] }
}

fn where_parted(one: &Paper, other: &Paper) -> Option<u64> {
    let there = parted(one, other).now_or_never().unwrap().unwrap();
    assert_eq!(parted(other, one).now_or_never().unwrap().unwrap(), there);
    there
}

#[test]
fn the_first_leaf_of_a_fork_is_named() {
    let signer = signer();
    let whole = bare((0..66_000).map(gone), &signer);
    for (shared, length) in [(0, 300), (3, 9), (255, 256), (256, 257), (257, 600), (65_536, 65_800)] {
        let other = (0..shared).chain((shared..length).map(|n| n + 1_000_000)).map(gone);
        assert_eq!(where_parted(&whole, &bare(other, &signer)), Some(shared), "{shared} of {length}");
    }
    for length in [0, 1, 256, 300, 65_999] {
        assert_eq!(where_parted(&whole, &bare((0..length).map(gone), &signer)), None, "{length}");
    }
    let mut cut = whole.clone();
    cut.tiles.retain(|(level, n), _| *level > 0 || *n >= 200);
    assert_eq!(where_parted(&whole, &cut), None);
    let other = bare((0..300).chain(1_000_300..1_003_000).map(gone), &signer);
    assert_eq!(where_parted(&cut, &other), Some(256), "below the highest hash that is there");
}

#[test]
fn content_that_is_sealed_is_counted_and_the_tree_verifies_all_the_same() {
    let mut log = log(60, 7, &signer());
    log.leaves.iter_mut().for_each(|leaf| leaf.held = Held::Sealed);
    let verified = log.verdict().unwrap();
    assert_eq!((verified.whole, verified.sealed), (0, 60));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_single_changed_byte_passes(place in 0usize..4, at in any::<prop::sample::Index>(), flip in 1u8..) {
        let mut log = log(4, 2, &signer());
        let leaf = &mut log.leaves[place];
        let mut record = leaf.record.clone().into_bytes();
        let at = at.index(record.len());
        record[at] ^= flip;
        if let Ok(record) = String::from_utf8(record) {
            leaf.record = record;
            prop_assert_eq!(fault(log.verdict()), (place as u64, FaultKind::Edited));
        }
    }
}

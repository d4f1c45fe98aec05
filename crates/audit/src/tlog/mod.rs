//! A transparency log without a store: the Merkle tree of RFC 6962, its tiles, signed checkpoints, proofs, witnesses.
//!
//! Everything here is pure and speaks the formats of [C2SP](https://c2sp.org): `tlog-tiles`, `tlog-checkpoint`,
//! `signed-note`, `tlog-cosignature`, `tlog-proof`, `tlog-witness`. It does not know what a leaf says.

mod checkpoint;
mod hash;
mod note;
mod proof;
mod receipt;
mod tile;
mod tree;
mod witness;

pub use self::{
    checkpoint::{Checkpoint, SignedCheckpoint},
    hash::Hash,
    note::{InvalidKey, KeyKind, NoteError, Signer, VerifierKey, verify_note},
    proof::{
        Tiles, consistency_proof, inclusion_proof, verify_consistency, verify_inclusion,
        verify_subtree_consistency, verify_subtree_inclusion,
    },
    receipt::{InvalidReceipt, Receipt},
    tile::{MAX_LEAF_BYTES, TILE, Tile, bundle_path, decode_bundle, encode_bundle, number_path, tile_path},
    tree::{Head, Tree},
    witness::{AddCheckpoint, InvalidRequest, WitnessAnswer, WitnessState},
};

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

use super::{Checkpoint, Hash, NoteError, SignedCheckpoint, VerifierKey, verify_inclusion};

const VERSION: &str = "c2sp.org/tlog-proof@v1";

/// Longest proof there can be: one hash per bit of the size.
const MAX_HASHES: usize = 64;

/// A proof that one leaf is in a log, complete in itself (C2SP `tlog-proof`). Our `extra` is the leaf's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The leaf.
    pub index: u64,
    /// Its record: nobody else needs to be asked for it.
    pub record: Vec<u8>,
    /// From its sibling up to a child of the root.
    pub proof: Vec<Hash>,
    /// The tree it is in.
    pub checkpoint: SignedCheckpoint,
}

/// Why a receipt proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidReceipt {
    /// It is not laid out as a receipt.
    Malformed,
    /// The leaf's record is not in the tree at this place.
    NotIncluded,
    /// The checkpoint cannot be trusted.
    Checkpoint(NoteError),
    /// This many of the witnesses asked for have cosigned: too few.
    Unwitnessed(usize),
}

impl fmt::Display for InvalidReceipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("it is not a receipt"),
            Self::NotIncluded => f.write_str("the record is not in the tree at this place"),
            Self::Checkpoint(error) => write!(f, "of its checkpoint: {error}"),
            Self::Unwitnessed(found) => write!(f, "only {found} of the witnesses have cosigned it"),
        }
    }
}

impl std::error::Error for InvalidReceipt {}

impl Receipt {
    /// Checks it with nothing but public keys: the log's, and those of witnesses who all must have cosigned.
    ///
    /// # Errors
    ///
    /// [`InvalidReceipt`].
    pub fn verify(
        &self,
        log: &[VerifierKey],
        witnesses: &[VerifierKey],
    ) -> Result<&Checkpoint, InvalidReceipt> {
        let checkpoint = self.checkpoint.verify(log).map_err(InvalidReceipt::Checkpoint)?;
        let mut cosigned = 0;
        for witness in witnesses {
            let time = self.checkpoint.time_by(witness).map_err(InvalidReceipt::Checkpoint)?;
            cosigned += usize::from(time.is_some());
        }
        if cosigned < witnesses.len() {
            return Err(InvalidReceipt::Unwitnessed(cosigned));
        }
        let head = checkpoint.head;
        let included =
            verify_inclusion(Hash::leaf(&self.record), self.index, head.size, &self.proof, head.root);
        included.then_some(checkpoint).ok_or(InvalidReceipt::NotIncluded)
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{VERSION}\nextra {}\nindex {}", BASE64.encode(&self.record), self.index)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{}", hash.to_base64()))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for Receipt {
    type Err = InvalidReceipt;

    fn from_str(text: &str) -> Result<Self, InvalidReceipt> {
        let malformed = InvalidReceipt::Malformed;
        let (head, note) = text.split_once("\n\n").ok_or(malformed)?;
        let mut lines = head.split('\n');
        if lines.next() != Some(VERSION) {
            return Err(malformed);
        }
        let extra = lines.next().and_then(|line| line.strip_prefix("extra ")).ok_or(malformed)?;
        let record = BASE64.decode(extra).map_err(|_| malformed)?;
        let index = lines.next().and_then(|line| line.strip_prefix("index ")).ok_or(malformed)?;
        let number: u64 = index.parse().map_err(|_| malformed)?;
        if number.to_string() != index {
            return Err(malformed);
        }
        let proof: Option<Vec<_>> = lines.map(Hash::from_base64).collect();
        let proof = proof.filter(|proof| proof.len() <= MAX_HASHES).ok_or(malformed)?;
        let checkpoint = SignedCheckpoint::parse(note).map_err(InvalidReceipt::Checkpoint)?;
        Ok(Self { index: number, record, proof, checkpoint })
    }
}

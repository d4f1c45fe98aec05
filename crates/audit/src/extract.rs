//! Some leaves of a log with what proves them, in one piece.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    AuditError, Held, Leaf, Log,
    folder::Line,
    tlog::{
        Checkpoint, Hash, InvalidReceipt, Receipt, SignedCheckpoint, VerifierKey, inclusion_proof,
        verify_inclusion,
    },
};

/// Leaves taken out of a log with what lies beside them and the proof of each under one signed checkpoint: anybody who
/// has the log's public key can tell that they are on the record, and unchanged.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extract {
    checkpoint: String,
    leaves: Vec<Proved>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Proved {
    index: u64,
    record: String,
    proof: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    held: Option<Line>,
}

/// Why an extract proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExtractFault {
    /// What lies beside this leaf is not what it commits to.
    Content(u64),
    /// This leaf is not shown to be on the record.
    Leaf(u64, InvalidReceipt),
    /// Its checkpoint cannot be believed.
    Checkpoint(InvalidReceipt),
}

impl fmt::Display for ExtractFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Content(leaf) => write!(f, "what lies beside leaf {leaf} was changed"),
            Self::Leaf(leaf, why) => write!(f, "leaf {leaf}: {why}"),
            Self::Checkpoint(why) => why.fmt(f),
        }
    }
}

impl std::error::Error for ExtractFault {}

impl Extract {
    /// Takes these leaves out of the log, proved under its latest checkpoint.
    ///
    /// # Errors
    ///
    /// [`AuditError`] when the log cannot be read, or has not signed one of them.
    pub async fn of(log: &dyn Log, leaves: &[Leaf]) -> Result<Self, AuditError> {
        let checkpoint = log.checkpoint().await?;
        let signed = SignedCheckpoint::parse(&checkpoint).map_err(|_| AuditError::Unavailable)?;
        let size = signed.claimed().head.size;
        let mut proved = Vec::with_capacity(leaves.len());
        for leaf in leaves {
            let proof = inclusion_proof(log, leaf.index, size).await?;
            let proof = proof.ok_or(AuditError::Corrupt { leaf: leaf.index })?;
            proved.push(Proved {
                index: leaf.index,
                record: leaf.record.clone(),
                proof: proof.into_iter().map(Hash::to_base64).collect(),
                held: Line::of(leaf),
            });
        }
        Ok(Self { checkpoint, leaves: proved })
    }

    /// The signed checkpoint, a note.
    #[must_use]
    pub fn checkpoint(&self) -> &str {
        &self.checkpoint
    }

    /// The leaves, in the order they were given. That they are here does not prove them: [`verify`](Self::verify) does.
    #[must_use]
    pub fn leaves(&self) -> Vec<Leaf> {
        self.leaves.iter().map(Proved::leaf).collect()
    }

    /// The receipt of one leaf; `None` when it is not here, or not readable.
    #[must_use]
    pub fn receipt(&self, index: u64) -> Option<Receipt> {
        let proved = self.leaves.iter().find(|proved| proved.index == index)?;
        let checkpoint = SignedCheckpoint::parse(&self.checkpoint).ok()?;
        Some(Receipt {
            index,
            record: proved.record.clone().into_bytes(),
            proof: proved.hashes()?,
            checkpoint,
        })
    }

    /// Checks all of it with nothing but the log's public keys, and gives what the checkpoint says.
    ///
    /// # Errors
    ///
    /// [`ExtractFault`], the first there is.
    pub fn verify(&self, keys: &[VerifierKey]) -> Result<Checkpoint, ExtractFault> {
        let unsigned = |error| ExtractFault::Checkpoint(InvalidReceipt::Checkpoint(error));
        let signed = SignedCheckpoint::parse(&self.checkpoint).map_err(unsigned)?;
        let checkpoint = signed.verify(keys).map_err(unsigned)?;
        let head = checkpoint.head;
        for proved in &self.leaves {
            let index = proved.index;
            let malformed = ExtractFault::Leaf(index, InvalidReceipt::Malformed);
            let proof = proved.hashes().ok_or(malformed)?;
            let leaf = proved.leaf();
            if !verify_inclusion(leaf.hash(), index, head.size, &proof, head.root) {
                return Err(ExtractFault::Leaf(index, InvalidReceipt::NotIncluded));
            }
            let whole = match &leaf.held {
                Held::Open(content) => leaf.commits_to(content),
                Held::Broken => false,
                Held::Sealed | Held::Erased { .. } | Held::Missing => true,
            };
            if !whole {
                return Err(ExtractFault::Content(index));
            }
        }
        Ok(checkpoint.clone())
    }
}

impl Proved {
    fn leaf(&self) -> Leaf {
        let held = match self.held.clone().map(Line::held) {
            Some((index, held)) if index == self.index => held,
            Some(_) => Held::Broken,
            None => Held::Missing,
        };
        Leaf { index: self.index, record: self.record.clone(), held }
    }

    fn hashes(&self) -> Option<Vec<Hash>> {
        self.proof.iter().map(|hash| Hash::from_base64(hash)).collect()
    }
}

//! What a witness and a log say to each other (C2SP `tlog-witness`), without the HTTP between them.

use std::{fmt, str::FromStr};

use super::{Hash, Head, NoteError, SignedCheckpoint, Signer, VerifierKey, verify_consistency};

/// Hashes a consistency proof may have.
const MAX_HASHES: usize = 63;

/// The body of `add-checkpoint`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// Size of the checkpoint the witness cosigned last, as far as the log knows.
    pub old: u64,
    /// That the new tree begins with the old one.
    pub proof: Vec<Hash>,
    /// The new one.
    pub checkpoint: SignedCheckpoint,
}

/// The body is not laid out as `add-checkpoint` wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidRequest;

impl fmt::Display for InvalidRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body is not that of add-checkpoint")
    }
}

impl std::error::Error for InvalidRequest {}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{}", hash.to_base64()))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for AddCheckpoint {
    type Err = InvalidRequest;

    fn from_str(text: &str) -> Result<Self, InvalidRequest> {
        let (head, note) = text.split_once("\n\n").ok_or(InvalidRequest)?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old ")).ok_or(InvalidRequest)?;
        let number: u64 = old.parse().map_err(|_| InvalidRequest)?;
        let proof: Option<Vec<_>> = lines.map(Hash::from_base64).collect();
        let proof = proof.filter(|proof| proof.len() <= MAX_HASHES && number.to_string() == old);
        let checkpoint = SignedCheckpoint::parse(note).map_err(|_| InvalidRequest)?;
        Ok(Self { old: number, proof: proof.ok_or(InvalidRequest)?, checkpoint })
    }
}

/// What a witness answers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "each has its status in the protocol")]
pub enum WitnessAnswer {
    /// 200: the new state must be durable before this is sent.
    Cosigned {
        /// The signature line.
        line: String,
        /// The state from now on.
        state: WitnessState,
    },
    /// 400: the old size is above the checkpoint's.
    Backwards,
    /// 403: no key the witness trusts has signed it.
    Untrusted,
    /// 404: the witness does not watch this log.
    Unknown,
    /// 409: the witness has cosigned another size, which it tells, or another tree of this size.
    Conflict(u64),
    /// 422: the proof does not show that the tree only grew.
    Inconsistent,
}

impl WitnessAnswer {
    /// Its HTTP status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Cosigned { .. } => 200,
            Self::Backwards => 400,
            Self::Untrusted => 403,
            Self::Unknown => 404,
            Self::Conflict(_) => 409,
            Self::Inconsistent => 422,
        }
    }
}

/// What a witness remembers of one log: the largest tree it has cosigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WitnessState(pub Head);

impl WitnessState {
    /// Decides on a request. Only [`WitnessAnswer::Cosigned`] changes the state.
    #[must_use]
    pub fn answer(
        self,
        request: &AddCheckpoint,
        log: &[VerifierKey],
        signer: &Signer,
        time: u64,
    ) -> WitnessAnswer {
        let claimed = request.checkpoint.claimed();
        if !log.iter().any(|key| key.name() == claimed.origin) {
            return WitnessAnswer::Unknown;
        }
        let head = match request.checkpoint.verify(log) {
            Ok(checkpoint) => checkpoint.head,
            Err(NoteError::Malformed | NoteError::Untrusted | NoteError::Forged) => {
                return WitnessAnswer::Untrusted;
            }
        };
        let known = self.0;
        if request.old > head.size {
            return WitnessAnswer::Backwards;
        }
        if request.old != known.size || (known.size == head.size && known.root != head.root) {
            return WitnessAnswer::Conflict(known.size);
        }
        let grew = match known.size {
            0 => request.proof.is_empty(),
            size => verify_consistency(size, head.size, &request.proof, known.root, head.root),
        };
        if !grew {
            return WitnessAnswer::Inconsistent;
        }
        let line = signer.sign(request.checkpoint.text(), time);
        WitnessAnswer::Cosigned { line, state: Self(head) }
    }
}

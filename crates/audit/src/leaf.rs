use std::{borrow::Cow, fmt};

use bytes::Bytes;
use crewgate_core::{ApprovalId, Fact, RequestId, RunId, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{AuditError, Entry, Phase, frames};

/// A SHA-256 value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Hash([u8; 32]);

impl Hash {
    /// What the first leaf names as its predecessor: 32 zero bytes.
    pub const GENESIS: Self = Self([0; 32]);

    /// SHA-256 of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Hash {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// 64 lower-case hex digits.
impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How long the log is and the hash it ends in. Whoever remembers a head can tell later whether the log still begins
/// the way it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    /// Leaves so far; also the `seq` of the last.
    pub count: u64,
    /// Hash of the last leaf; [`Hash::GENESIS`] of an empty log.
    pub hash: Hash,
}

/// One row of the log, exactly as it is stored.
///
/// `record` is canonical JSON: one object whose members stand in a fixed order, beginning with `seq`; it holds the
/// facts, and the SHA-256 and length of the body and of the [encoded frames](crate::frames::encode). Then
///
/// ```text
/// hash = SHA-256( "crewgate leaf v1\n" ‖ prev (32 bytes) ‖ seq (8 bytes, big-endian) ‖ record )
/// ```
///
/// The text is hashed, never what it parses to: a later version that writes facts differently still verifies old
/// leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Its place, counted from 1 without gaps.
    pub seq: u64,
    /// Hash of the leaf before it.
    pub prev: Hash,
    /// Its own hash.
    pub hash: Hash,
    /// The canonical record.
    pub record: String,
    /// The request's body, masked.
    pub body: Option<Bytes>,
    /// The answer's frames, [encoded](crate::frames::encode).
    pub frames: Bytes,
}

impl Leaf {
    /// The entry it was made from.
    ///
    /// # Errors
    ///
    /// [`AuditError::Corrupt`] when record or frames cannot be read. That it can be read does not mean that nobody
    /// changed it: [`verify`](crate::verify()) tells.
    pub fn entry(&self) -> Result<Entry, AuditError> {
        let corrupt = || AuditError::Corrupt { seq: self.seq };
        let record: Record<'_> = serde_json::from_str(&self.record).map_err(|_| corrupt())?;
        let rest = record.rest;
        Ok(Entry {
            time: rest.time,
            started: rest.started,
            phase: rest.phase,
            request: rest.request,
            run: rest.run,
            approval: rest.approval,
            facts: rest.facts.into_owned(),
            request_body: self.body.clone(),
            frames: frames::decode(&self.frames).ok_or_else(corrupt)?,
        })
    }

    /// The place the record itself claims; differs from `seq` when the row was moved.
    pub(crate) fn claimed_seq(&self) -> Option<u64> {
        #[derive(Deserialize)]
        struct Place {
            seq: u64,
        }
        serde_json::from_str::<Place>(&self.record).ok().map(|place| place.seq)
    }

    /// Whether hash, body and frames are those of the record.
    pub(crate) fn is_whole(&self) -> bool {
        let Ok(record) = serde_json::from_str::<Record<'_>>(&self.record) else { return false };
        chain(self.prev, self.seq, &self.record) == self.hash
            && record.rest.request_body == self.body.as_ref().map(|body| Commitment::to(body))
            && record.rest.frames == frames_commitment(&self.frames)
    }
}

/// An entry made ready for the log outside of the one place where leaves are numbered: only numbering and one hash
/// remain to be done there.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The record's JSON without its opening brace and its `seq`.
    rest: String,
    body: Option<Bytes>,
    frames: Bytes,
}

impl Prepared {
    /// Serialises and digests an entry.
    ///
    /// # Errors
    ///
    /// [`AuditError::Invalid`] when a fact cannot be written as JSON.
    pub fn new(entry: Entry) -> Result<Self, AuditError> {
        let frames = frames::encode(&entry.frames);
        let rest = Rest {
            v: 1,
            time: entry.time,
            started: entry.started,
            phase: entry.phase,
            request: entry.request,
            run: entry.run,
            approval: entry.approval,
            principal: entry.principal().map(ToString::to_string),
            facts: Cow::Borrowed(&entry.facts),
            request_body: entry.request_body.as_ref().map(|body| Commitment::to(body)),
            frames: frames_commitment(&frames),
        };
        let json = serde_json::to_string(&rest).map_err(|_| AuditError::Invalid)?;
        let rest = json.strip_prefix('{').ok_or(AuditError::Invalid)?.to_owned();
        Ok(Self { rest, body: entry.request_body, frames })
    }

    /// The leaf that follows `head`.
    #[must_use]
    pub fn after(self, head: Head) -> Leaf {
        let seq = head.count.saturating_add(1);
        let record = format!("{{\"seq\":{seq},{}", self.rest);
        let hash = chain(head.hash, seq, &record);
        Leaf { seq, prev: head.hash, hash, record, body: self.body, frames: self.frames }
    }
}

fn chain(prev: Hash, seq: u64, record: &str) -> Hash {
    let mut sha = Sha256::new();
    sha.update(b"crewgate leaf v1\n");
    sha.update(prev.0);
    sha.update(seq.to_be_bytes());
    sha.update(record.as_bytes());
    Hash(sha.finalize().into())
}

#[derive(Deserialize)]
struct Record<'a> {
    #[serde(rename = "seq")]
    _seq: u64,
    #[serde(flatten)]
    rest: Rest<'a>,
}

#[derive(Serialize, Deserialize)]
struct Rest<'a> {
    v: u8,
    time: Timestamp,
    started: Timestamp,
    phase: Phase,
    request: RequestId,
    run: Option<RunId>,
    approval: Option<ApprovalId>,
    principal: Option<String>,
    facts: Cow<'a, [Fact]>,
    request_body: Option<Commitment>,
    frames: Option<Commitment>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Commitment {
    sha256: String,
    bytes: usize,
}

impl Commitment {
    fn to(bytes: &[u8]) -> Self {
        Self { sha256: Hash::of(bytes).to_string(), bytes: bytes.len() }
    }
}

fn frames_commitment(encoded: &Bytes) -> Option<Commitment> {
    (!encoded.is_empty()).then(|| Commitment::to(encoded))
}

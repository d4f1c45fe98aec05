use aws_lc_rs::{hmac, rand};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::AuditError;

/// What a leaf stands for and does not say: facts, the request's body, the answer's frames. It lies beside the log,
/// and can go without the tree noticing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Makes what the leaf commits to unguessable. Gone, the commitments say nothing.
    pub salt: [u8; 32],
    /// The facts, as JSON.
    pub facts: Bytes,
    /// The request's body as it may be stored.
    pub request_body: Option<Bytes>,
    /// The answer's frames, [encoded](crate::frames::encode).
    pub frames: Bytes,
}

impl Content {
    /// With a new salt.
    pub(crate) fn new(
        facts: Vec<u8>,
        request_body: Option<Bytes>,
        frames: Bytes,
    ) -> Result<Self, AuditError> {
        let mut salt = [0; 32];
        rand::fill(&mut salt).map_err(|_| AuditError::Unavailable)?;
        Ok(Self { salt, facts: facts.into(), request_body, frames })
    }

    /// In one piece: salt, then facts and frames and, if there is one, the body, each behind its length.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let body = self.request_body.as_ref();
        let size = self.facts.len() + self.frames.len() + body.map_or(0, Bytes::len);
        let mut out = BytesMut::with_capacity(size + 32 + 24);
        out.put_slice(&self.salt);
        for part in [Some(&self.facts), Some(&self.frames), body].into_iter().flatten() {
            out.put_u64(u64::try_from(part.len()).unwrap_or(u64::MAX));
            out.put_slice(part);
        }
        out.into()
    }

    /// The parts again; `None` when the bytes are not laid out as [`encode`](Self::encode) does it.
    #[must_use]
    pub fn decode(mut encoded: Bytes) -> Option<Self> {
        let mut salt = [0; 32];
        encoded.try_copy_to_slice(&mut salt).ok()?;
        let (facts, frames) = (take(&mut encoded)?, take(&mut encoded)?);
        let request_body = if encoded.is_empty() { None } else { Some(take(&mut encoded)?) };
        encoded.is_empty().then_some(Self { salt, facts, request_body, frames })
    }

    /// What the leaf says of it.
    pub(crate) fn commitments(&self) -> Commitments {
        Commitments {
            body: self.request_body.as_ref().map(|body| self.commit("body", body)),
            facts: self.commit("facts", &self.facts),
            frames: (!self.frames.is_empty()).then(|| self.commit("frames", &self.frames)),
        }
    }

    /// Keyed by part, so that showing one part does not make another guessable:
    /// `HMAC-SHA-256(HMAC-SHA-256(salt, name), bytes)`.
    fn commit(&self, name: &str, bytes: &[u8]) -> Commitment {
        let mac = |key: &[u8], data: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data);
        let tag = mac(mac(&self.salt, name.as_bytes()).as_ref(), bytes);
        let hmac = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Commitment { bytes: bytes.len(), hmac }
    }
}

fn take(encoded: &mut Bytes) -> Option<Bytes> {
    let length = usize::try_from(encoded.try_get_u64().ok()?).ok()?;
    (length <= encoded.len()).then(|| encoded.split_to(length))
}

/// What a leaf says of its content: enough to find a change, not enough to guess it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Commitments {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<Commitment>,
    facts: Commitment,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    frames: Option<Commitment>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Commitment {
    bytes: usize,
    hmac: String,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn content() -> impl Strategy<Value = Content> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..60);
        (any::<[u8; 32]>(), bytes(), prop::option::of(bytes()), bytes()).prop_map(
            |(salt, facts, body, frames)| Content {
                salt,
                facts: facts.into(),
                request_body: body.map(Bytes::from),
                frames: frames.into(),
            },
        )
    }

    proptest! {
        #[test]
        fn content_comes_back_as_it_went(content in content()) {
            prop_assert_eq!(Content::decode(content.encode().into()), Some(content));
        }

        #[test]
        fn no_changed_content_keeps_its_commitments(one in content(), other in content()) {
            prop_assert_eq!(one == other, one.commitments() == other.commitments());
            let resalted = Content { salt: other.salt, ..one.clone() };
            prop_assert_eq!(one.salt == other.salt, one.commitments() == resalted.commitments());
        }

        #[test]
        fn strange_bytes_are_refused_or_have_one_spelling(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            if let Some(content) = Content::decode(bytes.clone().into()) {
                prop_assert_eq!(content.encode(), bytes);
            }
        }
    }
}

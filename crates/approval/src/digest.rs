use std::{fmt, str::FromStr};

use crewgate_core::{Operation, Outgoing, Principal};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};

/// SHA-256 over what will be sent, for whom and where: what people say yes to. Written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// Text that is not 64 lower-case hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidDigest;

// A new encoding gets a new name here, so that an old digest can never stand for a new meaning.
const DOMAIN: &[u8] = b"crewgate-approval-v2\0";

/// The digest of one request.
///
/// Every part goes in with its length before it and absence is told from emptiness, so no two different requests
/// share an encoding: moving a byte from the path to the body, or from one webhook host to the next, changes it.
#[must_use]
pub fn digest(outgoing: &Outgoing, requester: &Principal, operation: &Operation, upstream: &str) -> Digest {
    let mut hash = Sha256::new();
    hash.update(DOMAIN);
    part(&mut hash, outgoing.method.as_str().as_bytes());
    part(&mut hash, outgoing.path.as_str().as_bytes());
    optional(&mut hash, outgoing.content_type.as_ref().map(http::HeaderValue::as_bytes));
    part(&mut hash, &outgoing.body);
    part(&mut hash, requester.key.issuer.as_bytes());
    part(&mut hash, requester.key.subject.as_bytes());
    optional(&mut hash, requester.client.as_deref().map(str::as_bytes));
    length(&mut hash, requester.token.actors.len());
    for actor in &requester.token.actors {
        part(&mut hash, actor.issuer.as_bytes());
        part(&mut hash, actor.subject.as_bytes());
    }
    part(&mut hash, operation.action.as_str().as_bytes());
    part(&mut hash, operation.resource.kind.as_bytes());
    part(&mut hash, operation.resource.name.as_bytes());
    part(&mut hash, upstream.as_bytes());
    length(&mut hash, operation.webhook_hosts.len());
    for host in &operation.webhook_hosts {
        part(&mut hash, host.as_bytes());
    }
    Digest(hash.finalize().into())
}

fn length(hash: &mut Sha256, length: usize) {
    // usize is at most 64 bits wide on every target Rust has.
    hash.update(u64::try_from(length).unwrap_or(u64::MAX).to_be_bytes());
}

fn part(hash: &mut Sha256, bytes: &[u8]) {
    length(hash, bytes.len());
    hash.update(bytes);
}

fn optional(hash: &mut Sha256, bytes: Option<&[u8]>) {
    match bytes {
        None => hash.update([0]),
        Some(bytes) => {
            hash.update([1]);
            part(hash, bytes);
        }
    }
}

impl Digest {
    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl fmt::Display for InvalidDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not 64 lower-case hex digits")
    }
}

impl std::error::Error for InvalidDigest {}

impl FromStr for Digest {
    type Err = InvalidDigest;

    /// Reads the one spelling there is.
    ///
    /// # Errors
    ///
    /// [`InvalidDigest`] for upper case, another length or anything else.
    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        fn nibble(digit: u8) -> Result<u8, InvalidDigest> {
            match digit {
                b'0'..=b'9' => Ok(digit - b'0'),
                b'a'..=b'f' => Ok(digit - b'a' + 10),
                _ => Err(InvalidDigest),
            }
        }
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let mut bytes = [0; 32];
        if !rest.is_empty() || pairs.len() != bytes.len() {
            return Err(InvalidDigest);
        }
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = nibble(*high)? << 4 | nibble(*low)?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

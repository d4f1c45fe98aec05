//! Signed notes (C2SP `signed-note`) with Ed25519, and the cosignatures of witnesses (`tlog-cosignature`).

use std::{fmt, str::FromStr};

use aws_lc_rs::{
    rand,
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use sha2::{Digest, Sha256};

/// What a key is for; the same bytes under another kind are another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "a verifier must know every kind it accepts")]
pub enum KeyKind {
    /// Signs the log's own checkpoints.
    Log,
    /// Cosigns, with a time, the checkpoints of logs it watches (`cosignature/v1`).
    Witness,
}

impl KeyKind {
    const fn byte(self) -> u8 {
        match self {
            Self::Log => 1,
            Self::Witness => 4,
        }
    }

    fn of(byte: u8) -> Option<Self> {
        [Self::Log, Self::Witness].into_iter().find(|kind| kind.byte() == byte)
    }
}

/// Why a key's text is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidKey(&'static str);

impl fmt::Display for InvalidKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for InvalidKey {}

/// Why a note says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoteError {
    /// It is not laid out as a note, or its text not as what it should be.
    Malformed,
    /// No key that is trusted has signed it.
    Untrusted,
    /// A key that is trusted is named, and the signature is not its.
    Forged,
}

impl fmt::Display for NoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "it is not a signed note",
            Self::Untrusted => "no trusted key has signed it",
            Self::Forged => "its signature is not that of the key it names",
        })
    }
}

impl std::error::Error for NoteError {}

/// A public key, spelled `<name>+<key id>+<base64>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    kind: KeyKind,
    public: [u8; 32],
}

impl VerifierKey {
    /// Whose key it is; for a log its origin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is for.
    #[must_use]
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    fn id(&self) -> [u8; 4] {
        let sha = Sha256::new_with_prefix(self.name.as_bytes()).chain_update([b'\n', self.kind.byte()]);
        let digest: [u8; 32] = sha.chain_update(self.public).finalize().into();
        let [a, b, c, d, ..] = digest;
        [a, b, c, d]
    }

    /// What this key has signed of a note: `None` when it has not, the time of a cosignature in seconds since the
    /// epoch, 0 for a log's own.
    ///
    /// # Errors
    ///
    /// [`NoteError`]: it is named and did not sign.
    pub(super) fn signed(&self, text: &str, line: &Signature) -> Result<Option<u64>, NoteError> {
        let Some((id, signature)) = line.bytes.split_first_chunk::<4>() else {
            return Err(NoteError::Malformed);
        };
        if line.name != self.name || *id != self.id() {
            return Ok(None);
        }
        let (time, message, signature) = match self.kind {
            KeyKind::Log => (0, text.to_owned(), signature),
            KeyKind::Witness => {
                let (time, signature) = signature.split_first_chunk::<8>().ok_or(NoteError::Malformed)?;
                let time = u64::from_be_bytes(*time);
                (time, cosigned(time, text), signature)
            }
        };
        let key = UnparsedPublicKey::new(&ED25519, self.public);
        let good = key.verify(message.as_bytes(), signature).is_ok();
        good.then_some(Some(time)).ok_or(NoteError::Forged)
    }
}

fn cosigned(time: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: Vec<u8> = [self.kind.byte()].into_iter().chain(self.public).collect();
        write!(f, "{}+{}+{}", self.name, hex(self.id()), BASE64.encode(bytes))
    }
}

impl FromStr for VerifierKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let (name, id, kind, public) = parse(text)?;
        let key = Self { name, kind, public };
        if hex(key.id()) == id {
            Ok(key)
        } else {
            Err(InvalidKey("its id is not that of its name and bytes"))
        }
    }
}

/// A private key, spelled `PRIVATE+KEY+<name>+<key id>+<base64>`. Its `Debug` shows nothing.
pub struct Signer {
    pair: Ed25519KeyPair,
    seed: [u8; 32],
    verifier: VerifierKey,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("verifier", &self.verifier).finish_non_exhaustive()
    }
}

impl Signer {
    /// A new key under this name.
    ///
    /// # Errors
    ///
    /// [`InvalidKey`] for a name that is empty or has a plus sign, white space or a line break in it.
    pub fn generate(name: &str, kind: KeyKind) -> Result<Self, InvalidKey> {
        let mut seed = [0; 32];
        rand::fill(&mut seed).map_err(|_| InvalidKey("the system has no random bytes"))?;
        Self::from_seed(name.to_owned(), kind, seed)
    }

    fn from_seed(name: String, kind: KeyKind, seed: [u8; 32]) -> Result<Self, InvalidKey> {
        check_name(&name)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| InvalidKey("it is no key"))?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| InvalidKey("it is no key"))?;
        Ok(Self { pair, seed, verifier: VerifierKey { name, kind, public } })
    }

    /// The public half.
    #[must_use]
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The key's text, for the one place that keeps it.
    #[must_use]
    pub fn expose(&self) -> String {
        let bytes: Vec<u8> = [self.verifier.kind.byte()].into_iter().chain(self.seed).collect();
        format!("PRIVATE+KEY+{}+{}+{}", self.verifier.name, hex(self.verifier.id()), BASE64.encode(bytes))
    }

    /// The signature line for a note's text; `time`, in seconds since the epoch, is part of a witness's.
    #[must_use]
    pub fn sign(&self, text: &str, time: u64) -> String {
        let (stamp, message) = match self.verifier.kind {
            KeyKind::Log => (Vec::new(), text.to_owned()),
            KeyKind::Witness => (time.to_be_bytes().to_vec(), cosigned(time, text)),
        };
        let mut bytes = self.verifier.id().to_vec();
        bytes.extend(stamp);
        bytes.extend(self.pair.sign(message.as_bytes()).as_ref());
        format!("\u{2014} {} {}\n", self.verifier.name, BASE64.encode(bytes))
    }
}

impl FromStr for Signer {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let rest =
            text.strip_prefix("PRIVATE+KEY+").ok_or(InvalidKey("it does not begin with PRIVATE+KEY+"))?;
        let (name, id, kind, seed) = parse(rest)?;
        let signer = Self::from_seed(name, kind, seed)?;
        if hex(signer.verifier.id()) == id {
            Ok(signer)
        } else {
            Err(InvalidKey("its id is not that of its name and bytes"))
        }
    }
}

fn parse(text: &str) -> Result<(String, String, KeyKind, [u8; 32]), InvalidKey> {
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(id), Some(bytes)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(InvalidKey("a key is `name+id+base64`"));
    };
    check_name(name)?;
    let bytes = BASE64.decode(bytes).map_err(|_| InvalidKey("its last part is not base64"))?;
    let (kind, key) = bytes.split_first().ok_or(InvalidKey("its last part is empty"))?;
    let kind = KeyKind::of(*kind).ok_or(InvalidKey("it is neither a log's nor a witness's Ed25519 key"))?;
    let key = key.try_into().map_err(|_| InvalidKey("an Ed25519 key has 32 bytes"))?;
    Ok((name.to_owned(), id.to_owned(), kind, key))
}

fn check_name(name: &str) -> Result<(), InvalidKey> {
    if name.is_empty() || name.chars().any(|c| c == '+' || c.is_whitespace() || c.is_control()) {
        return Err(InvalidKey("a key's name is not empty and has neither plus signs nor white space"));
    }
    Ok(())
}

fn hex(id: [u8; 4]) -> String {
    format!("{:08x}", u32::from_be_bytes(id))
}

/// One signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signature {
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

/// The line again.
impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\u{2014} {} {}", self.name, BASE64.encode(&self.bytes))
    }
}

/// Signature lines of a note that are read at most; more are a flood.
const MAX_SIGNATURES: usize = 100;

/// Takes a note apart: its text with the final line break, and its signatures.
pub(super) fn split(note: &str) -> Result<(&str, Vec<Signature>), NoteError> {
    let at = note.rfind("\n\n").ok_or(NoteError::Malformed)?;
    let (text, lines) = note.split_at_checked(at + 1).ok_or(NoteError::Malformed)?;
    let lines = lines.strip_prefix('\n').ok_or(NoteError::Malformed)?;
    if text.chars().any(|c| c.is_control() && c != '\n') {
        return Err(NoteError::Malformed);
    }
    let signatures = signatures(lines)?;
    if signatures.is_empty() { Err(NoteError::Malformed) } else { Ok((text, signatures)) }
}

/// The text of a signed note, once one of these keys has signed it; what is signed should begin with a word of its own, so
/// that no checkpoint is taken for it.
///
/// # Errors
///
/// [`NoteError`] when none of them has, or one is named and has not.
pub fn verify_note<'n>(note: &'n str, keys: &[VerifierKey]) -> Result<&'n str, NoteError> {
    let (text, lines) = split(note)?;
    let mut signed = false;
    for line in &lines {
        for key in keys {
            signed |= key.signed(text, line)?.is_some();
        }
    }
    if signed { Ok(text) } else { Err(NoteError::Untrusted) }
}

pub(super) fn signatures(lines: &str) -> Result<Vec<Signature>, NoteError> {
    let lines = lines.strip_suffix('\n').ok_or(NoteError::Malformed)?;
    let read = |line: &str| {
        let (name, bytes) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
        check_name(name).ok()?;
        let bytes = BASE64.decode(bytes).ok().filter(|bytes| bytes.len() > 4)?;
        Some(Signature { name: name.to_owned(), bytes })
    };
    let found: Option<Vec<_>> = lines.split('\n').map(read).collect();
    found.filter(|found| found.len() <= MAX_SIGNATURES).ok_or(NoteError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    // The key pair, note and signature of Go's `golang.org/x/mod/sumdb/note` documentation.
    const PUBLIC: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const PRIVATE: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    const TEXT: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
    const LINE: &str = "\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    #[test]
    fn keys_and_signatures_are_those_of_the_format() {
        let signer: Signer = PRIVATE.parse().unwrap();
        assert_eq!(signer.verifier().to_string(), PUBLIC);
        assert_eq!(signer.expose(), PRIVATE);
        assert_eq!(signer.sign(TEXT, 0), LINE);
        let note = format!("{TEXT}\n{LINE}");
        let (text, lines) = split(&note).unwrap();
        assert_eq!(PUBLIC.parse::<VerifierKey>().unwrap().signed(text, &lines[0]), Ok(Some(0)));
    }

    #[test]
    fn a_changed_note_is_forged_and_another_key_has_not_signed() {
        let note = format!("{}\n{LINE}", TEXT.replace("answer", "cause"));
        let (text, lines) = split(&note).unwrap();
        assert_eq!(PUBLIC.parse::<VerifierKey>().unwrap().signed(text, &lines[0]), Err(NoteError::Forged));
        let other = Signer::generate("PeterNeumann", KeyKind::Log).unwrap();
        assert_eq!(other.verifier().signed(text, &lines[0]), Ok(None));
        let witness = Signer::from_seed("PeterNeumann".to_owned(), KeyKind::Witness, other.seed).unwrap();
        assert_ne!(witness.verifier().id(), other.verifier().id(), "one key, two uses, two ids");
    }

    #[test]
    fn a_witness_signs_the_time_with_the_text() {
        let witness = Signer::generate("witness.example/w1", KeyKind::Witness).unwrap();
        let line = signatures(&witness.sign(TEXT, 1_679_315_147)).unwrap().remove(0);
        assert_eq!(witness.verifier().signed(TEXT, &line), Ok(Some(1_679_315_147)));
        let mut later = line;
        later.bytes[11] ^= 1;
        assert_eq!(witness.verifier().signed(TEXT, &later), Err(NoteError::Forged));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for bad in [
            "",
            "a+b",
            "a b+00000000+AA==",
            "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        ] {
            assert!(bad.parse::<VerifierKey>().is_err(), "{bad}");
        }
        assert!(Signer::generate("", KeyKind::Log).is_err());
        assert!(!format!("{:?}", PRIVATE.parse::<Signer>().unwrap()).contains("AYEK"));
    }

    #[test]
    fn what_is_no_note_is_refused() {
        for bad in [
            "",
            "text\n",
            "text\n\n",
            "text\n\n\u{2014} a b\n",
            "te\txt\n\n\u{2014} n AAAAAAA=\n",
            "text\n\n\u{2014} n AAAAAAA=",
        ] {
            assert_eq!(split(bad).err(), Some(NoteError::Malformed), "{bad:?}");
        }
    }
}

use std::fmt;

use super::{
    Hash, Head, NoteError, Signer, VerifierKey,
    note::{Signature, signatures, split},
};

/// What a log says about itself: its origin, how long it is and its root (C2SP `tlog-checkpoint`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log it is.
    pub origin: String,
    /// Size and root.
    pub head: Head,
}

/// The text that is signed.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.head.size, self.head.root.to_base64())
    }
}

impl Checkpoint {
    /// Signs it with each of these keys: two while one is being replaced. `None` when there is no key or one has
    /// another name than the origin.
    #[must_use]
    pub fn sign(self, signers: &[Signer]) -> Option<SignedCheckpoint> {
        let text = self.to_string();
        if signers.is_empty() || signers.iter().any(|signer| signer.verifier().name() != self.origin) {
            return None;
        }
        let lines: String = signers.iter().map(|signer| signer.sign(&text, 0)).collect();
        SignedCheckpoint::parse(&format!("{text}\n{lines}")).ok()
    }

    fn parse(text: &str) -> Result<Self, NoteError> {
        let mut lines = text.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(NoteError::Malformed);
        };
        let plain = !origin.is_empty() && (size == "0" || !size.starts_with('0')) && !size.starts_with('+');
        let (Some(root), Ok(size), true) = (Hash::from_base64(root), size.parse(), plain) else {
            return Err(NoteError::Malformed);
        };
        Ok(Self { origin: origin.to_owned(), head: Head { size, root } })
    }
}

/// A checkpoint with its signatures, of which nobody has yet said whether they are good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note: String,
    text: usize,
    signatures: Vec<Signature>,
}

impl SignedCheckpoint {
    /// Reads a signed note.
    ///
    /// # Errors
    ///
    /// [`NoteError::Malformed`].
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        let (text, signatures) = split(note)?;
        Ok(Self { checkpoint: Checkpoint::parse(text)?, note: note.to_owned(), text: text.len(), signatures })
    }

    /// What it says, whoever signed it.
    #[must_use]
    pub fn claimed(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The note.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.note
    }

    /// What is signed.
    #[must_use]
    pub fn text(&self) -> &str {
        self.note.get(..self.text).unwrap_or_default()
    }

    /// What it says, once a key of the log has signed it. Signatures of other keys are passed over, as a rotation
    /// needs it.
    ///
    /// # Errors
    ///
    /// [`NoteError`] when none of these keys has, or one of them is named and has not.
    pub fn verify(&self, keys: &[VerifierKey]) -> Result<&Checkpoint, NoteError> {
        let mut signed = false;
        for key in keys.iter().filter(|key| key.name() == self.checkpoint.origin) {
            signed |= self.time_by(key)?.is_some();
        }
        if signed { Ok(&self.checkpoint) } else { Err(NoteError::Untrusted) }
    }

    /// When this witness has cosigned it, in seconds since the epoch; `None` when it has not.
    ///
    /// # Errors
    ///
    /// [`NoteError`] when it is named and has not.
    pub fn time_by(&self, key: &VerifierKey) -> Result<Option<u64>, NoteError> {
        self.signatures.iter().try_fold(None, |found, line| Ok(found.or(key.signed(self.text(), line)?)))
    }

    /// Adds those of these signature lines that are good cosignatures by this witness.
    ///
    /// # Errors
    ///
    /// [`NoteError`] when there is none among them.
    pub fn cosigned(&mut self, lines: &str, witness: &VerifierKey) -> Result<(), NoteError> {
        let found = signatures(lines)?;
        let good = |line: &&Signature| matches!(witness.signed(self.text(), line), Ok(Some(_)));
        let line = found.iter().find(good).ok_or(NoteError::Untrusted)?;
        *self = Self::parse(&format!("{}{}", self.note, line))?;
        Ok(())
    }
}

impl fmt::Display for SignedCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tlog::KeyKind;

    fn checkpoint() -> Checkpoint {
        Checkpoint { origin: "gate.example/log".to_owned(), head: Head { size: 7, root: Hash::of(b"root") } }
    }

    #[test]
    fn two_keys_sign_while_one_is_being_replaced() {
        let [old, new, other] =
            ["gate.example/log"; 3].map(|name| Signer::generate(name, KeyKind::Log).unwrap());
        let verifiers = [&old, &new, &other].map(|signer| signer.verifier().clone());
        let [trusts_old, trusts_new, trusts_other] = verifiers;
        let signed = checkpoint().sign(&[new, old]).unwrap();
        for key in [trusts_old, trusts_new] {
            assert_eq!(signed.verify(&[key]), Ok(&checkpoint()));
        }
        assert_eq!(signed.verify(&[trusts_other]), Err(NoteError::Untrusted));
        assert_eq!(signed.verify(&[]), Err(NoteError::Untrusted));
    }

    #[test]
    fn a_key_of_another_log_signs_nothing_here() {
        let stranger = Signer::generate("elsewhere", KeyKind::Log).unwrap();
        assert_eq!(checkpoint().sign(&[stranger]), None);
        assert_eq!(checkpoint().sign(&[]), None);
    }

    #[test]
    fn a_cosignature_is_added_only_when_it_is_good() {
        let log = Signer::generate("gate.example/log", KeyKind::Log).unwrap();
        let witness = Signer::generate("w", KeyKind::Witness).unwrap();
        let mut signed = checkpoint().sign(std::slice::from_ref(&log)).unwrap();
        assert_eq!(
            signed.cosigned(&witness.sign("something else\n", 9), witness.verifier()),
            Err(NoteError::Untrusted)
        );
        let line = witness.sign(signed.text(), 9);
        signed.cosigned(&line, witness.verifier()).unwrap();
        assert_eq!(signed.time_by(witness.verifier()), Ok(Some(9)));
        assert_eq!(signed.verify(&[log.verifier().clone()]), Ok(&checkpoint()));
    }

    #[test]
    fn sizes_have_one_spelling() {
        let good = checkpoint().to_string();
        assert_eq!(Checkpoint::parse(&good), Ok(checkpoint()));
        for bad in ["\n7\n", "\n07\n", "\n+7\n", "\n-7\n", "\n\n"] {
            let text = good.replace("\n7\n", bad);
            assert_eq!(Checkpoint::parse(&text).is_ok(), bad == "\n7\n", "{text}");
        }
    }
}

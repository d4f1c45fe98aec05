//! The keys of a record, and where they lie when nobody says where.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use crewgate_audit::{
    SealKey,
    tlog::{KeyKind, Signer, VerifierKey},
};

use crate::OpenError;

/// What signs a record's checkpoints and what seals the keys of what lies beside it. Clones share them.
#[derive(Debug, Clone)]
pub struct Keys {
    pub(crate) signers: Arc<[Signer]>,
    pub(crate) seal: SealKey,
}

impl Keys {
    /// These signers, newest first, all under one name: the log's origin. Two while one is being replaced: a record is
    /// only opened by keys of which one has signed its latest checkpoint.
    ///
    /// # Errors
    ///
    /// [`OpenError::Key`] for no signer, one of another name, and one that is no log's.
    pub fn new(signers: Vec<Signer>, seal: SealKey) -> Result<Self, OpenError> {
        let names: Vec<_> = signers.iter().map(|signer| signer.verifier().name()).collect();
        if names.is_empty() || names.windows(2).any(|pair| pair.first() != pair.last()) {
            return Err(OpenError::Key("a record is signed by at least one key, all of one name".to_owned()));
        }
        if signers.iter().any(|signer| signer.verifier().kind() != KeyKind::Log) {
            return Err(OpenError::Key("a witness's key does not sign a record".to_owned()));
        }
        Ok(Self { signers: signers.into(), seal })
    }

    /// A secret for another purpose, of all who share these keys.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> Vec<u8> {
        self.seal.derive(purpose)
    }

    /// The name under which the record is known.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.signers.first().map(|signer| signer.verifier().name()).unwrap_or_default()
    }

    /// A signed note: this text, which ends with a line break, with the signature of each key.
    #[must_use]
    pub fn sign(&self, text: &str) -> String {
        let lines: String = self.signers.iter().map(|signer| signer.sign(text, 0)).collect();
        format!("{text}\n{lines}")
    }

    /// The public halves of what signs.
    #[must_use]
    pub fn verifiers(&self) -> Vec<VerifierKey> {
        self.signers.iter().map(|signer| signer.verifier().clone()).collect()
    }

    /// The keys beside this database: `<database>.signing-key`, one per line, and `<database>.seal-key`. `None` when
    /// neither is there.
    ///
    /// # Errors
    ///
    /// [`OpenError::Key`] when only one is there or one cannot be read.
    pub fn beside(database: &Path) -> Result<Option<Self>, OpenError> {
        let paths = paths(database);
        let [signing, seal] = paths.each_ref().map(|path| read(path));
        let (signing, seal) = match (signing?, seal?) {
            (None, None) => return Ok(None),
            (Some(signing), Some(seal)) => (signing, seal),
            _ => {
                return Err(OpenError::Key(format!(
                    "one of {} and {} is missing",
                    paths[0].display(),
                    paths[1].display()
                )));
            }
        };
        let [signing_path, seal_path] = paths;
        let wrong = |path: &Path, what: &str| OpenError::Key(format!("{}: {what}", path.display()));
        let signers: Result<Vec<Signer>, _> = signing.lines().map(str::parse).collect();
        let signers = signers.map_err(|error| wrong(&signing_path, &error.to_string()))?;
        let seal =
            SealKey::parse(&seal).ok_or_else(|| wrong(&seal_path, "it is not the base64 of 32 bytes"))?;
        Self::new(signers, seal).map(Some)
    }

    /// Makes the keys that are not beside this database yet, readable by us alone. Only for a record of which nothing is
    /// signed: a crash may have left one without the other.
    pub(crate) fn make_beside(database: &Path) -> Result<Self, OpenError> {
        let failed = |error: &dyn std::fmt::Display| OpenError::Key(format!("no key could be made: {error}"));
        // No two records have one name, wherever they are.
        let seal = SealKey::generate().map_err(|error| failed(&error))?;
        let name = format!(
            "crewgate/{}",
            crate::rows::hex(seal.pseudonym("").first_chunk::<8>().unwrap_or(&[0; 8]))
        );
        let signer = Signer::generate(&name, KeyKind::Log).map_err(|error| failed(&error))?;
        for (path, text) in paths(database).iter().zip([signer.expose(), seal.expose()]) {
            if read(path)?.is_none() {
                write(path, &text).map_err(|error| failed(&format!("{}: {error}", path.display())))?;
                tracing::warn!(
                    file = %path.display(),
                    "no key was given for the record: a new one lies beside it. Keep a copy elsewhere"
                );
            }
        }
        let keys = Self::beside(database)?.ok_or_else(|| failed(&"it is gone again"))?;
        let public: Vec<_> = keys.verifiers().iter().map(ToString::to_string).collect();
        tracing::warn!(
            keys = public.join(" "),
            "the record's public key: give it to whoever is to verify it"
        );
        Ok(keys)
    }
}

fn paths(database: &Path) -> [PathBuf; 2] {
    ["signing-key", "seal-key"].map(|end| {
        let mut name = database.as_os_str().to_owned();
        name.push(".");
        name.push(end);
        PathBuf::from(name)
    })
}

fn read(path: &Path) -> Result<Option<String>, OpenError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(OpenError::Key(format!("{}: {error}", path.display()))),
    }
}

/// Durable before anything is signed with it, and there whole or not at all.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let next = path.with_extension("next");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    fs::rename(next, path)
}

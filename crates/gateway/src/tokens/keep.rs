//! Where a login is kept between commands.

use std::{fs::File, path::PathBuf, sync::Arc};

use crewgate_core::Timestamp;
use serde::{Deserialize, Serialize};

use super::{SourceError, Token, authority::Granted, private_file};
use crate::config::{KeepIn, Secret};

/// A place for one login: the keyring of the operating system, or a file only its owner may read.
#[derive(Debug, Clone)]
pub struct Keep {
    folder: Arc<PathBuf>,
    profile: Arc<str>,
    keyring: bool,
}

/// A login. Its form at rest is JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    pub(super) issuer: String,
    pub(super) client: String,
    token: String,
    from: Timestamp,
    ends: Timestamp,
    refresh: Option<String>,
}

impl Kept {
    pub(super) fn new(issuer: &str, client: &str, granted: &Granted) -> Self {
        Self {
            issuer: issuer.to_owned(),
            client: client.to_owned(),
            token: granted.token.expose().to_owned(),
            from: granted.token.from(),
            ends: granted.token.ends(),
            refresh: granted.refresh.as_ref().map(|refresh| refresh.expose().to_owned()),
        }
    }

    pub(super) fn token(&self) -> Option<Token> {
        Token::new(&self.token, self.from, self.ends).ok()
    }

    pub(super) fn refresh(&self) -> Option<Secret> {
        self.refresh.as_deref().map(Secret::new)
    }
}

impl Keep {
    /// The login of a profile, below this folder where it is kept in a file.
    ///
    /// # Errors
    ///
    /// [`SourceError::Configuration`] for the keyring in a program that was built without it.
    pub fn new(
        folder: impl Into<PathBuf>,
        profile: &str,
        place: Option<KeepIn>,
    ) -> Result<Self, SourceError> {
        let built = cfg!(feature = "keyring");
        if place == Some(KeepIn::Keyring) && !built {
            let text = "this `crewgate` was built without the feature `keyring`: keep = \"file\"";
            return Err(SourceError::Configuration(text.to_owned()));
        }
        // Without a word: the keyring where the program knows one.
        let keyring = place.map_or(built, |place| place == KeepIn::Keyring);
        Ok(Self { folder: Arc::new(folder.into()), profile: profile.into(), keyring })
    }

    /// Where it is kept, for people.
    #[must_use]
    pub fn place(&self) -> String {
        if self.keyring { "the keyring".to_owned() } else { self.file("json").display().to_string() }
    }

    fn file(&self, extension: &str) -> PathBuf {
        self.folder.join("logins").join(format!("{}.{extension}", self.profile))
    }

    /// Keeps others from using the login meanwhile: a refresh token that is used twice looks stolen, and ends both.
    pub(super) async fn lock(&self) -> Result<File, SourceError> {
        let path = self.file("lock");
        let failed = format!("{}: ", path.display());
        aside(move || private_file::lock(&path).map_err(|error| format!("{failed}{error}"))).await
    }

    pub(super) async fn read(&self) -> Result<Option<Kept>, SourceError> {
        let (keep, place) = (self.clone(), self.place());
        let text = aside(move || if keep.keyring { keyring::read(&keep.profile) } else { keep.read_file() });
        let Some(text) = text.await? else { return Ok(None) };
        serde_json::from_str(&text).map(Some).map_err(|_| {
            SourceError::LoginNeeded(format!("the login in {place} cannot be read: run `crewgate login`"))
        })
    }

    fn read_file(&self) -> Result<Option<String>, String> {
        let path = self.file("json");
        private_file::read(&path).map_err(|error| format!("{}: {error}", path.display()))
    }

    pub(super) async fn write(&self, kept: &Kept) -> Result<(), SourceError> {
        let keep = self.clone();
        let text = serde_json::to_string(kept)
            .map_err(|error| SourceError::Configuration(format!("the login cannot be written: {error}")))?;
        aside(move || {
            if keep.keyring {
                return keyring::write(&keep.profile, &text);
            }
            let path = keep.file("json");
            private_file::replace(&path, &text).map_err(|error| format!("{}: {error}", path.display()))
        })
        .await
    }

    pub(super) async fn remove(&self) -> Result<(), SourceError> {
        let keep = self.clone();
        aside(move || {
            if keep.keyring {
                return keyring::remove(&keep.profile);
            }
            let path = keep.file("json");
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(format!("{}: {error}", path.display()))
                }
                _ => Ok(()),
            }
        })
        .await
    }
}

/// Beside the runtime: a lock or a locked keyring may wait for a person.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, SourceError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(SourceError::Configuration),
        Err(_) => Err(SourceError::Unavailable("the place of the login broke".to_owned())),
    }
}

#[cfg(feature = "keyring")]
mod keyring {
    use keyring::{Entry, Error};

    fn entry(profile: &str) -> Result<Entry, String> {
        Entry::new("crewgate", profile).map_err(unusable)
    }

    fn unusable(error: Error) -> String {
        format!("the keyring cannot be used ({error}): unlock it, or set keep = \"file\"")
    }

    pub(super) fn read(profile: &str) -> Result<Option<String>, String> {
        match entry(profile)?.get_password() {
            Ok(text) => Ok(Some(text)),
            Err(Error::NoEntry) => Ok(None),
            Err(error) => Err(unusable(error)),
        }
    }

    pub(super) fn write(profile: &str, text: &str) -> Result<(), String> {
        entry(profile)?.set_password(text).map_err(unusable)
    }

    pub(super) fn remove(profile: &str) -> Result<(), String> {
        match entry(profile)?.delete_credential() {
            Ok(()) | Err(Error::NoEntry) => Ok(()),
            Err(error) => Err(unusable(error)),
        }
    }
}

#[cfg(not(feature = "keyring"))]
mod keyring {
    fn absent<T>() -> Result<T, String> {
        Err("this `crewgate` was built without the feature `keyring`".to_owned())
    }

    pub(super) fn read(_: &str) -> Result<Option<String>, String> {
        absent()
    }

    pub(super) fn write(_: &str, _: &str) -> Result<(), String> {
        absent()
    }

    pub(super) fn remove(_: &str) -> Result<(), String> {
        absent()
    }
}

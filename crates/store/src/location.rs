use std::{fmt, path::PathBuf};

use crate::{
    keys::Keys,
    options::{OpenError, Options},
    postgres::Postgres,
    store::Store,
};

/// Where a store is.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_enums, reason = "whoever makes one ready must know what it is")]
pub enum Location {
    /// A file of SQLite's.
    File(PathBuf),
    /// A PostgreSQL database.
    Server(Postgres),
}

impl Location {
    /// As [`Store::open`] and [`Store::connect`].
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn open(&self, options: Options) -> Result<Store, OpenError> {
        match self {
            Self::File(path) => Store::open(path, options).await,
            Self::Server(postgres) => Store::connect(postgres.clone(), options).await,
        }
    }

    /// As [`Store::open_read_only_with`] and [`Store::connect_read_only`], with these keys or those
    /// [beside it](Self::keys).
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub async fn open_read_only(&self, keys: Option<&Keys>) -> Result<Store, OpenError> {
        let beside = if keys.is_none() { self.keys()? } else { None };
        let keys = keys.or(beside.as_ref());
        match self {
            Self::File(path) => Store::open_read_only_with(path, keys).await,
            Self::Server(postgres) => Store::connect_read_only(postgres, keys).await,
        }
    }

    /// The keys that lie beside it. Beside a server there are none.
    ///
    /// # Errors
    ///
    /// [`OpenError::Key`] when only one is there or one cannot be read.
    pub fn keys(&self) -> Result<Option<Keys>, OpenError> {
        match self {
            Self::File(path) => Keys::beside(path),
            Self::Server(_) => Ok(None),
        }
    }
}

/// Without a password.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Server(postgres) => postgres.fmt(f),
        }
    }
}

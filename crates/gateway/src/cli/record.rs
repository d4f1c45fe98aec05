//! The record under the commands: read from the store itself, and written to by whoever may. While a gateway runs that is
//! the gateway, asked with the caller's own token; otherwise, and where a PostgreSQL has room for one writer more, the
//! store is opened for it here.

use crewgate_audit::{AuditError, AuditStore as _, Entry, Lane};
use crewgate_core::{Clock as _, RequestId, RunId, SystemClock};
use crewgate_store::{OpenError, Options, Store};
use http::Method;
use serde_json::{Value, json};

use super::{
    ConfigFile,
    control::{Api, Console},
    output::Failure,
};
use crate::config::Settings;

/// Who writes to the record.
pub(super) enum Hand {
    Gateway(Box<Api>),
    Store(Store),
}

impl Hand {
    pub(super) async fn of(settings: &Settings, console: &Console) -> Result<Self, Failure> {
        let options =
            settings.record_keys.iter().fold(Options::default(), |options, keys| options.keys(keys.clone()));
        match settings.store.open(options).await {
            Ok(store) => Ok(Self::Store(store)),
            Err(OpenError::Locked { .. }) => Ok(Self::Gateway(Box::new(Api::new(console).await?))),
            Err(error) => Err(Failure::unavailable(error.to_string())),
        }
    }
}

/// What is read of the record, and stands on it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reads {
    Record,
    Run(RunId),
    Request(RequestId),
    Runs,
}

impl Reads {
    fn body(self) -> Value {
        match self {
            Self::Record => json!({ "reads": "record" }),
            Self::Run(id) => json!({ "reads": "run", "id": id.to_string() }),
            Self::Request(id) => json!({ "reads": "request", "id": id.to_string() }),
            Self::Runs => json!({ "reads": "runs" }),
        }
    }

    fn entry(self) -> Entry {
        let (what, run) = match self {
            Self::Record => ("access.record".to_owned(), None),
            Self::Run(run) => ("access.run".to_owned(), Some(run)),
            Self::Request(request) => (format!("access.run {request}"), None),
            Self::Runs => ("access.runs".to_owned(), None),
        };
        Entry::told(what, None, RequestId::random(), SystemClock.now()).with_run(run)
    }
}

/// Puts it on the record that it is read, before anything of it is shown.
pub(super) async fn note(config: &ConfigFile, console: &Console, reads: Reads) -> Result<(), Failure> {
    match Hand::of(&config.load()?, console).await? {
        Hand::Gateway(api) => {
            api.call(Method::POST, "/api/record/access", Some(reads.body())).await?;
        }
        Hand::Store(store) => {
            let noted = store.append(Lane::Outcome, reads.entry()).await;
            store.close().await;
            noted.map_err(unavailable)?;
        }
    }
    Ok(())
}

/// The store of the configuration, for reading beside a running gateway or without one.
pub(super) async fn open(settings: &Settings) -> Result<Store, Failure> {
    let store = settings.store.open_read_only(settings.record_keys.as_ref()).await;
    store.map_err(|error| unreadable(&settings.store, &error))
}

pub(super) fn unreadable(store: &impl std::fmt::Display, error: &OpenError) -> Failure {
    Failure::unavailable(format!("{store} cannot be read: {error}"))
}

pub(super) fn unavailable(error: AuditError) -> Failure {
    Failure::unavailable(error.to_string())
}

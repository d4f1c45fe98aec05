#![forbid(unsafe_code)]
//! One database behind every port: [`Store`] is an `AuditStore`, an `ApprovalStore`, a `GrantStore`, a
//! `RunLedger`, a `Meter`, a `RevocationStore`, a keeper of
//! `UsedIds`, a `KeyStore` and a `TokenInventory`, and keeps how far exports have come (`Cursors`).
//!
//! **Two databases.** A file of SQLite's ([`Store::open`]) for one gateway, a PostgreSQL ([`Store::connect`]) for several: the same
//! statements on both, and a [`Location`] says which.
//!
//! **One writer.** One task owns the one connection that writes; of gateways that share a PostgreSQL, whoever has the pen (an
//! advisory lock, taken with the transaction) is the only one, and goes on where the last one stopped. Commands stand in one line, in the order they came,
//! with seats per lane so that no flood takes another lane's; as many as are there share one transaction, each in a
//! savepoint, and all are answered after its `COMMIT`: an answer means that the disk has it. A `COMMIT` or checkpoint
//! that fails *poisons* the store: that batch is answered "unknown", everything after it "unavailable", and
//! [`poisoned`](Store::poisoned) tells the process to end. It never syncs a second time after a failure.
//!
//! **The log grows by transactions.** The leaves of one go into the tree together; its tiles and a signed checkpoint are
//! written with them, so that what is signed is what is there. What lies beside a leaf is sealed before it is in line.
//!
//! **Row and leaf in one transaction.** A move of an approval writes its row and the leaf that tells it. An intent that
//! releases an approval marks it as sent in the same transaction, or is refused; its outcome settles it. After a crash,
//! what was sent and has no outcome is indeterminate, and nothing is ever sent twice. An intent that relies on a
//! temporary grant spends its use there too, and is refused when the grant no longer counts.
//!
//! It does not know the layers' services, HTTP or what anything means: transitions are the functions of
//! `approval::machine`, leaves are made and verified by `audit`.
//!
//! ```
//! use crewgate_audit::{AuditStore, Entry, Lane, Phase, verify};
//! use crewgate_core::{RequestId, Timestamp};
//! use crewgate_store::{Options, Store};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let path = std::env::temp_dir().join(format!("crewgate-doc-{}.db", std::process::id()));
//! let store = Store::open(&path, Options::default()).await?;
//! let entry = Entry::new(Phase::Control, RequestId::random(), Timestamp::from_secs(1));
//! assert_eq!(store.append(Lane::Outcome, entry).await?.index, 0);
//! store.close().await;
//!
//! // Somebody else, later, without a gateway: the record is as it was written.
//! let reader = Store::open_read_only(&path).await?;
//! assert!(verify(&reader, None, |_, _| ()).await?.is_ok());
//! # for end in ["db", "db.lock", "db.signing-key", "db.seal-key"] {
//! #     std::fs::remove_file(path.with_extension(end))?;
//! # }
//! # Ok(()) }
//! ```

mod approval_rows;
mod approvals;
mod audit;
mod call_keys;
mod command;
mod cursors;
mod db;
mod delegations;
mod erase;
mod fault;
mod grants;
mod inventory;
mod keys;
mod lanes;
mod location;
mod open;
mod options;
mod postgres;
mod rates;
mod revocations;
mod rows;
mod runs;
mod sessions;
mod sqlite;
mod store;
mod tx;
mod unwritten;
mod used;
mod vault;
mod writer;

pub use self::{
    keys::Keys,
    location::Location,
    options::{
        DEFAULT_BATCH, DEFAULT_CHECKPOINT_PAGES, DEFAULT_CONTROL_SEATS, DEFAULT_INTENT_SEATS,
        DEFAULT_OUTCOME_SEATS, DEFAULT_READERS, DEFAULT_REFUSAL_SEATS, DEFAULT_SEAT_WAIT, OpenError, Options,
    },
    postgres::Postgres,
    store::Store,
};

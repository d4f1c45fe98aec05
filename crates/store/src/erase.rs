//! What the record holds beside its leaves, given up: a person's by destroying their key, everybody's by age. The leaves
//! stay, and with them every proof.

use std::fmt;

use crewgate_audit::{AuditError, Entry};
use crewgate_core::{Clock, Fact, RequestId, SystemClock, Timestamp};

use crate::{
    SqliteStore,
    fault::{Fault, FromFault},
    rows,
    tx::Tx,
};

/// Why nothing was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EraseError {
    /// It is on hold.
    Held,
    /// The store cannot do it now.
    Store(AuditError),
    /// The record holds nothing of this person.
    Unknown,
}

impl fmt::Display for EraseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held => f.write_str("what is held of them is on hold: it may not be erased"),
            Self::Store(error) => error.fmt(f),
            Self::Unknown => f.write_str("the record holds nothing of them"),
        }
    }
}

impl std::error::Error for EraseError {}

impl From<Fault> for EraseError {
    fn from(fault: Fault) -> Self {
        Self::Store(fault.into())
    }
}

impl From<sqlx::Error> for EraseError {
    fn from(error: sqlx::Error) -> Self {
        Fault::from(error).into()
    }
}

impl FromFault for EraseError {
    fn from_fault(fault: Fault) -> Self {
        fault.into()
    }
}

impl SqliteStore {
    /// Destroys the key of a person, spelled `issuer:subject`, and with it everything readable the record holds of
    /// them; a leaf says so under their pseudonym. Gives the number of leaves that lost their content.
    ///
    /// # Errors
    ///
    /// [`EraseError`].
    pub async fn erase(&self, person: &str) -> Result<u64, EraseError> {
        let subject = self.pseudonym(person)?;
        self.change(move |tx| Box::pin(erase(tx, subject))).await
    }

    /// Keeps what is held of a person from being erased or pruned, or no longer does.
    ///
    /// # Errors
    ///
    /// [`EraseError`].
    pub async fn hold(&self, person: &str, held: bool) -> Result<(), EraseError> {
        let subject = self.pseudonym(person)?;
        self.change(move |tx| {
            Box::pin(async move {
                let sql = "UPDATE subject_key SET held = ?1 WHERE subject = ?2";
                let query = sqlx::query(sql).bind(held).bind(subject.as_slice());
                if query.execute(&mut tx.conn).await?.rows_affected() == 0 {
                    return Err(EraseError::Unknown);
                }
                let word = if held { "hold" } else { "release" };
                tell(tx, &format!("erasure.{word} {}", rows::hex(&subject)), None).await
            })
        })
        .await
    }

    /// Gives up what lies beside leaves written before this instant, except what is on hold. Gives the number of
    /// leaves that lost their content.
    ///
    /// # Errors
    ///
    /// [`EraseError`].
    pub async fn prune(&self, before: Timestamp) -> Result<u64, EraseError> {
        self.change(move |tx| Box::pin(prune(tx, before))).await
    }

    fn pseudonym(&self, person: &str) -> Result<[u8; 16], EraseError> {
        let seal = self.shared().reading.seal.as_ref().ok_or(EraseError::Store(AuditError::Unavailable))?;
        Ok(seal.pseudonym(person))
    }
}

async fn erase(tx: &mut Tx, subject: [u8; 16]) -> Result<u64, EraseError> {
    let query =
        sqlx::query_scalar("SELECT held FROM subject_key WHERE subject = ?1").bind(subject.as_slice());
    match query.fetch_optional(&mut tx.conn).await? {
        None => return Err(EraseError::Unknown),
        Some(true) => return Err(EraseError::Held),
        Some(false) => {}
    }
    let query = sqlx::query("DELETE FROM subject_key WHERE subject = ?1").bind(subject.as_slice());
    query.execute(&mut tx.conn).await?;
    // Emptied as well: the same person may come again and get another key.
    let sql = "UPDATE leaf SET key = x'', sealed = x'' WHERE subject = ?1 AND length(sealed) > 0";
    let done = sqlx::query(sql).bind(subject.as_slice()).execute(&mut tx.conn).await?;
    tx.persons.remove(&subject);
    tell(tx, "erasure.person", Some(Fact::Erased { subject: rows::hex(&subject) })).await?;
    Ok(done.rows_affected())
}

async fn prune(tx: &mut Tx, before: Timestamp) -> Result<u64, EraseError> {
    let sql = "SELECT coalesce(max(idx) + 1, 0) FROM leaf WHERE time < ?1";
    let below: i64 = sqlx::query_scalar(sql).bind(before.as_micros()).fetch_one(&mut tx.conn).await?;
    let sql = "UPDATE leaf SET subject = NULL, key = NULL, sealed = NULL
               WHERE idx < ?1 AND subject IS NOT NULL
                 AND subject NOT IN (SELECT subject FROM subject_key WHERE held)
                 AND request NOT IN (SELECT request FROM open_intent)";
    let done = sqlx::query(sql).bind(below).execute(&mut tx.conn).await?.rows_affected();
    if done > 0 {
        tell(tx, "erasure.oldest", Some(Fact::Pruned { below: rows::unsigned(below)? })).await?;
    }
    Ok(done)
}

async fn tell(tx: &mut Tx, what: &str, fact: Option<Fact>) -> Result<(), EraseError> {
    let entry = Entry::told(what, None, RequestId::random(), SystemClock.now());
    let entry = fact.into_iter().fold(entry, Entry::with_fact);
    Ok(tx.tell_entry(entry).await?)
}

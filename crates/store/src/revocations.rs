//! The revocations' port: row and leaf in one transaction, and a number that replicas look at.

use crewgate_audit::{Entry, Phase};
use crewgate_core::{Fact, RequestId, Timestamp};
use crewgate_oidc::{Lift, MAX_REVOCATIONS, Revocation, RevocationStore, RevokeError, StoreError};
use futures_util::future::{BoxFuture, FutureExt};

use crate::{
    Store,
    db::{self, Row},
    fault::{Fault, FromFault},
    rows,
    tx::Tx,
};

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Unavailable(reason) => Self::Unavailable(reason),
            Fault::Unknown(reason) => Self::Unknown(reason),
        }
    }
}

impl FromFault for RevokeError {
    fn from_fault(fault: Fault) -> Self {
        Self::Store(fault.into())
    }
}

impl RevocationStore for Store {
    fn revoke(&self, new: Revocation) -> BoxFuture<'_, Result<Revocation, RevokeError>> {
        self.change(move |tx| async move { revoke(tx, new).await }.boxed())
    }

    fn lift(&self, lift: Lift) -> BoxFuture<'_, Result<(), RevokeError>> {
        self.change(move |tx| {
            async move {
                let sql = "DELETE FROM revocation WHERE tokens = $1 AND ends > $2";
                let query = db::query(sql).bind(rows::json(&lift.tokens).map_err(RevokeError::from_fault)?);
                let done = query.bind(lift.at.as_micros()).execute(&mut tx.conn).await.map_err(fault)?;
                if done == 0 {
                    return Err(RevokeError::NotRevoked);
                }
                changed(tx, lift.facts(), lift.at).await.map_err(RevokeError::from_fault)
            }
            .boxed()
        })
    }

    fn version(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        async move {
            let query = db::query("SELECT version FROM revocation_version");
            let version: i64 = query.scalar(self.readers()).await.map_err(Fault::from)?;
            Ok(rows::unsigned(version)?)
        }
        .boxed()
    }

    fn standing(&self, now: Timestamp) -> BoxFuture<'_, Result<Vec<Revocation>, StoreError>> {
        async move {
            let query = db::query("SELECT stands FROM revocation WHERE ends > $1").bind(now.as_micros());
            let found = query.fetch_all(self.readers()).await.map_err(Fault::from)?;
            let mut standing = found.iter().map(stands).collect::<Result<Vec<_>, _>>()?;
            standing.sort_by(|a, b| a.tokens.cmp(&b.tokens));
            Ok(standing)
        }
        .boxed()
    }
}

async fn revoke(tx: &mut Tx, new: Revocation) -> Result<Revocation, RevokeError> {
    let sweep = db::query("DELETE FROM revocation WHERE ends <= $1").bind(new.at.as_micros());
    sweep.execute(&mut tx.conn).await.map_err(fault)?;
    let tokens = rows::json(&new.tokens).map_err(RevokeError::from_fault)?;
    let query = db::query("SELECT stands FROM revocation WHERE tokens = $1").bind(&tokens);
    let row = query.fetch_optional(&mut tx.conn).await.map_err(fault)?;
    let earlier = row.as_ref().map(stands).transpose().map_err(RevokeError::from_fault)?;
    if earlier.is_none() {
        let count: i64 =
            db::query("SELECT count(*) FROM revocation").scalar(&mut tx.conn).await.map_err(fault)?;
        if usize::try_from(count).is_ok_and(|count| count >= MAX_REVOCATIONS) {
            return Err(RevokeError::Full);
        }
    }
    let next = new.over(earlier.as_ref());
    let sql = "INSERT INTO revocation (tokens, stands, ends) VALUES ($1, $2, $3)
               ON CONFLICT (tokens) DO UPDATE SET stands = excluded.stands, ends = excluded.ends";
    let query = db::query(sql)
        .bind(tokens)
        .bind(rows::json(&next).map_err(RevokeError::from_fault)?)
        .bind(next.until.as_micros());
    query.execute(&mut tx.conn).await.map_err(fault)?;
    changed(tx, next.facts(), next.at).await.map_err(RevokeError::from_fault)?;
    Ok(next)
}

/// Counts the change, and puts it on the record.
async fn changed(tx: &mut Tx, facts: [Fact; 2], at: Timestamp) -> Result<(), Fault> {
    db::query("UPDATE revocation_version SET version = version + 1").execute(&mut tx.conn).await?;
    let entry = Entry::new(Phase::Control, RequestId::random(), at);
    tx.tell_entry(facts.into_iter().fold(entry, Entry::with_fact)).await
}

fn stands(row: &Row) -> Result<Revocation, Fault> {
    rows::parse(row.try_get("stands")?, "revocation")
}

fn fault(error: sqlx::Error) -> RevokeError {
    RevokeError::from_fault(error.into())
}

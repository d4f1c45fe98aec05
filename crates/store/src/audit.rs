//! The record's port.

use crewgate_audit::{AuditError, AuditStore, Entry, Head, Lane, Leaf, Query, Receipt, Seat};
use futures_util::future::{BoxFuture, FutureExt, ready};
use sqlx::{QueryBuilder, Sqlite};
use tokio::sync::OwnedSemaphorePermit;

use crate::{SqliteStore, fault::Fault, lanes::heard, rows, tx::Sorted};

impl SqliteStore {
    fn put(
        &self,
        seat: OwnedSemaphorePermit,
        entry: Entry,
    ) -> BoxFuture<'static, Result<Receipt, AuditError>> {
        let Some(lanes) = &self.shared().lanes else { return ready(Err(AuditError::Unavailable)).boxed() };
        // Serialised and digested here, on the caller's time, not on the writer's.
        match Sorted::new(entry) {
            Ok(sorted) => heard(lanes.send(seat, move |tx| Box::pin(tx.record(sorted)))).boxed(),
            Err(error) => ready(Err(error)).boxed(),
        }
    }
}

impl AuditStore for SqliteStore {
    fn append(&self, lane: Lane, entry: Entry) -> BoxFuture<'static, Result<Receipt, AuditError>> {
        let Some(lanes) = &self.shared().lanes else { return ready(Err(AuditError::Unavailable)).boxed() };
        let seats = match lane {
            Lane::Intent => &lanes.intent,
            Lane::Outcome => &lanes.outcome,
            Lane::Refusal => {
                if !self.shared().refusals.quota().admit(&entry) {
                    return ready(Err(AuditError::Full)).boxed();
                }
                &lanes.refusal
            }
        };
        match std::sync::Arc::clone(seats).try_acquire_owned() {
            Ok(seat) => self.put(seat, entry),
            Err(_) => {
                if lane == Lane::Refusal {
                    self.shared().refusals.quota().fold(&entry);
                }
                ready(Err(AuditError::Full)).boxed()
            }
        }
    }

    fn reserve(&self) -> BoxFuture<'_, Result<Box<dyn Seat>, AuditError>> {
        async move {
            if !self.is_writable() {
                return Err(AuditError::Unavailable);
            }
            let lanes = self.shared().lanes.as_ref().ok_or(AuditError::Unavailable)?;
            let seat = lanes.seat(&lanes.outcome).await.ok_or(AuditError::Full)?;
            Ok(Box::new(Reserved { store: self.clone(), seat }) as Box<dyn Seat>)
        }
        .boxed()
    }

    fn leaves(&self, query: Query) -> BoxFuture<'_, Result<Vec<Leaf>, AuditError>> {
        async move {
            let mut sql = QueryBuilder::<Sqlite>::new(rows::LEAF);
            match (query.newest_first, rows::signed(query.after)?) {
                (true, 0) => sql.push(" WHERE seq > 0"),
                (true, before) => sql.push(" WHERE seq < ").push_bind(before),
                (false, after) => sql.push(" WHERE seq > ").push_bind(after),
            };
            let text = |value: Option<String>, column: &str, sql: &mut QueryBuilder<Sqlite>| {
                if let Some(value) = value {
                    sql.push(" AND ").push(column).push(" = ").push_bind(value);
                }
            };
            text(query.run.map(|run| run.to_string()), "run", &mut sql);
            text(query.request.map(|request| request.to_string()), "request", &mut sql);
            text(query.approval.map(|approval| approval.to_string()), "approval", &mut sql);
            text(query.principal, "principal", &mut sql);
            text(query.phase.map(|phase| phase.as_str().to_owned()), "phase", &mut sql);
            sql.push(if query.newest_first { " ORDER BY seq DESC LIMIT " } else { " ORDER BY seq LIMIT " });
            sql.push_bind(i64::from(query.limit));
            let found = sql.build().fetch_all(self.readers()).await.map_err(read)?;
            found.iter().map(|row| rows::leaf(row).map_err(AuditError::from)).collect()
        }
        .boxed()
    }

    fn head(&self) -> BoxFuture<'_, Result<Head, AuditError>> {
        async move {
            let mut conn = self.readers().acquire().await.map_err(read)?;
            Ok(rows::head(&mut conn).await?)
        }
        .boxed()
    }

    fn open_intents(&self, limit: u32) -> BoxFuture<'_, Result<Vec<Leaf>, AuditError>> {
        async move {
            let sql = "SELECT seq, prev, hash, record, body, frames FROM leaf
                       WHERE seq IN (SELECT seq FROM open_intent) ORDER BY seq LIMIT ?1";
            let found =
                sqlx::query(sql).bind(i64::from(limit)).fetch_all(self.readers()).await.map_err(read)?;
            found.iter().map(|row| rows::leaf(row).map_err(AuditError::from)).collect()
        }
        .boxed()
    }
}

fn read(error: sqlx::Error) -> AuditError {
    tracing::error!(%error, "the record could not be read");
    Fault::from(error).into()
}

struct Reserved {
    store: SqliteStore,
    seat: OwnedSemaphorePermit,
}

impl Seat for Reserved {
    fn submit(self: Box<Self>, entry: Entry) -> BoxFuture<'static, Result<Receipt, AuditError>> {
        let Self { store, seat } = *self;
        store.put(seat, entry)
    }
}

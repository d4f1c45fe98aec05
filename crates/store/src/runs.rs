//! The ledger's port.

use crewgate_core::{IdKind, RunId, TaskId, Timestamp};
use crewgate_runs::{LedgerError, NewRun, OwnedId, PendingTask, RegisterError, RunFilter, RunLedger};
use futures_util::future::{BoxFuture, FutureExt};
use uuid::Uuid;

use crate::{
    Store,
    db::{self, Conn, Sql},
    fault::{Fault, FromFault},
    rows,
};

const OWN: &str = "SELECT own, kind, crew, owner_issuer, owner_subject, run, upstream, at FROM own_id";

impl RunLedger for Store {
    fn reserve(&self, new: NewRun) -> BoxFuture<'_, Result<RunId, LedgerError>> {
        self.change(move |tx| {
            async move {
                let id = fresh(new, None);
                insert(&mut tx.conn, &id).await?;
                Ok(id.run)
            }
            .boxed()
        })
    }

    fn start(&self, new: NewRun, upstream: String) -> BoxFuture<'_, Result<OwnedId, LedgerError>> {
        self.change(move |tx| {
            async move {
                if let Some(known) = run_of(&mut tx.conn, &new.crew, &upstream).await? {
                    return Ok(known);
                }
                let id = fresh(new, Some(upstream));
                insert(&mut tx.conn, &id).await?;
                Ok(id)
            }
            .boxed()
        })
    }

    fn bind(&self, run: RunId, upstream: String) -> BoxFuture<'_, Result<OwnedId, RegisterError>> {
        self.change(move |tx| {
            async move {
                let conn = &mut tx.conn;
                let mut row = first(conn, run).await?.ok_or(RegisterError::NoRun)?;
                match &row.upstream {
                    Some(bound) if *bound == upstream => return Ok(row),
                    Some(_) => return Err(RegisterError::Bound),
                    None => {}
                }
                if run_of(conn, &row.crew, &upstream).await?.is_some() {
                    return Err(RegisterError::Taken);
                }
                let sql = "UPDATE own_id SET upstream = $1 WHERE own = $2 AND upstream IS NULL";
                let query = db::query(sql).bind(upstream.as_str()).bind(row.own.to_string());
                query.execute(conn).await.map_err(fault)?;
                row.upstream = Some(upstream);
                Ok(row)
            }
            .boxed()
        })
    }

    fn register(
        &self,
        run: RunId,
        ids: Vec<(IdKind, String)>,
        at: Timestamp,
    ) -> BoxFuture<'_, Result<Vec<OwnedId>, RegisterError>> {
        self.change(move |tx| {
            async move {
                let conn = &mut tx.conn;
                let parent = first(conn, run).await?.ok_or(RegisterError::NoRun)?;
                let mut owned = Vec::with_capacity(ids.len());
                for (kind, upstream) in ids {
                    let known = match kind {
                        IdKind::Run => run_of(conn, &parent.crew, &upstream).await?,
                        kind => part_of(conn, run, kind, &upstream).await?,
                    };
                    owned.push(match known {
                        Some(known) => known,
                        None => {
                            let upstream = Some(upstream);
                            let id = OwnedId { own: Uuid::new_v4(), kind, upstream, at, ..parent.clone() };
                            insert(conn, &id).await?;
                            id
                        }
                    });
                }
                Ok(owned)
            }
            .boxed()
        })
    }

    fn find(&self, own: Uuid) -> BoxFuture<'_, Result<Option<OwnedId>, LedgerError>> {
        async move {
            let mut sql = db::query(OWN);
            sql.push(" WHERE own = ").push_bind(own.to_string());
            let row = sql.fetch_optional(self.readers()).await.map_err(Fault::from)?;
            Ok(row.as_ref().map(rows::to_owned_id).transpose()?)
        }
        .boxed()
    }

    fn find_upstream<'a>(
        &'a self,
        crew: &'a str,
        mut upstream: Vec<String>,
    ) -> BoxFuture<'a, Result<Vec<OwnedId>, LedgerError>> {
        async move {
            upstream.sort_unstable();
            upstream.dedup();
            let mut found = Vec::new();
            // SQLite binds at most 32,766 values, PostgreSQL 65,535.
            for some in upstream.chunks(10_000) {
                let mut sql = db::query(OWN);
                sql.push(" WHERE crew = ").push_bind(crew).push(" AND upstream IN ");
                sql.push_list(some);
                let rows = sql.fetch_all(self.readers()).await.map_err(Fault::from)?;
                for row in &rows {
                    found.push(rows::to_owned_id(row)?);
                }
            }
            Ok(found)
        }
        .boxed()
    }

    fn list(&self, filter: RunFilter) -> BoxFuture<'_, Result<Vec<OwnedId>, LedgerError>> {
        async move {
            let mut sql = db::query(OWN);
            sql.push(" WHERE kind = 'run' AND own = run");
            if let Some(crew) = &filter.crew {
                sql.push(" AND crew = ").push_bind(crew.as_str());
            }
            if let Some(owner) = &filter.owner {
                sql.push(" AND owner_issuer = ").push_bind(owner.issuer.as_str());
                sql.push(" AND owner_subject = ").push_bind(owner.subject.as_str());
            }
            if let Some(before) = filter.before {
                sql.push(" AND at < ").push_bind(before.as_micros());
            }
            sql.push(" ORDER BY at DESC, own DESC LIMIT ");
            sql.push_bind(i64::try_from(filter.limit.get()).unwrap_or(i64::MAX));
            let rows = sql.fetch_all(self.readers()).await.map_err(Fault::from)?;
            Ok(rows.iter().map(rows::to_owned_id).collect::<Result<_, _>>()?)
        }
        .boxed()
    }

    fn task_waiting(
        &self,
        run: RunId,
        execution: RunId,
        task: TaskId,
    ) -> BoxFuture<'_, Result<PendingTask, RegisterError>> {
        self.change(move |tx| {
            async move {
                first(&mut tx.conn, run).await?.ok_or(RegisterError::NoRun)?;
                let sql = "INSERT INTO task_wait (run, turn, execution, task) VALUES ($1, 1, $2, $3)
                           ON CONFLICT (run) DO UPDATE
                           SET turn = task_wait.turn + 1, execution = excluded.execution, task = excluded.task
                           RETURNING turn";
                let query =
                    db::query(sql).bind(run.to_string()).bind(execution.to_string()).bind(task.to_string());
                let turn: i64 = query.scalar(&mut tx.conn).await.map_err(fault)?;
                let turn = rows::unsigned(turn).map_err(RegisterError::from_fault)?;
                Ok(PendingTask { execution, task, turn })
            }
            .boxed()
        })
    }

    fn task_of(&self, run: RunId) -> BoxFuture<'_, Result<Option<PendingTask>, LedgerError>> {
        async move {
            let sql = "SELECT turn, execution, task FROM task_wait WHERE run = $1 AND task IS NOT NULL";
            let row = db::query(sql).bind(run.to_string()).fetch_optional(self.readers()).await;
            let Some(row) = row.map_err(Fault::from)? else { return Ok(None) };
            let text = |column| row.try_get::<&str>(column).map_err(Fault::from);
            let unreadable = || Fault::unreadable("task");
            Ok(Some(PendingTask {
                execution: text("execution")?.parse().map_err(|_| unreadable())?,
                task: text("task")?.parse().map_err(|_| unreadable())?,
                turn: rows::unsigned(row.try_get("turn").map_err(Fault::from)?)?,
            }))
        }
        .boxed()
    }

    fn task_answered(&self, run: RunId, answered: PendingTask) -> BoxFuture<'_, Result<bool, LedgerError>> {
        self.change(move |tx| {
            async move {
                let sql = "UPDATE task_wait SET task = NULL, execution = NULL
                           WHERE run = $1 AND turn = $2 AND execution = $3 AND task = $4";
                let query = db::query(sql)
                    .bind(run.to_string())
                    .bind(rows::signed(answered.turn)?)
                    .bind(answered.execution.to_string())
                    .bind(answered.task.to_string());
                let done = query.execute(&mut tx.conn).await.map_err(Fault::from)?;
                Ok(done == 1)
            }
            .boxed()
        })
    }
}

fn fault(error: sqlx::Error) -> RegisterError {
    RegisterError::from_fault(Fault::from(error))
}

fn fresh(new: NewRun, upstream: Option<String>) -> OwnedId {
    let run = RunId::random();
    let NewRun { crew, owner, at } = new;
    OwnedId { own: run.as_uuid(), kind: IdKind::Run, crew, owner, run, upstream, at }
}

async fn insert(conn: &mut Conn, id: &OwnedId) -> Result<(), LedgerError> {
    let sql = "INSERT INTO own_id (own, kind, crew, owner_issuer, owner_subject, run, upstream, at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let query = db::query(sql)
        .bind(id.own.to_string())
        .bind(rows::kind_text(id.kind)?)
        .bind(id.crew.as_str())
        .bind(id.owner.issuer.as_str())
        .bind(id.owner.subject.as_str())
        .bind(id.run.to_string())
        .bind(id.upstream.as_deref())
        .bind(id.at.as_micros());
    query.execute(conn).await.map_err(Fault::from)?;
    Ok(())
}

/// The run's first id.
async fn first(conn: &mut Conn, run: RunId) -> Result<Option<OwnedId>, LedgerError> {
    let mut sql = db::query(OWN);
    sql.push(" WHERE kind = 'run' AND own = run AND own = ").push_bind(run.to_string());
    optional(conn, sql).await
}

/// The own id of a crew's upstream run.
async fn run_of(conn: &mut Conn, crew: &str, upstream: &str) -> Result<Option<OwnedId>, LedgerError> {
    let mut sql = db::query(OWN);
    sql.push(" WHERE kind = 'run' AND crew = ").push_bind(crew);
    sql.push(" AND upstream = ").push_bind(upstream);
    optional(conn, sql).await
}

/// The own id of a part of a run.
async fn part_of(
    conn: &mut Conn,
    run: RunId,
    kind: IdKind,
    upstream: &str,
) -> Result<Option<OwnedId>, LedgerError> {
    let mut sql = db::query(OWN);
    sql.push(" WHERE kind <> 'run' AND run = ").push_bind(run.to_string());
    sql.push(" AND kind = ").push_bind(rows::kind_text(kind)?);
    sql.push(" AND upstream = ").push_bind(upstream);
    optional(conn, sql).await
}

async fn optional(conn: &mut Conn, sql: Sql) -> Result<Option<OwnedId>, LedgerError> {
    let row = sql.fetch_optional(conn).await.map_err(Fault::from)?;
    Ok(row.as_ref().map(rows::to_owned_id).transpose()?)
}

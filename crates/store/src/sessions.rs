//! The port of people's sessions in browsers.

use crewgate_audit::{Entry, Phase};
use crewgate_core::{Fact, RequestId, Timestamp};
use crewgate_oidc::{
    MAX_SESSIONS, MAX_SESSIONS_EACH, NewSession, SESSION_IDLE, SESSION_LIFE, SESSION_TOUCH, Session,
    SessionKey, SessionStore, SessionsOf, StoreError,
};
use futures_util::future::{BoxFuture, FutureExt};

use crate::{
    Store,
    db::{self, Row},
    fault::Fault,
    rows,
    tx::Tx,
};

impl SessionStore for Store {
    fn begin(&self, new: NewSession) -> BoxFuture<'_, Result<(), StoreError>> {
        self.change(move |tx| async move { begin(tx, new).await }.boxed())
    }

    fn resume(&self, key: SessionKey, now: Timestamp) -> BoxFuture<'_, Result<Option<Session>, StoreError>> {
        async move {
            let query = db::query("SELECT stands, seen FROM session WHERE key = $1").bind(key.as_bytes());
            let Some(row) = query.fetch_optional(self.readers()).await.map_err(Fault::from)? else {
                return Ok(None);
            };
            let session = stands(&row)?;
            let seen = Timestamp::from_micros(row.try_get("seen").map_err(Fault::from)?);
            if !session.lasts(seen, now) {
                return Ok(None);
            }
            if now.since(seen) < SESSION_TOUCH {
                return Ok(Some(session));
            }
            // It may have ended meanwhile: then this is not a use of it.
            let touched: bool = self
                .change(move |tx| {
                    async move {
                        let sql = "UPDATE session SET seen = CASE WHEN seen < $2 THEN $2 ELSE seen END WHERE key = $1";
                        let query = db::query(sql).bind(key.as_bytes()).bind(now.as_micros());
                        let done = query.execute(&mut tx.conn).await.map_err(Fault::from)?;
                        Ok::<_, StoreError>(done == 1)
                    }
                    .boxed()
                })
                .await?;
            Ok(touched.then_some(session))
        }
        .boxed()
    }

    fn end(&self, key: SessionKey, now: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.change(move |tx| {
            async move {
                sweep(tx, now).await?;
                let ended = end(tx, key).await?;
                tell(tx, ended.iter().map(Session::ends), now).await?;
                Ok(ended.is_some())
            }
            .boxed()
        })
    }

    fn end_all(&self, which: SessionsOf, now: Timestamp) -> BoxFuture<'_, Result<usize, StoreError>> {
        self.change(move |tx| {
            async move {
                sweep(tx, now).await?;
                let sql = "DELETE FROM session WHERE issuer = $1 AND subject = coalesce($2, subject)
                           AND ($3 IS NULL OR sid = $3) RETURNING stands";
                let (issuer, subject, sid) = match which {
                    SessionsOf::Subject { issuer, subject } => (issuer, Some(subject), None),
                    SessionsOf::Sid { issuer, sid, subject } => (issuer, subject, Some(sid)),
                };
                let query = db::query(sql).bind(issuer).bind(subject).bind(sid);
                let rows = query.fetch_all(&mut tx.conn).await.map_err(Fault::from)?;
                let ended = rows.iter().map(stands).collect::<Result<Vec<_>, _>>()?;
                tell(tx, ended.iter().map(Session::ends), now).await?;
                Ok(ended.len())
            }
            .boxed()
        })
    }
}

async fn begin(tx: &mut Tx, new: NewSession) -> Result<(), StoreError> {
    let now = new.session.begun;
    sweep(tx, now).await?;
    let mut ended = Vec::new();
    if let Some(over) = new.over {
        ended.extend(end(tx, over).await?);
    }
    let sql = "DELETE FROM session WHERE key IN (SELECT key FROM session WHERE issuer = $1 AND subject = $2
               ORDER BY begun DESC, key DESC LIMIT $4 OFFSET $3) RETURNING stands";
    let query = db::query(sql).bind(&new.session.principal.key.issuer).bind(&new.session.sub);
    let query = query.bind(i64::try_from(MAX_SESSIONS_EACH - 1).unwrap_or(i64::MAX)).bind(i64::MAX);
    for row in &query.fetch_all(&mut tx.conn).await.map_err(Fault::from)? {
        ended.push(stands(row)?);
    }
    let sql = "INSERT INTO session (key, issuer, subject, sid, begun, seen, stands)
               SELECT $1, $2, $3, $4, $5, $5, $6 WHERE (SELECT count(*) FROM session) < $7";
    let query = db::query(sql)
        .bind(new.key.as_bytes())
        .bind(&new.session.principal.key.issuer)
        .bind(&new.session.sub)
        .bind(new.session.sid.as_deref())
        .bind(now.as_micros())
        .bind(rows::json(&new.session)?)
        .bind(i64::try_from(MAX_SESSIONS).unwrap_or(i64::MAX));
    if query.execute(&mut tx.conn).await.map_err(Fault::from)? == 0 {
        return Err(StoreError::Unavailable("there are as many sessions as can be".to_owned()));
    }
    Ok(tell(tx, ended.iter().map(Session::ends).chain([new.session.begins()]), now).await?)
}

/// Forgets those that time has ended.
async fn sweep(tx: &mut Tx, now: Timestamp) -> Result<(), Fault> {
    let sql = "DELETE FROM session WHERE seen <= $1 OR begun <= $2";
    let query = db::query(sql).bind(now.saturating_sub(SESSION_IDLE).as_micros());
    query.bind(now.saturating_sub(SESSION_LIFE).as_micros()).execute(&mut tx.conn).await?;
    Ok(())
}

async fn end(tx: &mut Tx, key: SessionKey) -> Result<Option<Session>, Fault> {
    let query = db::query("DELETE FROM session WHERE key = $1 RETURNING stands").bind(key.as_bytes());
    query.fetch_optional(&mut tx.conn).await?.as_ref().map(stands).transpose()
}

async fn tell(tx: &mut Tx, facts: impl Iterator<Item = Fact>, at: Timestamp) -> Result<(), Fault> {
    for fact in facts {
        tx.tell_entry(Entry::new(Phase::Control, RequestId::random(), at).with_fact(fact)).await?;
    }
    Ok(())
}

fn stands(row: &Row) -> Result<Session, Fault> {
    rows::parse(row.try_get("stands")?, "session")
}

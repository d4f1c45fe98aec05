//! The port of what keeps how far exports have come.

use crewgate_audit::{AuditError, Cursors, EXPORT_TURN};
use crewgate_core::Timestamp;
use futures_util::future::{BoxFuture, FutureExt};

use crate::{Store, db, fault::Fault, rows};

impl Cursors for Store {
    fn exported<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<u64, AuditError>> {
        async move {
            let query = db::query("SELECT next FROM export_cursor WHERE name = $1").bind(name);
            let next: Option<i64> = query.scalar_optional(self.readers()).await.map_err(Fault::from)?;
            Ok(next.map(rows::unsigned).transpose()?.unwrap_or_default())
        }
        .boxed()
    }

    fn acknowledge<'a>(&'a self, name: &'a str, next: u64) -> BoxFuture<'a, Result<(), AuditError>> {
        let name = name.to_owned();
        self.change(move |tx| {
            async move {
                let sql = "INSERT INTO export_cursor (name, next) VALUES ($1, $2)
                           ON CONFLICT (name) DO UPDATE SET next = excluded.next
                           WHERE export_cursor.next < excluded.next";
                let query = db::query(sql).bind(name).bind(rows::signed(next)?);
                query.execute(&mut tx.conn).await.map_err(Fault::from)?;
                Ok(())
            }
            .boxed()
        })
    }

    fn leads<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<bool, AuditError>> {
        async move {
            let (me, now) = (self.shared().me.to_string(), self.shared().clock.now());
            let sql = "SELECT holder, until FROM export_turn WHERE name = $1";
            let row = db::query(sql).bind(name).fetch_optional(self.readers()).await.map_err(Fault::from)?;
            if let Some(row) = row {
                let holder: &str = row.try_get("holder").map_err(Fault::from)?;
                let until = Timestamp::from_micros(row.try_get("until").map_err(Fault::from)?);
                if holder == me && until.since(now) > EXPORT_TURN / 2 {
                    return Ok(true);
                }
                // Of a file there is one writer: who held it before has ended.
                if holder != me && until > now && !self.is_file() {
                    return Ok(false);
                }
            }
            let (name, alone) = (name.to_owned(), self.is_file());
            self.change(move |tx| {
                async move {
                    let sql = "INSERT INTO export_turn (name, holder, until) VALUES ($1, $2, $3)
                               ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
                               WHERE export_turn.holder = excluded.holder OR export_turn.until <= $4";
                    let end = if alone { i64::MAX } else { now.as_micros() };
                    let query = db::query(sql).bind(name).bind(me).bind(now.saturating_add(EXPORT_TURN).as_micros());
                    let done = query.bind(end).execute(&mut tx.conn).await.map_err(Fault::from)?;
                    Ok(done == 1)
                }
                .boxed()
            })
            .await
        }
        .boxed()
    }
}

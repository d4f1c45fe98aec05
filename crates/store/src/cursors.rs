//! The port of what keeps how far exports have come.

use crewgate_audit::{AuditError, Cursors};
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
}

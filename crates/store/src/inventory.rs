//! The port of the tokens that were seen.

use crewgate_core::Timestamp;
use crewgate_oidc::{MAX_SEEN, SeenTokens, StoreError, TokenInventory};
use futures_util::future::{BoxFuture, FutureExt};

use crate::{
    Store,
    db::{self, Row},
    fault::Fault,
    rows,
};

impl TokenInventory for Store {
    fn note(&self, seen: Vec<SeenTokens>) -> BoxFuture<'_, Result<(), StoreError>> {
        if seen.is_empty() {
            return Box::pin(std::future::ready(Ok(())));
        }
        self.change(move |tx| {
            async move {
                let sql = "INSERT INTO seen_token (issuer, subject, client, first, last, seen)
                           VALUES ($1, $2, $3, $4, $5, $6)
                           ON CONFLICT (issuer, subject, client) DO UPDATE
                           SET last = excluded.last, seen = excluded.seen";
                for row in seen {
                    let query = db::query(sql)
                        .bind(&row.issuer)
                        .bind(&row.subject)
                        .bind(row.client.as_deref().unwrap_or_default())
                        .bind(row.first.as_micros())
                        .bind(row.last.as_micros())
                        .bind(rows::json(&row)?);
                    query.execute(&mut tx.conn).await.map_err(Fault::from)?;
                }
                let sql = "DELETE FROM seen_token WHERE (issuer, subject, client) IN
                           (SELECT issuer, subject, client FROM seen_token
                            ORDER BY last DESC, issuer, subject, client LIMIT $1 OFFSET $2)";
                let query = db::query(sql).bind(i64::MAX).bind(i64::try_from(MAX_SEEN).unwrap_or(i64::MAX));
                query.execute(&mut tx.conn).await.map_err(Fault::from)?;
                Ok(())
            }
            .boxed()
        })
    }

    fn seen(&self, offset: u32, limit: u32) -> BoxFuture<'_, Result<Vec<SeenTokens>, StoreError>> {
        async move {
            let sql =
                "SELECT seen, first FROM seen_token ORDER BY issuer, subject, client LIMIT $1 OFFSET $2";
            let query = db::query(sql).bind(i64::from(limit)).bind(i64::from(offset));
            let found = query.fetch_all(self.readers()).await.map_err(Fault::from)?;
            Ok(found.iter().map(seen).collect::<Result<_, _>>()?)
        }
        .boxed()
    }
}

fn seen(row: &Row) -> Result<SeenTokens, Fault> {
    let seen: SeenTokens = rows::parse(row.try_get("seen")?, "token that was seen")?;
    Ok(SeenTokens { first: Timestamp::from_micros(row.try_get("first")?), ..seen })
}

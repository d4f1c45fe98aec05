//! The vault's port: what stands behind masks' tokens, sealed before it comes here.

use crewgate_core::Timestamp;
use crewgate_masking::{BoxFuture, Sealed, Vault, VaultError};
use futures_util::FutureExt;

use crate::{
    Store,
    db::{self, Row},
    fault::{Fault, FromFault},
};

impl FromFault for VaultError {
    fn from_fault(fault: Fault) -> Self {
        Self(fault.to_string())
    }
}

impl Vault for Store {
    fn keep(&self, issued: Vec<Sealed>) -> BoxFuture<'_, Result<(), VaultError>> {
        if issued.is_empty() {
            return Box::pin(std::future::ready(Ok(())));
        }
        self.change(move |tx| {
            async move {
                let sql = "INSERT INTO mask_token (scope, token, entity, key, sealed, expires)
                           VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
                for one in issued {
                    let query = db::query(sql)
                        .bind(one.scope)
                        .bind(one.token)
                        .bind(one.entity)
                        .bind(one.key)
                        .bind(one.sealed)
                        .bind(one.expires.as_micros());
                    query.execute(&mut tx.conn).await.map_err(fault)?;
                }
                Ok(())
            }
            .boxed()
        })
    }

    fn of<'a>(&'a self, scope: &'a str, now: Timestamp) -> BoxFuture<'a, Result<Vec<Sealed>, VaultError>> {
        async move {
            let sql = "SELECT scope, token, entity, key, sealed, expires FROM mask_token
                       WHERE scope = $1 AND expires > $2";
            let query = db::query(sql).bind(scope).bind(now.as_micros());
            let rows = query.fetch_all(self.readers()).await.map_err(fault)?;
            rows.iter().map(sealed).collect::<Result<_, _>>().map_err(fault)
        }
        .boxed()
    }

    fn adopt<'a>(&'a self, from: &'a str, to: &'a str) -> BoxFuture<'a, Result<(), VaultError>> {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.change(move |tx| {
            async move {
                // What both have stays where it was.
                let sql = "UPDATE mask_token SET scope = $2 WHERE scope = $1
                           AND token NOT IN (SELECT token FROM mask_token WHERE scope = $2)";
                let query = db::query(sql).bind(from).bind(to);
                query.execute(&mut tx.conn).await.map(|_| ()).map_err(fault)
            }
            .boxed()
        })
    }

    fn forget(&self, now: Timestamp) -> BoxFuture<'_, Result<u64, VaultError>> {
        self.change(move |tx| {
            async move {
                let query = db::query("DELETE FROM mask_token WHERE expires <= $1").bind(now.as_micros());
                query.execute(&mut tx.conn).await.map_err(fault)
            }
            .boxed()
        })
    }
}

fn sealed(row: &Row) -> Result<Sealed, sqlx::Error> {
    let expires = Timestamp::from_micros(row.try_get("expires")?);
    let (scope, token): (String, String) = (row.try_get("scope")?, row.try_get("token")?);
    let (entity, key): (String, String) = (row.try_get("entity")?, row.try_get("key")?);
    Ok(Sealed::new(scope, token, entity, key, row.try_get("sealed")?, expires))
}

fn fault(error: sqlx::Error) -> VaultError {
    VaultError::from_fault(Fault::from(error))
}

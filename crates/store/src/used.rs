//! The port of ids that count once.

use crewgate_core::Timestamp;
use crewgate_oidc::{MAX_USED, StoreError, UsedIds};
use futures_util::future::{BoxFuture, FutureExt};

use crate::{
    Store, db,
    fault::{Fault, FromFault},
};

/// Ids of anybody that are swept with each one that is used: more than it adds, so that what is over does not pile up.
const SWEPT: i64 = 32;

impl FromFault for StoreError {
    fn from_fault(fault: Fault) -> Self {
        fault.into()
    }
}

impl UsedIds for Store {
    fn is_used<'a>(&'a self, owner: &'a str, id: &'a str) -> BoxFuture<'a, Result<bool, StoreError>> {
        async move {
            let query = db::query("SELECT EXISTS (SELECT 1 FROM used_id WHERE owner = $1 AND id = $2)");
            Ok(query.bind(owner).bind(id).scalar(self.readers()).await.map_err(Fault::from)?)
        }
        .boxed()
    }

    fn spend<'a>(
        &'a self,
        owner: &'a str,
        id: &'a str,
        until: Timestamp,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        let (owner, id) = (owner.to_owned(), id.to_owned());
        self.change(move |tx| {
            async move {
                let sql = "DELETE FROM used_id WHERE (owner, id) IN (SELECT owner, id FROM used_id WHERE ends <= $1 LIMIT $2)";
                let sweep = db::query(sql).bind(now.as_micros()).bind(SWEPT);
                sweep.execute(&mut tx.conn).await.map_err(Fault::from)?;
                let sql = "INSERT INTO used_id (owner, id, ends)
                           SELECT $1, $2, $3 WHERE (SELECT count(*) FROM used_id) < $4 ON CONFLICT DO NOTHING";
                let query = db::query(sql).bind(&owner).bind(&id).bind(until.as_micros());
                let query = query.bind(i64::try_from(MAX_USED).unwrap_or(i64::MAX));
                if query.execute(&mut tx.conn).await.map_err(Fault::from)? == 1 {
                    return Ok(true);
                }
                let query = db::query("SELECT EXISTS (SELECT 1 FROM used_id WHERE owner = $1 AND id = $2)");
                let used: bool =
                    query.bind(owner).bind(id).scalar(&mut tx.conn).await.map_err(Fault::from)?;
                if used {
                    Ok(false)
                } else {
                    Err(StoreError::Unavailable("as many ids as can be are remembered".to_owned()))
                }
            }
            .boxed()
        })
    }
}

//! The port of callers' own names for their calls, and how such a name is taken and given back.

use crewgate_approval::{KeptKey, KeyStore, StoreError};
use crewgate_core::{ApprovalId, Keyed, RequestId, Timestamp};
use futures_util::future::{BoxFuture, FutureExt};

use crate::{
    Store,
    db::{self, Row},
    fault::Fault,
    tx::Tx,
};

/// Names of anybody that are swept with each one that is taken: more than it adds, so that what is over does not pile
/// up.
const SWEPT: i64 = 32;

impl KeyStore for Store {
    fn kept<'a>(
        &'a self,
        key: &'a str,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Option<KeptKey>, StoreError>> {
        async move {
            let sql = "SELECT fingerprint, request, approval FROM call_key WHERE key = $1 AND ends > $2";
            let query = db::query(sql).bind(key).bind(now.as_micros());
            let row = query.fetch_optional(self.readers()).await.map_err(Fault::from)?;
            Ok(row.as_ref().map(kept).transpose()?)
        }
        .boxed()
    }
}

fn kept(row: &Row) -> Result<KeptKey, Fault> {
    let (request, approval): (&str, Option<&str>) = (row.try_get("request")?, row.try_get("approval")?);
    let approval = approval.map(|id| id.parse().map_err(|_| Fault::unreadable("approval")));
    Ok(KeptKey {
        fingerprint: row.try_get("fingerprint")?,
        request: request.parse().map_err(|_| Fault::unreadable("request"))?,
        approval: approval.transpose()?,
    })
}

impl Tx {
    /// Takes a name for a request. `false`: it stands for another one.
    pub(crate) async fn take_key(
        &mut self,
        keyed: &Keyed,
        request: RequestId,
        approval: Option<ApprovalId>,
        now: Timestamp,
    ) -> Result<bool, Fault> {
        let sql = "DELETE FROM call_key WHERE key = $2 AND ends <= $1 OR key IN
                   (SELECT key FROM call_key WHERE ends <= $1 LIMIT $3)";
        let sweep = db::query(sql).bind(now.as_micros()).bind(&keyed.key).bind(SWEPT);
        sweep.execute(&mut self.conn).await?;
        let sql = "INSERT INTO call_key (key, fingerprint, request, approval, ends)
                   VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
        let query = db::query(sql)
            .bind(&keyed.key)
            .bind(&keyed.fingerprint)
            .bind(request.to_string())
            .bind(approval.map(|approval| approval.to_string()))
            .bind(keyed.until.as_micros());
        Ok(query.execute(&mut self.conn).await? == 1)
    }

    /// Gives back the name of a request that certainly did not leave.
    pub(crate) async fn give_back_key(&mut self, request: RequestId) -> Result<(), Fault> {
        let query = db::query("DELETE FROM call_key WHERE request = $1").bind(request.to_string());
        query.execute(&mut self.conn).await?;
        Ok(())
    }
}

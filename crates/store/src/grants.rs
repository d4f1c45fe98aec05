//! The grants' port: the pure functions, applied to a row inside the writer's transaction.

use crewgate_approval::{
    GiveError, Grant, GrantFilter, GrantStore, NewGrant, Revocation, RevokeError, SpendError, StoreError,
    grants,
};
use crewgate_core::{Effect, GrantId, PrincipalKey, RequestId, Timestamp};
use futures_util::future::{BoxFuture, FutureExt};

use crate::{
    Store,
    db::{self, Sql},
    fault::{Fault, FromFault},
    rows,
};

impl Store {
    async fn grants(&self, sql: Sql) -> Result<Vec<Grant>, StoreError> {
        let rows = sql.fetch_all(self.readers()).await.map_err(Fault::from)?;
        Ok(rows.iter().map(rows::to_grant).collect::<Result<_, _>>()?)
    }
}

impl GrantStore for Store {
    fn give(&self, new: NewGrant) -> BoxFuture<'_, Result<Grant, GiveError>> {
        self.change(move |tx| {
            async move {
                let beside = rows::standing_grants(&mut tx.conn, &new.principal, new.given).await;
                let next = grants::give(new, beside.map_err(GiveError::from_fault)?)?;
                if !tx.give(&next).await.map_err(GiveError::from_fault)? {
                    return Err(GiveError::Exists);
                }
                Ok(next.grant)
            }
            .boxed()
        })
    }

    fn revoke(&self, revocation: Revocation) -> BoxFuture<'_, Result<Grant, RevokeError>> {
        self.change(move |tx| {
            async move {
                let row =
                    rows::grant(&mut tx.conn, revocation.grant).await.map_err(RevokeError::from_fault)?;
                let next = grants::revoke(&row.ok_or(RevokeError::Unknown)?, &revocation)?;
                tx.step_grant(&next, None).await.map_err(RevokeError::from_fault)?;
                Ok(next.grant)
            }
            .boxed()
        })
    }

    fn spend(
        &self,
        id: GrantId,
        effect: Effect,
        request: RequestId,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<(), SpendError>> {
        self.change(move |tx| {
            async move {
                let row = rows::grant(&mut tx.conn, id).await.map_err(SpendError::from_fault)?;
                if let Some(next) = grants::spend(&row.ok_or(SpendError::Unknown)?, effect, request, now)? {
                    tx.step_grant(&next, None).await.map_err(SpendError::from_fault)?;
                }
                Ok(())
            }
            .boxed()
        })
    }

    fn of<'a>(
        &'a self,
        principal: &'a PrincipalKey,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Vec<Grant>, StoreError>> {
        let mut sql = db::query(rows::GRANT);
        sql.push(" WHERE issuer = ").push_bind(principal.issuer.as_str());
        sql.push(" AND subject = ").push_bind(principal.subject.as_str());
        sql.push(" AND ends > ").push_bind(now.as_micros());
        sql.push(" AND begins <= ").push_bind(now.as_micros());
        sql.push(" AND revoked IS NULL ORDER BY ends, id");
        self.grants(sql).boxed()
    }

    fn find(&self, id: GrantId) -> BoxFuture<'_, Result<Option<Grant>, StoreError>> {
        async move {
            let mut sql = db::query(rows::GRANT);
            sql.push(" WHERE id = ").push_bind(id.to_string());
            Ok(self.grants(sql).await?.pop())
        }
        .boxed()
    }

    fn list(&self, filter: GrantFilter) -> BoxFuture<'_, Result<Vec<Grant>, StoreError>> {
        let mut sql = db::query(rows::GRANT);
        sql.push(" WHERE ends > ");
        sql.push_bind(if filter.over { i64::MIN } else { filter.now.as_micros() });
        if !filter.over {
            sql.push(" AND revoked IS NULL");
        }
        if let Some(principal) = &filter.principal {
            sql.push(" AND issuer = ").push_bind(principal.issuer.clone());
            sql.push(" AND subject = ").push_bind(principal.subject.clone());
        }
        if let Some(sets) = &filter.sets {
            sql.push(" AND id IN (SELECT grant_id FROM role_grant_set WHERE name IN ");
            sql.push_list(sets.iter().map(|set| set.as_str())).push(")");
        }
        sql.push(if filter.over { " ORDER BY ends DESC, id DESC" } else { " ORDER BY ends, id" });
        sql.push(" LIMIT ").push_bind(i64::try_from(filter.limit.get()).unwrap_or(i64::MAX));
        self.grants(sql).boxed()
    }
}

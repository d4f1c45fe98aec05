//! The delegations' port: the pure functions, applied to a row inside the writer's transaction.

use std::collections::BTreeSet;

use crewgate_approval::{
    Delegation, DelegationEnd, DelegationFilter, DelegationStore, EndError, LendError, NewDelegation,
    StoreError, delegations, delegations::DelegationMove,
};
use crewgate_audit::{Entry, Phase};
use crewgate_core::{ApproverSet, DelegationId, PrincipalKey, RequestId, Timestamp};
use futures_util::future::{BoxFuture, FutureExt};

use crate::{
    Store,
    db::{self, Row, Sql},
    fault::{Fault, FromFault},
    rows,
    tx::Tx,
};

impl Store {
    async fn delegations(&self, sql: Sql) -> Result<Vec<Delegation>, StoreError> {
        let rows = sql.fetch_all(self.readers()).await.map_err(Fault::from)?;
        Ok(rows.iter().map(delegation).collect::<Result<_, _>>()?)
    }
}

impl DelegationStore for Store {
    fn lend(
        &self,
        new: NewDelegation,
        own: BTreeSet<ApproverSet>,
    ) -> BoxFuture<'_, Result<Delegation, LendError>> {
        self.change(move |tx| {
            async move {
                let beside = standing(tx, &new.by.key, new.given).await.map_err(LendError::from_fault)?;
                let next = delegations::lend(new, &own, beside)?;
                if !insert(tx, &next.delegation).await.map_err(LendError::from_fault)? {
                    return Err(LendError::Exists);
                }
                tell(tx, &next).await.map_err(LendError::from_fault)?;
                Ok(next.delegation)
            }
            .boxed()
        })
    }

    fn end(
        &self,
        id: DelegationId,
        by: PrincipalKey,
        request: RequestId,
        at: Timestamp,
    ) -> BoxFuture<'_, Result<Delegation, EndError>> {
        self.change(move |tx| {
            async move {
                let row = find(tx, id).await.map_err(EndError::from_fault)?.ok_or(EndError::Unknown)?;
                let next = delegations::end(&row, &by, request, at)?;
                update(tx, &next.delegation).await.map_err(EndError::from_fault)?;
                tell(tx, &next).await.map_err(EndError::from_fault)?;
                Ok(next.delegation)
            }
            .boxed()
        })
    }

    fn to<'a>(
        &'a self,
        principal: &'a PrincipalKey,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Vec<Delegation>, StoreError>> {
        let mut sql = db::query(DELEGATION);
        sql.push(" WHERE to_issuer = ").push_bind(principal.issuer.as_str());
        sql.push(" AND to_subject = ").push_bind(principal.subject.as_str());
        sql.push(" AND ends > ").push_bind(now.as_micros());
        sql.push(" AND begins <= ").push_bind(now.as_micros());
        sql.push(" AND ended IS NULL ORDER BY ends, id");
        self.delegations(sql).boxed()
    }

    fn list(&self, filter: DelegationFilter) -> BoxFuture<'_, Result<Vec<Delegation>, StoreError>> {
        let mut sql = db::query(DELEGATION);
        sql.push(" WHERE ended IS NULL AND ends > ").push_bind(filter.now.as_micros());
        if let Some(of) = &filter.of {
            sql.push(" AND ((lender_issuer = ").push_bind(of.issuer.clone());
            sql.push(" AND lender_subject = ").push_bind(of.subject.clone());
            sql.push(") OR (to_issuer = ").push_bind(of.issuer.clone());
            sql.push(" AND to_subject = ").push_bind(of.subject.clone()).push("))");
        }
        sql.push(" ORDER BY ends, id LIMIT ");
        sql.push_bind(i64::try_from(filter.limit.get()).unwrap_or(i64::MAX));
        self.delegations(sql).boxed()
    }
}

const DELEGATION: &str = "SELECT given, ended FROM delegation";

fn delegation(row: &Row) -> Result<Delegation, Fault> {
    let (given, ended): (&str, Option<&str>) = (row.try_get("given")?, row.try_get("ended")?);
    Ok(Delegation {
        given: rows::parse::<NewDelegation>(given, "delegation")?,
        ended: ended.map(|text| rows::parse::<DelegationEnd>(text, "delegation's end")).transpose()?,
    })
}

async fn find(tx: &mut Tx, id: DelegationId) -> Result<Option<Delegation>, Fault> {
    let sql = "SELECT given, ended FROM delegation WHERE id = $1";
    let row = db::query(sql).bind(id.to_string()).fetch_optional(&mut tx.conn).await?;
    row.as_ref().map(delegation).transpose()
}

/// Delegations of a lender that are not over.
async fn standing(tx: &mut Tx, lender: &PrincipalKey, now: Timestamp) -> Result<usize, Fault> {
    let sql = "SELECT count(*) FROM delegation
               WHERE lender_issuer = $1 AND lender_subject = $2 AND ends > $3 AND ended IS NULL";
    let query =
        db::query(sql).bind(lender.issuer.as_str()).bind(lender.subject.as_str()).bind(now.as_micros());
    let count: i64 = query.scalar(&mut tx.conn).await?;
    usize::try_from(count).map_err(|_| Fault::unreadable("number"))
}

/// `false` when the id is taken.
async fn insert(tx: &mut Tx, new: &Delegation) -> Result<bool, Fault> {
    let sql = "INSERT INTO delegation
                   (id, lender_issuer, lender_subject, to_issuer, to_subject, begins, ends, given, ended)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, NULL) ON CONFLICT DO NOTHING";
    let done = db::query(sql)
        .bind(new.id().to_string())
        .bind(new.given.by.key.issuer.as_str())
        .bind(new.given.by.key.subject.as_str())
        .bind(new.given.to.issuer.as_str())
        .bind(new.given.to.subject.as_str())
        .bind(new.given.from.as_micros())
        .bind(new.given.until.as_micros())
        .bind(rows::json(&new.given)?)
        .execute(&mut tx.conn)
        .await?;
    Ok(done == 1)
}

async fn update(tx: &mut Tx, next: &Delegation) -> Result<(), Fault> {
    let ended = next.ended.as_ref().map(rows::json).transpose()?;
    let sql = "UPDATE delegation SET ended = $1 WHERE id = $2 AND ended IS NULL";
    let done = db::query(sql).bind(ended).bind(next.id().to_string()).execute(&mut tx.conn).await?;
    match done {
        1 => Ok(()),
        _ => Err(Fault::Unavailable("a delegation was changed from outside".to_owned())),
    }
}

async fn tell(tx: &mut Tx, next: &DelegationMove) -> Result<(), Fault> {
    let entry = Entry::new(Phase::Delegation, next.request, next.at).with_fact(next.fact.clone());
    tx.tell_entry(entry).await
}

//! The meter's port: rates that survive a restart.

use std::{collections::BTreeSet, time::Duration};

use crewgate_core::{PrincipalKey, RateDuty, Timestamp};
use crewgate_policy::{BoxFuture, Meter, TakeError};
use futures_util::FutureExt;

use crate::{
    Store, db,
    fault::{Fault, FromFault},
    tx::Tx,
};

/// Marks of anybody that are swept with each call: more than a call adds, so that what is over does not pile up.
const SWEPT: i64 = 32;

impl Meter for Store {
    fn take<'a>(
        &'a self,
        principal: &'a PrincipalKey,
        duties: &'a BTreeSet<RateDuty>,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<(), TakeError>> {
        if duties.is_empty() {
            return Box::pin(std::future::ready(Ok(())));
        }
        let (principal, duties) = (principal.clone(), duties.clone());
        self.change(move |tx| async move { take(tx, &principal, &duties, now).await }.boxed())
    }
}

/// Looks at every rate before it writes to any; the savepoint takes back what an error leaves.
async fn take(
    tx: &mut Tx,
    principal: &PrincipalKey,
    duties: &BTreeSet<RateDuty>,
    now: Timestamp,
) -> Result<(), TakeError> {
    let mut longest: Option<TakeError> = None;
    for duty in duties {
        let Some(free) = free(tx, principal, duty, now).await.map_err(fault)? else { continue };
        let wait = free.since(now).max(Duration::from_micros(1));
        let longer = match &longest {
            Some(TakeError::Exhausted { retry_after, .. }) => wait > *retry_after,
            _ => true,
        };
        if longer {
            longest = Some(TakeError::Exhausted { rule: duty.rule.clone(), retry_after: wait });
        }
    }
    if let Some(exhausted) = longest {
        return Err(exhausted);
    }
    for duty in duties {
        let sql = "INSERT INTO rate_mark (issuer, subject, rule, at, ends) VALUES ($1, $2, $3, $4, $5)";
        let query = db::query(sql)
            .bind(principal.issuer.as_str())
            .bind(principal.subject.as_str())
            .bind(duty.rule.as_str())
            .bind(now.as_micros())
            .bind(now.saturating_add(duty.rate.period).as_micros());
        query.execute(&mut tx.conn).await.map_err(fault)?;
    }
    let sql = "DELETE FROM rate_mark WHERE mark IN (SELECT mark FROM rate_mark WHERE ends <= $1 LIMIT $2)";
    db::query(sql).bind(now.as_micros()).bind(SWEPT).execute(&mut tx.conn).await.map_err(fault)?;
    Ok(())
}

/// When the rate has room again; `None` when it has room now. Marks later than now count too: a clock that goes back
/// gives nothing away.
async fn free(
    tx: &mut Tx,
    principal: &PrincipalKey,
    duty: &RateDuty,
    now: Timestamp,
) -> Result<Option<Timestamp>, sqlx::Error> {
    // The call that must end first is the one as many before the newest as the rate has calls.
    let sql = "SELECT at FROM rate_mark WHERE issuer = $1 AND subject = $2 AND rule = $3 AND at > $4
               ORDER BY at DESC LIMIT 1 OFFSET $5";
    let query = db::query(sql)
        .bind(principal.issuer.as_str())
        .bind(principal.subject.as_str())
        .bind(duty.rule.as_str())
        .bind(now.saturating_sub(duty.rate.period).as_micros())
        .bind(i64::from(duty.rate.calls.get()) - 1);
    let at: Option<i64> = query.scalar_optional(&mut tx.conn).await?;
    Ok(at.map(|at| Timestamp::from_micros(at).saturating_add(duty.rate.period)))
}

fn fault(error: sqlx::Error) -> TakeError {
    TakeError::from_fault(Fault::from(error))
}

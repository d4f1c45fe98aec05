use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crewgate_core::{
    ApprovalId, ApproverSet, Basis, Duties, Keyed, Layer as By, Operation, Outgoing, Principal, Refusal,
    RequestId, Trail,
};
use http::{HeaderValue, Response, StatusCode, header};
use tokio::time::{Instant, timeout_at};

use crate::{
    Approval, Need, NewApproval, OpenError, PREFERENCE_APPLIED, ReleaseMode, State, StoreError, Wait, digest,
    layer::Config, machine, release::unavailable, seats::Seat, service::conflict,
};

/// When a caller without a ticket should look again.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(15);

/// Everything about a request that needs people.
pub(crate) struct Ask {
    pub(crate) trail: Option<Trail>,
    pub(crate) request: RequestId,
    pub(crate) sets: BTreeSet<ApproverSet>,
    pub(crate) duties: Duties,
    pub(crate) basis: Basis,
    pub(crate) principal: Principal,
    pub(crate) operation: Operation,
    pub(crate) outgoing: Outgoing,
    pub(crate) wait: Wait,
    pub(crate) keyed: Option<Keyed>,
    /// What the caller is told of its preferences.
    pub(crate) applied: Option<HeaderValue>,
}

/// Asks people, and answers the caller as it waits.
pub(crate) async fn ask<B: Default + Send + 'static>(config: Arc<Config<B>>, asked: Ask) -> Response<B> {
    let applied = asked.applied.clone();
    let mut answer = match opened(&config, asked).await {
        Ok((approval, Some((seat, hold)))) => {
            let who = approval.asked.requester.clone();
            let answer = held(&config, approval, &who, hold).await;
            drop(seat);
            answer
        }
        Ok((approval, None)) => later(&config, &approval, &State::Pending),
        Err(refusal) => refusal.into_response(),
    };
    if let Some(applied) = applied {
        answer.headers_mut().insert(PREFERENCE_APPLIED, applied);
    }
    answer
}

/// Reserves first, asks then: who is refused here has not bothered anybody.
async fn opened<B: 'static>(
    config: &Config<B>,
    asked: Ask,
) -> Result<(Approval, Option<(Seat, Duration)>), Refusal> {
    let Ask { trail, request, sets, duties, basis, principal, operation, outgoing, wait, keyed, .. } = asked;
    let waiting = config.store.waiting(&principal.key, config.clock.now()).await;
    if waiting.map_err(|error| unavailable(&error))? >= config.waiting_each.get() {
        return Err(beset());
    }
    let tickets = config.tickets.as_ref().filter(|tickets| tickets.offers(&operation));
    let seat = match wait {
        Wait::Hold(hold) if !hold.is_zero() => match config.seats.take(&principal.key) {
            Some(seat) => Some((seat, hold)),
            None if tickets.is_some() => None,
            None => return Err(crowded()),
        },
        Wait::Hold(_) | Wait::Ticket => None,
    };
    let run = match tickets {
        Some(tickets) => Some(tickets.reserve(&principal, &operation).await?),
        None => None,
    };
    let (now, upstream) = (config.clock.now(), (config.upstream)(&operation));
    let new = NewApproval {
        id: ApprovalId::random(),
        request,
        run,
        digest: digest(&outgoing, &principal, &operation, &upstream),
        // Without a ticket nobody could ever read the answer to a call the gateway starts by itself.
        release: if run.is_some() { (config.release_mode)(&operation) } else { ReleaseMode::Claim },
        requester: principal,
        operation,
        outgoing,
        upstream,
        needs: sets
            .into_iter()
            .map(|set| Need { count: (config.need)(&set), then: (config.escalation)(&set), set })
            .collect(),
        duties,
        basis,
        opened: now,
        expires: now.saturating_add(config.undecided_for),
        usable_for: config.usable_for,
        keyed,
    };
    let approval = config.store.open(new).await.map_err(|error| match error {
        OpenError::Store(error) => unavailable(&error),
        OpenError::KeyTaken => conflict("idempotency_in_use", "another call under this key came first"),
        // Ids are random and the sets are a set: only "asks nobody" is left.
        OpenError::Invalid | OpenError::Exists => unavailable(&StoreError::Unavailable(error.to_string())),
    })?;
    if let Some(trail) = trail {
        trail.note(machine::requested(&approval));
    }
    Ok((approval, seat))
}

/// Waits for a change, as this caller. The hint wakes it, the row decides.
pub(crate) async fn held<B: Default + Send + 'static>(
    config: &Config<B>,
    mut approval: Approval,
    who: &Principal,
    hold: Duration,
) -> Response<B> {
    let id = approval.id();
    let deadline = Instant::now() + hold;
    // Listening starts before the first look, so that no ring falls in between.
    let mut ear = config.store.hint().listen_for(id);
    loop {
        match config.store.find(id).await {
            Ok(Some(row)) => approval = row,
            Ok(None) => {
                return conflict("approval_gone", "the approval is gone").with_approval(id).into_response();
            }
            // The caller waits anyway; the store may come back before the hold ends.
            Err(error) => tracing::warn!(%error, approval = %id, "a held request cannot see its approval"),
        }
        let state = approval.state_at(config.clock.now());
        match &state {
            State::Pending => (),
            // Somebody else starts it; who has a ticket reads the outcome there.
            State::Executing { .. } => {
                if let Some(answer) = ticket(config, &approval) {
                    return answer;
                }
            }
            State::Approved { .. } => match config.path.get() {
                None => return later(config, &approval, &state),
                Some(release) => {
                    if let Some(answer) = release(approval.clone(), who.clone()).await {
                        return answer;
                    }
                    // Not claimable after all: the next look says why.
                }
            },
            _ => return over(config, &approval, state).await,
        }
        let now = Instant::now();
        if now >= deadline {
            return later(config, &approval, &state);
        }
        tokio::select! {
            // Either outcome, a ring or the end of the pause, means: look again.
            _ = timeout_at(deadline.min(now + config.pause()), ear.heard()) => (),
            () = config.path.ended() => return later(config, &approval, &state),
        }
    }
}

pub(crate) fn ticket<B: 'static>(config: &Config<B>, approval: &Approval) -> Option<Response<B>> {
    let tickets = config.tickets.as_ref()?;
    approval.asked.run.map(|_| tickets.answer(approval))
}

/// The caller is let go; people go on.
fn later<B: Default + 'static>(config: &Config<B>, approval: &Approval, state: &State) -> Response<B> {
    if let Some(answer) = ticket(config, approval) {
        return answer;
    }
    let (code, detail) = match state {
        State::Pending => {
            let sets = approval.sets().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            ("approval_pending", format!("it waits for approval by {sets}; nothing was sent"))
        }
        _ => ("approval_starting", "it is approved and being started".to_owned()),
    };
    let mut answer = Refusal::new(By::Approval, StatusCode::ACCEPTED, code, detail)
        .with_approval(approval.id())
        .with_approvals(approval.sets())
        .with_retry_after(LOOK_AGAIN_AFTER)
        .into_response();
    let headers: &mut http::HeaderMap = answer.headers_mut();
    headers.insert(header::RETRY_AFTER, HeaderValue::from(LOOK_AGAIN_AFTER.as_secs()));
    if let Ok(location) = HeaderValue::try_from((config.location)(&approval.id())) {
        headers.insert(header::LOCATION, location);
    }
    answer
}

/// It can no longer be started by this caller.
async fn over<B: Default + 'static>(config: &Config<B>, row: &Approval, state: State) -> Response<B> {
    let forbidden = |code, detail: String| Refusal::new(By::Approval, StatusCode::FORBIDDEN, code, detail);
    let shown = |words| (config.shown)(&row.asked.operation, words);
    let refusal = match state {
        // Somebody else has started it; who has a ticket reads the outcome there.
        State::Executing { .. } | State::Executed { .. } | State::Indeterminate => {
            if let Some(answer) = ticket(config, row) {
                return answer;
            }
            if state == State::Indeterminate {
                let text = "it was sent and the answer was lost; it is not sent again by itself";
                return conflict("approval_indeterminate", text).with_approval(row.id()).into_response();
            }
            if let (State::Executed { .. }, Some(outcome)) = (&state, &config.outcome)
                && let Some(answer) = outcome(row.clone()).await
            {
                return answer;
            }
            conflict("approval_spent", "the approved request was started elsewhere")
        }
        State::Denied { reason: Some(reason), .. } => {
            forbidden("approval_denied", format!("an approver said no: {}", shown(reason)))
        }
        State::Denied { reason: None, .. } => forbidden("approval_denied", "an approver said no".to_owned()),
        State::Cancelled { .. } => forbidden("approval_cancelled", "the request was taken back".to_owned()),
        State::Expired | State::Pending | State::Approved { .. } => {
            forbidden("approval_expired", "it was not decided and started in time".to_owned())
        }
        State::Invalidated { reason } => conflict("approval_invalidated", shown(reason)),
        State::Failed { reason } => conflict("approval_failed", shown(reason)),
    };
    refusal.with_approval(row.id()).into_response()
}

fn beset() -> Refusal {
    Refusal::new(
        By::Approval,
        StatusCode::TOO_MANY_REQUESTS,
        "approval_too_many_waiting",
        "too many of your requests wait for people already; nobody was asked",
    )
    .with_retry_after(LOOK_AGAIN_AFTER)
}

pub(crate) fn crowded() -> Refusal {
    Refusal::new(
        By::Approval,
        StatusCode::SERVICE_UNAVAILABLE,
        "approval_crowded",
        "too many requests are waiting for people; nobody was asked",
    )
    .with_retry_after(LOOK_AGAIN_AFTER)
}

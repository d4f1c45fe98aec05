use crewgate_core::{
    Approvals, Asked, Basis, Decision, Duties, Fact, InputValue, Layer, Operation, Principal, Refusal,
    RuleId, Timestamp, Trail,
};
use http::{Extensions, StatusCode};

use crate::{EnforceLayer, Policy, Query, TakeError};

/// The decision a request passes with, or the answer it gets instead.
pub(crate) async fn of<P: Policy + ?Sized>(
    setup: &EnforceLayer<P>,
    extensions: &Extensions,
) -> Result<Decision, Refusal> {
    let Some(principal) = extensions.get::<Principal>() else {
        return Err(missing("principal_missing", "Nobody said who calls."));
    };
    let Some(operation) = extensions.get::<Operation>() else {
        return Err(missing("operation_missing", "This request was never described."));
    };
    let trail = extensions.get::<Trail>();
    let now = setup.clock.now();
    let roles = match &setup.roles {
        Some(source) => source.roles(principal, Some(operation), now).await.map_err(|error| {
            tracing::error!(%error, principal = %principal.key, "roles cannot be looked up");
            unavailable("roles_unavailable", "Your roles cannot be looked up at the moment.")
        })?,
        None => Vec::new(),
    };
    let query = Query { principal, roles: &roles, operation, approvals: extensions.get::<Approvals>(), now };
    let decision = setup.policy.decide(&query);
    if let Some(shadow) = &setup.shadow {
        shadow.put(&query, trail.map(Trail::request), &decision);
    }
    if let Some(trail) = trail {
        if let Some(inputs) = &setup.recorded {
            trail.note(Fact::Asked(Box::new(asked(&query, inputs(operation)))));
        }
        trail.note(decided(&decision));
    }

    let hindrance = match &decision {
        Decision::Allow { duties, .. } => take(setup, principal, duties, now).await?,
        Decision::Ask { approvals, .. } => setup.observes(operation, now).then(|| {
            let sets: Vec<_> = approvals.iter().map(ToString::to_string).collect();
            Hindrance::Ask { reason: format!("needs the approval of {}", sets.join(", ")) }
        }),
        Decision::Refuse { rule, reason, hints, .. } => {
            let refusal = refused(rule.as_ref(), reason).with_hints(hints.clone());
            Some(Hindrance::Refuse(Box::new(refusal)))
        }
    };
    let Some(hindrance) = hindrance else { return Ok(decision) };
    if !setup.observes(operation, now) {
        return match hindrance {
            Hindrance::Refuse(refusal) => Err(*refusal),
            Hindrance::Ask { .. } => Ok(decision),
        };
    }
    if let Some(trail) = trail {
        let (reason, rule) = match hindrance {
            Hindrance::Refuse(refusal) => (refusal.detail, refusal.rule),
            Hindrance::Ask { reason } => (reason, None),
        };
        trail.note(Fact::Observed { reason, rule });
    }
    Ok(observed(decision))
}

/// What keeps a request from passing as it is.
enum Hindrance {
    Refuse(Box<Refusal>),
    Ask { reason: String },
}

impl<P: ?Sized> EnforceLayer<P> {
    fn observes(&self, operation: &Operation, now: Timestamp) -> bool {
        self.observe.as_ref().is_some_and(|when| when(operation, now))
    }
}

/// Takes the rates last, when everything else is settled: a request that does not pass uses nothing up.
async fn take<P: ?Sized>(
    setup: &EnforceLayer<P>,
    principal: &Principal,
    duties: &Duties,
    now: Timestamp,
) -> Result<Option<Hindrance>, Refusal> {
    if duties.rates.is_empty() {
        return Ok(None);
    }
    let Some(meter) = &setup.meter else {
        tracing::error!("a rule asks for a rate, and there is no meter");
        return Err(unavailable("meter_missing", "This call must be counted, and nothing here can count."));
    };
    match meter.take(&principal.key, &duties.rates, now).await {
        Ok(()) => Ok(None),
        Err(TakeError::Exhausted { rule, retry_after }) => {
            let rate = duties.rates.iter().find(|duty| duty.rule == rule).map(|duty| duty.rate.to_string());
            let detail = format!("No more than {} calls are allowed.", rate.unwrap_or_default());
            let refusal = Refusal::new(Layer::Policy, StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail)
                .with_rule(Some(rule))
                .with_retry_after(retry_after);
            Ok(Some(Hindrance::Refuse(Box::new(refusal))))
        }
        Err(error @ TakeError::Unavailable { .. }) => {
            tracing::error!(%error, principal = %principal.key, "a rate cannot be counted");
            Err(unavailable("meter_unavailable", "This call must be counted, which is not possible now."))
        }
    }
}

/// What an observed request passes with: the masks that are known. No approval was given and no rate was taken, so
/// none is claimed.
fn observed(decision: Decision) -> Decision {
    let (duties, basis): (Duties, Basis) = match decision {
        Decision::Allow { duties, basis } => (Duties { rates: Default::default(), ..duties }, basis),
        Decision::Ask { duties, basis, .. } => (Duties { masks: duties.masks, ..Duties::default() }, basis),
        Decision::Refuse { basis, .. } => (Duties::default(), basis),
    };
    Decision::Allow { duties, basis }
}

/// The question as it may stand on the record.
fn asked(query: &Query<'_>, inputs: Vec<(String, Option<InputValue>)>) -> Asked {
    let Query { principal, roles, operation, approvals, now } = query;
    Asked {
        at: *now,
        roles: roles.iter().map(|role| role.name.clone()).collect(),
        issued: principal.token.issued,
        mfa: principal.token.mfa,
        sender_constrained: principal.token.sender_constrained,
        parents: operation.resource.parents.clone(),
        inputs,
        prompts: operation.prompts.clone(),
        has_undeclared_inputs: operation.has_undeclared_inputs,
        body_bytes: operation.body_bytes,
        webhook_hosts: operation.webhook_hosts.clone(),
        owner: operation.owner.clone(),
        approved: approvals.map(|approvals| approvals.sets.clone()).unwrap_or_default(),
    }
}

fn decided(decision: &Decision) -> Fact {
    let reason = match decision {
        Decision::Allow { .. } | Decision::Ask { .. } => None,
        Decision::Refuse { reason, .. } => Some(reason.clone()),
    };
    Fact::Decided {
        outcome: decision.outcome().to_owned(),
        duties: decision.duties().cloned(),
        reason,
        basis: decision.basis().clone(),
    }
}

/// A rule that says no is named; that nothing says yes names nothing a stranger could learn from.
fn refused(rule: Option<&RuleId>, reason: &str) -> Refusal {
    let code = if rule.is_some() { "policy_refused" } else { "policy_denied" };
    Refusal::new(Layer::Policy, StatusCode::FORBIDDEN, code, reason).with_rule(rule.cloned())
}

fn missing(code: &'static str, detail: &str) -> Refusal {
    Refusal::new(Layer::Policy, StatusCode::FORBIDDEN, code, detail)
}

fn unavailable(code: &'static str, detail: &str) -> Refusal {
    Refusal::new(Layer::Policy, StatusCode::SERVICE_UNAVAILABLE, code, detail)
}

//! A role that somebody asks for, for a while: an approval like any other, and the grant when people have agreed.

use std::time::Duration;

use axum::{Extension, Json, body::Body, extract::State as Of};
use bytes::Bytes;
use crewgate_approval::{
    Approval, DEFAULT_WAITING_EACH, Gift, Narrowing, Need, NewApproval, NewGrant, OpenError, ReleaseMode,
    digest,
};
use crewgate_core::{
    Action, ApprovalId, Basis, Duties, Effect, GrantId, Message, Operation, Outgoing, Principal, RequestId,
    Resource, RoleName, Timestamp,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, uri::PathAndQuery};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    Console,
    approvals::{reason, store},
    body,
    problem::Problem,
    view,
};

/// The kind of resource a request for a role is about.
pub const ROLE: &str = "Role";

/// Where a wish is carried out: here, so part of its digest.
const HERE: &str = "crewgate:grants";

/// On which terms a role may be asked for, for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Who must agree.
    pub needs: Vec<Need>,
    /// The longest it is given.
    pub longest: Duration,
    /// How long a request for it waits for people.
    pub waits: Duration,
}

/// Which roles may be asked for. A closure from a role to its terms will do.
pub trait Requestable: Send + Sync + 'static {
    /// The terms of this role, now; `None` when nobody may ask for it.
    fn terms(&self, role: &RoleName) -> Option<Terms>;
}

impl<F: Fn(&RoleName) -> Option<Terms> + Send + Sync + 'static> Requestable for F {
    fn terms(&self, role: &RoleName) -> Option<Terms> {
        self(role)
    }
}

/// A wish as it is sent, stored, read by people and, once they agree, carried out: these bytes and no others.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    role: RoleName,
    seconds: u64,
    reason: String,
    #[serde(default)]
    narrowed: Narrowing,
}

pub(crate) async fn ask(
    Of(console): Of<Console>,
    Extension(who): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let mut wish: Wish = body::json(&headers, body, "a request for a role").await?;
    let words = reason(Some(wish.reason))?.filter(|words| !words.trim().is_empty());
    wish.reason = words.ok_or_else(|| Problem::bad("say in `reason` what it is for"))?;
    let terms = console.terms(&wish.role).ok_or_else(|| {
        Problem::new(StatusCode::FORBIDDEN, "role_not_requestable", "this role cannot be asked for")
    })?;
    if wish.seconds == 0 || wish.seconds > terms.longest.as_secs() {
        let longest = terms.longest.as_secs();
        return Err(Problem::bad(format!("`seconds` must be 1 to {longest} for this role")));
    }
    let now = console.clock.now();
    if console.approvals.waiting(&who.key, now).await.map_err(store)? >= DEFAULT_WAITING_EACH.get() {
        let text = "too many of your requests wait for people already; nobody was asked";
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "approval_too_many_waiting", text));
    }
    let opened =
        console.approvals.open(asked(&who, &wish, terms, now)?).await.map_err(|error| match error {
            OpenError::Store(error) => store(error),
            other => Problem::new(StatusCode::CONFLICT, "not_opened", other.to_string()),
        })?;
    let answer = json!({
        "approval": opened.id().to_string(),
        "state": view::state(&opened.state),
        "needs": view::needs(&opened),
        "expires": opened.asked.expires.to_string(),
    });
    Ok((StatusCode::ACCEPTED, Json(answer)))
}

fn asked(who: &Principal, wish: &Wish, terms: Terms, now: Timestamp) -> Result<NewApproval, Problem> {
    let body = serde_json::to_vec(wish).map_err(|error| Problem::bad(error.to_string()))?;
    let operation = Operation {
        action: Action::of("request"),
        resource: Resource { kind: ROLE.into(), name: wish.role.as_str().to_owned(), parents: Vec::new() },
        effect: Effect::Write,
        inputs: Vec::new(),
        datasets: Vec::new(),
        prompts: Vec::new(),
        has_undeclared_inputs: false,
        body_bytes: u64::try_from(body.len()).unwrap_or(u64::MAX),
        webhook_hosts: Vec::new(),
        ids: Vec::new(),
        owner: None,
        run: None,
        message: Message { method: Method::POST, path: Vec::new(), body: None, free_text: Vec::new() },
    };
    let outgoing = Outgoing {
        method: Method::POST,
        path: PathAndQuery::from_static("/api/grants"),
        content_type: Some(HeaderValue::from_static("application/json")),
        body: Bytes::from(body),
    };
    let sets = terms.needs.iter().map(|need| need.set.clone()).collect();
    Ok(NewApproval {
        id: ApprovalId::random(),
        request: RequestId::random(),
        run: None,
        requester: who.clone(),
        digest: digest(&outgoing, who, &operation, HERE),
        operation,
        outgoing,
        upstream: HERE.to_owned(),
        needs: terms.needs,
        duties: Duties { approvals: sets, ..Duties::default() },
        basis: Basis::default(),
        release: ReleaseMode::Claim,
        opened: now,
        expires: now.saturating_add(terms.waits),
        // It is given in the moment in which it is agreed to.
        usable_for: terms.waits,
        keyed: None,
    })
}

impl Console {
    fn terms(&self, role: &RoleName) -> Option<Terms> {
        self.requestable.as_ref()?.terms(role)
    }

    /// What the last yes to this request gives; `None` when it is no wish.
    pub(crate) fn gift(&self, approval: &Approval, now: Timestamp) -> Option<Gift> {
        let asked = &approval.asked;
        let is_wish = asked.operation.resource.kind == ROLE && asked.upstream == HERE;
        is_wish.then(|| self.agreed(approval, now).map_err(str::to_owned))
    }

    /// The grant that was agreed to, from the bytes that were read, as long as the role may be had on such terms.
    fn agreed(&self, approval: &Approval, now: Timestamp) -> Result<NewGrant, &'static str> {
        let asked = &approval.asked;
        let wish: Wish = serde_json::from_slice(&asked.outgoing.body)
            .map_err(|_| "the request cannot be read any more")?;
        let terms = self.terms(&wish.role).ok_or("the role cannot be asked for any more")?;
        let longest = Duration::from_secs(wish.seconds) <= terms.longest;
        if terms.needs != asked.needs || !longest {
            return Err("the role is given on other terms now");
        }
        Ok(NewGrant {
            id: GrantId::from_uuid(asked.id.as_uuid()),
            request: asked.request,
            principal: asked.requester.key.clone(),
            role: wish.role,
            given: now,
            from: now,
            until: now.saturating_add(Duration::from_secs(wish.seconds)),
            narrowed: wish.narrowed,
            reason: wish.reason,
            approval: asked.id,
            sets: approval.sets(),
        })
    }
}

//! The order of the layers, written once.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::body::Body;
use crewgate_approval::{
    Approval, ApprovalStore, AwaitApprovalLayer, DEFAULT_HOLD, DelegationStore, GrantStore, KeyStore,
    ReleaseMode, ReleasePath, Releaser, Wait, WaitingRoom,
};
use crewgate_audit::{AuditLayer, AuditStore, BarrierLayer, Erasure, Parent, Query};
use crewgate_core::{
    Clock, Fact, Layer as By, Operation, Principal, PrincipalKey, Refusal, RequestId, Trail,
};
use crewgate_crewai::render;
use crewgate_masking::{MaskRequestLayer, MaskResponseLayer};
use crewgate_oidc::{AuthenticateLayer, Reason, Rejection, Revocable, Revocations, TokenInventory};
use crewgate_policy::{DescribeLayer, EnforceLayer, Meter, SealLayer, Shadow};
use crewgate_runs::{RegisterLayer, Reserved, ResolveLayer, RunLedger};
use http::{Extensions, Request, Response, StatusCode};
use tower::{ServiceBuilder, ServiceExt, util::BoxCloneSyncService};

use crate::{
    answers,
    config::{ReleaseRule, Settings},
    crews::Crews,
    describe::DescribeCrews,
    detach::RunToEndLayer,
    idempotency::{IdempotencyDesk, IdempotencyLayer},
    identity::Gatekeeper,
    listen::Remote,
    live::Live,
    masks::Masks,
    problem::RenderRefusalsLayer,
    relay::Relays,
    sessions::{KeepLayer, Masking, SessionLayer, Sessions, restored},
    tickets::{Entry, KickoffTickets, ReleaseDesk, TicketStatusDesk, TicketStatusLayer, starts_run},
    upstream::Upstream,
    violations::RefuseViolationsLayer,
    waits::{WaitsDesk, WaitsLayer},
    way_over::{SunsetLayer, observes},
    wire::CrewAnswers,
};

/// The data plane as one service.
pub type DataPlane = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// What the stack is made of.
pub(crate) struct Parts {
    pub(crate) settings: Arc<Settings>,
    /// The gateway's public address.
    pub(crate) base: String,
    pub(crate) gatekeeper: Gatekeeper,
    pub(crate) revocations: Revocations,
    pub(crate) inventory: Arc<dyn TokenInventory>,
    pub(crate) live: Live,
    pub(crate) shadow: Arc<Shadow>,
    pub(crate) meter: Arc<dyn Meter>,
    pub(crate) crews: Arc<Crews>,
    pub(crate) masks: Masks,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) relays: Arc<Relays>,
    pub(crate) audit: Arc<dyn AuditStore>,
    pub(crate) erasure: Arc<dyn Erasure>,
    pub(crate) approvals: Arc<dyn ApprovalStore>,
    pub(crate) keys: Arc<dyn KeyStore>,
    pub(crate) runs: Arc<dyn RunLedger>,
    pub(crate) grants: Arc<dyn GrantStore>,
    pub(crate) delegations: Arc<dyn DelegationStore>,
    pub(crate) calls: RunToEndLayer,
    pub(crate) releases: ReleaseDesk,
    pub(crate) path: ReleasePath<Body>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// An attempt holds its approval longer than CrewAI may take to answer, so that a slow answer still finds it.
const LEASE_BEYOND_TIMEOUT: Duration = Duration::from_secs(60);

/// Builds the stack. Outermost first; a request goes down the list, its answer comes up.
pub(crate) fn build(parts: &Parts) -> DataPlane {
    let approval = approval(parts);
    let room = approval.waiting_room();
    let entry = below(parts, approval);
    open_releases(parts, entry.clone());
    let limits = &parts.settings.gateway.limits;
    let stack = ServiceBuilder::new()
        // A call that has left ends, caller or no caller; outside the record, so that the record ends with it.
        .layer(parts.calls.clone())
        // Refusals become problem documents outside everything that may refuse.
        .layer(RenderRefusalsLayer::at(&parts.base))
        // Outside of the record, which keeps the tokens that an entitled caller sees turned back.
        .map_response(restored)
        // Outside identity: a 401 is on the record too.
        .layer(audit(parts))
        // On the record, but before anything reads the request: its head was not even HTTP.
        .layer(RefuseViolationsLayer)
        .layer(AuthenticateLayer::new(parts.gatekeeper.clone()).with_proofs_for(&parts.base))
        // Behind identity, which says who still uses a shared key.
        .layer(SunsetLayer(Arc::clone(&parts.clock)))
        // Behind identity: what waits exists for whoever asked alone. Policy was asked then, and is asked again when it
        // is started.
        .layer(WaitsLayer(Arc::new(waits(parts, room))))
        // The one place that buffers a request body; behind identity, so that a stranger's is never read.
        .layer(DescribeLayer::new(describe(parts)).max_body(limits.max_body_bytes))
        // Before policy: whose run it is, is a fact policy stands on.
        .layer(ResolveLayer::new(Arc::clone(&parts.runs)).owned_by(exists_for(parts)).starts_run(starts_run))
        .service(entry);
    BoxCloneSyncService::new(stack)
}

/// For whom a run exists: for who started it, and where a crew's runs are shared for everybody else, so that policy says
/// who may. Never for another identity of who started it: to policy it would be somebody else.
fn exists_for(
    parts: &Parts,
) -> impl Fn(&Principal, &PrincipalKey, &Operation) -> bool + Send + Sync + 'static {
    let (live, crews) = (parts.live.clone(), Arc::clone(&parts.crews));
    move |who, owner, operation| {
        let shared = || crews.find(&operation.resource.name).is_some_and(|crew| crew.settings.shared_runs);
        let same_person = || who.human.is_some() && live.person(owner) == who.human;
        // A run that goes on from another's state is not an answer to it.
        who.key == *owner || (!starts_run(operation) && shared() && !same_person())
    }
}

/// From an address to an operation.
pub(crate) fn describe(parts: &Parts) -> DescribeCrews {
    DescribeCrews::new(parts.live.clone(), Arc::clone(&parts.relays), parts.gatekeeper.clone())
}

/// The decision, in earnest.
pub(crate) fn enforce(parts: &Parts) -> EnforceLayer<Live> {
    let recorded = parts.masks.clone();
    EnforceLayer::new(parts.live.clone())
        .roles(Arc::new(parts.live.clone()))
        .shadow(Arc::clone(&parts.shadow))
        .meter(Arc::clone(&parts.meter))
        .clock(Arc::clone(&parts.clock))
        .record_questions(move |operation| recorded.stored_inputs(operation))
}

/// From policy down: where an approved request comes back in.
fn below(parts: &Parts, approval: AwaitApprovalLayer<Body>) -> Entry {
    let crews = Arc::clone(&parts.crews);
    let enforce = enforce(parts).observe_when(move |operation, now| observes(&crews, operation, now));
    let tickets = TicketStatusDesk {
        runs: Arc::clone(&parts.runs),
        approvals: Arc::clone(&parts.approvals),
        releases: parts.releases.clone(),
        masks: parts.masks.clone(),
        clock: Arc::clone(&parts.clock),
    };
    let (masks, answers) = (parts.masks.clone(), parts.masks.clone());
    let stored = parts.masks.clone();
    let stack = ServiceBuilder::new()
        .layer(enforce)
        // Behind policy, which a call that is sent again passes as the first one did; before anything is done for it.
        .layer(IdempotencyLayer(Arc::new(idempotency(parts, approval.waiting_room()))))
        // Behind policy, which may forbid reading a status at all; before anything that needs a started run.
        .layer(TicketStatusLayer(Arc::new(tickets)))
        // Above all masks: a run's numbers are the same in what is sent and in what comes back.
        .layer(SessionLayer { sessions: Arc::clone(&parts.sessions), masks: parts.masks.clone() })
        // Before the seal: what an approver sees and what is sent is masked.
        .layer(MaskRequestLayer::new(move |extensions: &Extensions| {
            crewgate_masking::Mask::masker(&masks, extensions)
        }))
        // Behind the masks: no token leaves, or is stored or shown, that is not durable.
        .layer(KeepLayer {
            sessions: Arc::clone(&parts.sessions),
            masks: parts.masks.clone(),
            live: parts.live.clone(),
            masked: Masking::new(),
        })
        .map_response(boxed)
        // The outgoing bytes are fixed from here on.
        .layer(SealLayer::new(render))
        // Behind the seal: people approve bytes.
        .layer(approval)
        // The last layer before anything leaves: no intent, no byte.
        .layer(
            BarrierLayer::new(Arc::clone(&parts.audit))
                .clock(Arc::clone(&parts.clock))
                .mask_body(move |extensions| stored.stored_body(extensions)),
        )
        .map_response(boxed)
        // Inside the record, which keeps what the caller saw; around the ids, so that masks see our own.
        .layer(MaskResponseLayer::new(answers).sleep(tokio::time::sleep))
        // Directly above the upstream: no answer passes without its ids being ours and durable.
        .layer(RegisterLayer::new(Arc::clone(&parts.runs), CrewAnswers).clock(Arc::clone(&parts.clock)))
        .service(Upstream::new(Arc::clone(&parts.crews)));
    BoxCloneSyncService::new(stack)
}

fn audit(parts: &Parts) -> AuditLayer {
    AuditLayer::new(Arc::clone(&parts.audit))
        .clock(Arc::clone(&parts.clock))
        .remote(|extensions| extensions.get::<Remote>().map(|remote| remote.0.ip().to_string()))
}

fn approval(parts: &Parts) -> AwaitApprovalLayer<Body> {
    let (live, tiers, crews, modes, holds) = (
        parts.live.clone(),
        parts.live.clone(),
        Arc::clone(&parts.crews),
        Arc::clone(&parts.crews),
        Arc::clone(&parts.crews),
    );
    let settings = parts.settings.approval;
    let tickets = KickoffTickets { runs: Arc::clone(&parts.runs), clock: Arc::clone(&parts.clock) };
    let (masks, audit) = (parts.masks.clone(), Arc::clone(&parts.audit));
    let (waited, whole) = (Arc::clone(&parts.crews), parts.settings.gateway.limits.request_timeout);
    // What is released late must still be answered before the call is cut off.
    let longest = move |operation: &Operation| {
        let crew = waited.find(&operation.resource.name).map(|crew| crew.settings.timeout);
        let room = whole.saturating_sub(crew.unwrap_or(whole)).saturating_sub(Duration::from_secs(1));
        settings.longest_wait.min(room)
    };
    let asked_for = longest.clone();
    AwaitApprovalLayer::new(Arc::clone(&parts.approvals))
        .clock(Arc::clone(&parts.clock))
        .need(move |set| live.need(set))
        .escalation(move |set| tiers.escalation(set))
        .upstream(move |operation| {
            crews.find(&operation.resource.name).map(|crew| crew.settings.url.to_string()).unwrap_or_default()
        })
        .release_mode(move |operation| {
            match modes.find(&operation.resource.name).map(|crew| crew.settings.release) {
                Some(ReleaseRule::AutoRun { groups_max_age }) => {
                    ReleaseMode::AutoRun { max_age: groups_max_age }
                }
                Some(ReleaseRule::Claim) | None => ReleaseMode::Claim,
            }
        })
        .wait_for(move |operation, _| {
            let hold = holds.find(&operation.resource.name).and_then(|crew| crew.settings.hold);
            match (hold, starts_run(operation)) {
                (Some(hold), _) => Wait::Hold(hold),
                (None, true) => Wait::Ticket,
                (None, false) => Wait::Hold(DEFAULT_HOLD.min(asked_for(operation))),
            }
        })
        .longest_wait(longest)
        .shown(move |operation, words| masked(&masks, operation, &words))
        .outcome(move |approval| outcome(Arc::clone(&audit), approval))
        .tickets(Arc::new(tickets))
        .release_through(parts.path.clone())
        .hold_limit(settings.held, settings.held_each)
        .waiting_each(settings.waiting_each)
        .undecided_for(settings.expires)
        .usable_for(settings.usable)
}

/// Words of people, as a caller may read them; nothing where they cannot be masked.
fn masked(masks: &Masks, operation: &Operation, words: &str) -> String {
    let masker = masks.stored(&operation.resource.name);
    masker.map(|masker| masker.mask_text(words).text).unwrap_or_default()
}

/// What an approved request was answered, from the record of its release.
async fn outcome(audit: Arc<dyn AuditStore>, approval: Approval) -> Option<Response<Body>> {
    let query = Query { approval: Some(approval.id()), ..Query::default() };
    match answers::outcome(&*audit, query, |entry| entry.release().is_some()).await {
        Ok(found) => answers::again(&found?),
        Err(error) => {
            tracing::error!(%error, approval = %approval.id(), "the outcome of an approval cannot be read");
            None
        }
    }
}

fn waits(parts: &Parts, room: WaitingRoom<Body>) -> WaitsDesk {
    WaitsDesk {
        room,
        releases: parts.releases.clone(),
        revocations: parts.revocations.clone(),
        masks: parts.masks.clone(),
        clock: Arc::clone(&parts.clock),
    }
}

fn idempotency(parts: &Parts, room: WaitingRoom<Body>) -> IdempotencyDesk {
    IdempotencyDesk {
        keys: Arc::clone(&parts.keys),
        approvals: Arc::clone(&parts.approvals),
        audit: Arc::clone(&parts.audit),
        room,
        retention: parts.settings.gateway.limits.idempotency,
        clock: Arc::clone(&parts.clock),
    }
}

/// Opens the way back in for approved requests, each with a record of its own that names the request it belongs to.
fn open_releases(parts: &Parts, entry: Entry) {
    let recorded = ServiceBuilder::new()
        .map_response(boxed)
        .layer(audit(parts))
        .map_request(note_requester)
        .service(entry);
    let longest = parts.settings.crews.iter().map(|crew| crew.timeout).max().unwrap_or_default();
    let revocations = parts.revocations.clone();
    let releaser = Releaser::new(Arc::clone(&parts.approvals), BoxCloneSyncService::new(recorded))
        .clock(Arc::clone(&parts.clock))
        .lease_for(longest + LEASE_BEYOND_TIMEOUT)
        .trusts(move |requester| {
            revocations.check(&Revocable::of(requester)).map_err(|refused| no_longer_trusted(&refused))
        })
        .customise(|approval, request: &mut Request<Body>| {
            let extensions = request.extensions_mut();
            extensions.insert(RequestId::random());
            extensions.insert(Parent(approval.asked.request));
            if let Some(run) = approval.asked.run {
                extensions.insert(Reserved(run));
                if let Some(operation) = extensions.get_mut::<Operation>() {
                    // From here on the ticket's run is what it is about, on the record too.
                    operation.run = Some(run);
                }
            }
        });
    parts.releases.open(releaser);
    let desk = parts.releases.clone();
    parts.path.open(move |approval, principal| {
        let desk = desk.clone();
        async move { desk.release(approval, principal).await }
    });
}

/// Whose token is revoked asked for nothing; while nobody can tell, nothing is started and nothing ends.
fn no_longer_trusted(refused: &Rejection) -> Refusal {
    match refused.reason() {
        Reason::RevocationsUnknown => {
            let text = "whether who asked is revoked cannot be told right now";
            Refusal::new(By::Approval, StatusCode::SERVICE_UNAVAILABLE, "approval_unavailable", text)
        }
        _ => {
            let text = format!("who asked for it is no longer trusted: {refused}");
            Refusal::new(By::Approval, StatusCode::FORBIDDEN, "approval_invalidated", text)
        }
    }
}

/// A released call passes no authentication; whose it is stands on its record all the same.
fn note_requester(request: Request<Body>) -> Request<Body> {
    let extensions = request.extensions();
    if let (Some(trail), Some(principal)) = (extensions.get::<Trail>(), extensions.get::<Principal>()) {
        trail.note(Fact::Authenticated {
            principal: principal.key.clone(),
            kind: principal.kind,
            client: principal.client.clone(),
            expires: principal.token.expires,
            token: principal.token.fingerprint.clone(),
        });
    }
    request
}

fn boxed<B>(response: Response<B>) -> Response<Body>
where
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    response.map(Body::new)
}

/// A service that a test or an embedder can call without a socket.
pub async fn oneshot(plane: DataPlane, request: Request<Body>) -> Response<Body> {
    match plane.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

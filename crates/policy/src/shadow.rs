use std::{
    fmt,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc, PoisonError, RwLock,
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
};

use crewgate_core::{Approvals, Decision, Divergence, Operation, Principal, RequestId, Shadowed, Timestamp};

use crate::{HeldRole, Policy, Query};

/// Questions that wait for the second policy. One is some kilobytes: who asks, their roles and what rules may read of
/// the operation, never its body.
pub const SHADOW_QUEUE: usize = 1024;

/// A second policy that decides beside the one that counts, and only reports where it would decide otherwise.
///
/// It cannot change an outcome: it is told the question and the answer when the answer is settled, on a thread of its
/// own. When it panics, that is reported; when it is slow, questions beyond [`SHADOW_QUEUE`] are left out, and that is
/// reported too. No request waits for it. It sees the operation without its message, which is for the upstream and not
/// for rules.
///
/// ```
/// use std::sync::{Arc, mpsc};
/// use crewgate_core::Decision;
/// use crewgate_policy::{EnforceLayer, Query, Shadow, Sight};
///
/// let (report, reported) = mpsc::channel();
/// let shadow = Shadow::new(move |sight| {
///     let _ = report.send(sight);
/// })?;
/// shadow.watch(Some(Arc::new(|_: &Query<'_>| Decision::refuse("not any more"))));
/// let layer = EnforceLayer::new(|_: &Query<'_>| Decision::allow()).shadow(Arc::new(shadow));
/// // Requests pass as before; `reported` says which of them would not.
/// # let _ = (layer, reported);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Shadow {
    next: RwLock<Option<Arc<dyn Policy>>>,
    queue: SyncSender<Question>,
    witness: Arc<dyn Witness>,
}

/// What became of one question to the second policy.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sight {
    /// It decides the same, duties included.
    Agreed,
    /// It decides otherwise.
    Differed {
        /// The request that asked.
        request: Option<RequestId>,
        /// When.
        at: Timestamp,
        /// How.
        how: Box<Shadowed>,
    },
    /// It panicked.
    Failed,
    /// It was not asked: too many questions wait already.
    Skipped,
}

/// Is told what the second policy would have decided. A closure `Fn(Sight)` is a witness.
pub trait Witness: Send + Sync + 'static {
    /// Called on the shadow's own thread, where it may block; only [`Sight::Skipped`] comes on the thread of the
    /// request, where it may not.
    fn saw(&self, sight: Sight);
}

impl<F: Fn(Sight) + Send + Sync + 'static> Witness for F {
    fn saw(&self, sight: Sight) {
        self(sight);
    }
}

/// A question, its answer, and whom to ask as well; owned, because the request does not wait.
struct Question {
    policy: Arc<dyn Policy>,
    request: Option<RequestId>,
    principal: Principal,
    roles: Vec<HeldRole>,
    operation: Operation,
    approvals: Option<Approvals>,
    now: Timestamp,
    decided: Decision,
}

impl Shadow {
    /// A shadow without a policy: it asks nobody until it is told to [`watch`](Self::watch).
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub fn new(witness: impl Witness) -> std::io::Result<Self> {
        let witness: Arc<dyn Witness> = Arc::new(witness);
        let (queue, questions) = mpsc::sync_channel(SHADOW_QUEUE);
        let told = Arc::clone(&witness);
        // Ends with the shadow: then nobody holds the other end of the queue.
        thread::Builder::new().name("policy-shadow".to_owned()).spawn(move || answer(&questions, &*told))?;
        Ok(Self { next: RwLock::default(), queue, witness })
    }

    /// Asks this policy from the next question on; nobody for `None`.
    pub fn watch(&self, policy: Option<Arc<dyn Policy>>) {
        *self.next.write().unwrap_or_else(PoisonError::into_inner) = policy;
    }

    /// Puts a decided question to the second policy as well. Never waits.
    pub(crate) fn put(&self, query: &Query<'_>, request: Option<RequestId>, decided: &Decision) {
        let Some(policy) = self.next.read().unwrap_or_else(PoisonError::into_inner).clone() else { return };
        let question = Question {
            policy,
            request,
            principal: query.principal.clone(),
            roles: query.roles.to_vec(),
            operation: query.operation.without_message(),
            approvals: query.approvals.cloned(),
            now: query.now,
            decided: decided.clone(),
        };
        if self.queue.try_send(question).is_err() {
            self.witness.saw(Sight::Skipped);
        }
    }
}

impl fmt::Debug for Shadow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shadow(..)")
    }
}

fn answer(questions: &Receiver<Question>, witness: &dyn Witness) {
    for question in questions {
        let sight = panic::catch_unwind(AssertUnwindSafe(|| question.sight())).unwrap_or(Sight::Failed);
        // A witness that panics must not end the thread either.
        let told = panic::catch_unwind(AssertUnwindSafe(|| witness.saw(sight)));
        if told.is_err() {
            tracing::error!("what the second policy would have decided cannot be reported");
        }
    }
}

impl Question {
    fn sight(&self) -> Sight {
        let Self { principal, roles, operation, now, decided, .. } = self;
        let query = Query { principal, roles, operation, approvals: self.approvals.as_ref(), now: *now };
        let shadow = self.policy.decide(&query);
        let Some(divergence) = divergence(decided, &shadow) else { return Sight::Agreed };
        let how = Shadowed {
            principal: principal.key.clone(),
            action: operation.action.clone(),
            resource: operation.resource.name.clone(),
            divergence,
            decided: decided.outcome().to_owned(),
            basis: decided.basis().clone(),
            shadow_duties: shadow.duties().cloned(),
            shadow_reason: match &shadow {
                Decision::Refuse { reason, .. } => Some(reason.clone()),
                Decision::Allow { .. } | Decision::Ask { .. } => None,
            },
            shadow_basis: shadow.basis().clone(),
        };
        Sight::Differed { request: self.request, at: *now, how: Box::new(how) }
    }
}

/// How `shadow` differs from `decided`; `None` when a caller would see no difference. Two refusals are the same
/// whatever rule says them.
#[must_use]
pub fn divergence(decided: &Decision, shadow: &Decision) -> Option<Divergence> {
    use Decision::{Allow, Ask, Refuse};
    match (decided, shadow) {
        (Refuse { .. }, Refuse { .. }) => None,
        (Allow { .. }, Allow { .. }) | (Ask { .. }, Ask { .. }) => {
            (decided.duties() != shadow.duties()).then_some(Divergence::OtherDuties)
        }
        (Ask { .. } | Refuse { .. }, Allow { .. }) => Some(Divergence::NewlyAllowed),
        (Allow { .. } | Refuse { .. }, Ask { .. }) => Some(Divergence::NewlyAsking),
        (Allow { .. } | Ask { .. }, Refuse { .. }) => Some(Divergence::NewlyDenied),
    }
}

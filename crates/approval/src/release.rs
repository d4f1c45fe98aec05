use std::{fmt, future::Future, sync::Arc, time::Duration};

use crewgate_core::{ApprovalId, Layer as By, Principal, Refusal};
use futures_util::future::BoxFuture;
use http::{Response, StatusCode};
use tokio::sync::watch;

use crate::{Approval, Digest, Lease, StoreError};

/// A request that carries out an approval, on its way down the stack. Only a
/// [`Releaser`](crate::Releaser) makes one.
#[derive(Debug, Clone)]
pub struct Releasing {
    approval: Arc<Approval>,
    lease: Lease,
}

impl Releasing {
    pub(crate) fn new(approval: Arc<Approval>, lease: Lease) -> Self {
        Self { approval, lease }
    }

    /// The approval, as it was before it was claimed.
    #[must_use]
    pub fn approval(&self) -> &Approval {
        &self.approval
    }

    /// The attempt.
    #[must_use]
    pub fn lease(&self) -> Lease {
        self.lease
    }
}

/// The proof that this very request was approved and claimed: put on the request by
/// [`AwaitApproval`](crate::AwaitApproval) after it has checked decision, duties and digest, asked for by whoever
/// sends. Nobody else can make one:
///
/// ```compile_fail,E0451
/// # use crewgate_approval::{Lease, Release};
/// # fn forge(lease: Lease, digest: crewgate_approval::Digest) -> Release {
/// Release { lease, digest }
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    lease: Lease,
    digest: Digest,
}

impl Release {
    pub(crate) fn mint(lease: Lease, digest: Digest) -> Self {
        Self { lease, digest }
    }

    /// Of which approval.
    #[must_use]
    pub fn approval(&self) -> ApprovalId {
        self.lease.approval
    }

    /// The attempt that may send.
    #[must_use]
    pub fn lease(&self) -> Lease {
        self.lease
    }

    /// Of what may be sent.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

type Path<B> = dyn Fn(Approval, Principal) -> BoxFuture<'static, Option<Response<B>>> + Send + Sync;

enum Way<B> {
    Unopened,
    Open(Arc<Path<B>>),
    Closed,
}

/// The way by which a held request re-enters the stack once it is approved. The stack contains the layer that needs
/// the way, so it is made without one, given to the layer, and opened when the stack stands. Clones share it.
pub struct ReleasePath<B>(watch::Sender<Way<B>>);

impl<B> ReleasePath<B> {
    /// One that leads nowhere yet: a held request that is approved meanwhile gets its ticket.
    #[must_use]
    pub fn closed() -> Self {
        Self(watch::Sender::new(Way::Unopened))
    }

    /// Opens it: from now on this is how a held request is released. `None` from it means that it could not be
    /// claimed.
    pub fn open<F, Fut>(&self, release: F)
    where
        F: Fn(Approval, Principal) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Option<Response<B>>> + Send + 'static,
    {
        let path: Arc<Path<B>> = Arc::new(move |approval, principal| Box::pin(release(approval, principal)));
        self.0.send_replace(Way::Open(path));
    }

    /// Closes it: whoever is held is let go, with a ticket or told where to look, and nobody is held any more. It also
    /// ends the circle of stack, path and stack: without this a discarded stack is never freed.
    pub fn close(&self) {
        self.0.send_replace(Way::Closed);
    }

    pub(crate) fn get(&self) -> Option<Arc<Path<B>>> {
        match &*self.0.borrow() {
            Way::Open(path) => Some(Arc::clone(path)),
            Way::Unopened | Way::Closed => None,
        }
    }

    /// Resolves when it is closed for good.
    pub(crate) async fn ended(&self) {
        // An error would mean that the sender is gone, which `self` is.
        let _ = self.0.subscribe().wait_for(|way| matches!(way, Way::Closed)).await;
    }
}

impl<B> Default for ReleasePath<B> {
    fn default() -> Self {
        Self::closed()
    }
}

impl<B> Clone for ReleasePath<B> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<B> fmt::Debug for ReleasePath<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReleasePath").field("open", &self.get().is_some()).finish()
    }
}

pub(crate) fn unavailable(error: &StoreError) -> Refusal {
    tracing::error!(%error, "the approval store failed");
    let (code, detail) = match error {
        StoreError::Unavailable(_) => {
            ("approval_unavailable", "approvals cannot be kept right now; nothing was sent")
        }
        StoreError::Unknown(_) => {
            ("approval_unknown", "whether the request for approval was kept is not known; nothing was sent")
        }
    };
    Refusal::new(By::Approval, StatusCode::SERVICE_UNAVAILABLE, code, detail)
        .with_retry_after(Duration::from_secs(5))
}

use std::future::Future;

use crewgate_core::Principal;

use crate::{Bearer, Rejection};

/// Says whose token this is. The whole contract of [`AuthenticateLayer`](crate::AuthenticateLayer) with whoever
/// checks tokens: [`Verifier`](crate::Verifier), an introspection client, or a closure.
///
/// ```
/// use crewgate_oidc::{Bearer, Reason, Rejection, VerifyToken};
///
/// async fn nobody(_: Bearer) -> Result<crewgate_core::Principal, Rejection> {
///     Err(Reason::IssuerUnknown.into())
/// }
/// fn takes(_: impl VerifyToken) {}
/// takes(nobody);
/// ```
pub trait VerifyToken: Send + Sync + 'static {
    /// The principal the token proves.
    ///
    /// # Errors
    ///
    /// The [`Rejection`] the caller will read. It must not contain the token.
    fn verify(&self, token: Bearer) -> impl Future<Output = Result<Principal, Rejection>> + Send;
}

impl<F, Fut> VerifyToken for F
where
    F: Fn(Bearer) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Principal, Rejection>> + Send,
{
    fn verify(&self, token: Bearer) -> impl Future<Output = Result<Principal, Rejection>> + Send {
        self(token)
    }
}

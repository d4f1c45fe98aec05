use std::sync::Arc;

use crate::{
    Jws, KeySet, Reason, Rejection,
    issuer::Issuer,
    key::Key,
    keyset::{allowed_algorithm, check_signature},
};

/// The key of this issuer that signed; looks for a newer set when none of those at hand did.
pub(crate) async fn signer(issuer: &Arc<Issuer>, jws: &Jws<'_>) -> Result<Arc<Key>, Rejection> {
    let algorithm = allowed_algorithm(jws, &issuer.config.algorithms)?;
    let set = issuer.ready().await?;
    let try_with = |set: &KeySet| -> Result<Arc<Key>, Rejection> {
        let key = set.select(jws.kid.as_deref(), algorithm)?;
        check_signature(&key, algorithm, jws).map(|()| key)
    };
    // A key we do not have, or other material under a name we know: perhaps the issuer has just rotated.
    match try_with(&set) {
        Err(first) if matches!(first.reason(), Reason::KeyUnknown | Reason::Signature) => {
            let unknown = jws.kid.as_deref().filter(|kid| !set.names(kid));
            match issuer.newer(&set, unknown).await {
                Some(newer) => try_with(&newer),
                None => Err(first),
            }
        }
        other => other,
    }
}

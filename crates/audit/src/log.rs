use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::{
    AuditError, Leaf,
    tlog::{Hash, Head, Receipt, SignedCheckpoint, TILE, Tiles, VerifierKey, inclusion_proof},
};

/// A log that can be read and verified: a store's, or an exported folder.
pub trait Log: Tiles<Error = AuditError> + Send + Sync + 'static {
    /// The public keys by which its checkpoints are believed.
    fn keys(&self) -> Vec<VerifierKey>;

    /// The latest checkpoint, a signed note.
    ///
    /// # Errors
    ///
    /// [`AuditError::Unavailable`] when the log cannot be read.
    fn checkpoint(&self) -> BoxFuture<'_, Result<String, AuditError>>;

    /// Kept checkpoints of more than `above` leaves with the sizes they are kept under, smallest first, at most
    /// `limit`.
    ///
    /// # Errors
    ///
    /// [`AuditError::Unavailable`] when the log cannot be read.
    fn checkpoints(&self, above: u64, limit: u32) -> BoxFuture<'_, Result<Vec<(u64, String)>, AuditError>>;

    /// The `n`-th [`TILE`] leaves, in order, as many as there are.
    ///
    /// # Errors
    ///
    /// [`AuditError::Unavailable`] when the log cannot be read.
    fn bundle(&self, n: u64) -> BoxFuture<'_, Result<Vec<Leaf>, AuditError>>;

    /// The first leaf it still holds, a multiple of [`TILE`]; 0 until its beginning is [cut off](crate::Erasure::cut).
    ///
    /// # Errors
    ///
    /// [`AuditError::Unavailable`] when the log cannot be read.
    fn first(&self) -> BoxFuture<'_, Result<u64, AuditError>> {
        Box::pin(std::future::ready(Ok(0)))
    }

    /// What the latest checkpoint says, whoever signed it.
    ///
    /// # Errors
    ///
    /// [`AuditError::Unavailable`] when the log cannot be read or the checkpoint is none.
    fn head(&self) -> BoxFuture<'_, Result<Head, AuditError>> {
        let checkpoint = self.checkpoint();
        Box::pin(async move {
            let signed = SignedCheckpoint::parse(&checkpoint.await?).map_err(|_| AuditError::Unavailable)?;
            Ok(signed.claimed().head)
        })
    }
}

impl<T: Log + ?Sized> Tiles for Arc<T> {
    type Error = AuditError;

    fn tile(&self, level: u8, n: u64) -> BoxFuture<'_, Result<Vec<Hash>, AuditError>> {
        (**self).tile(level, n)
    }
}

impl<T: Log + ?Sized> Log for Arc<T> {
    fn keys(&self) -> Vec<VerifierKey> {
        (**self).keys()
    }

    fn checkpoint(&self) -> BoxFuture<'_, Result<String, AuditError>> {
        (**self).checkpoint()
    }

    fn checkpoints(&self, above: u64, limit: u32) -> BoxFuture<'_, Result<Vec<(u64, String)>, AuditError>> {
        (**self).checkpoints(above, limit)
    }

    fn bundle(&self, n: u64) -> BoxFuture<'_, Result<Vec<Leaf>, AuditError>> {
        (**self).bundle(n)
    }

    fn first(&self) -> BoxFuture<'_, Result<u64, AuditError>> {
        (**self).first()
    }
}

/// A receipt for one leaf under a checkpoint, the latest one by default: anybody with the log's public key can check it,
/// without the log. `None` when there is no such leaf in that tree.
///
/// # Errors
///
/// [`AuditError`] when the log cannot be read.
pub async fn prove(
    log: &dyn Log,
    index: u64,
    under: Option<SignedCheckpoint>,
) -> Result<Option<Receipt>, AuditError> {
    let checkpoint = match under {
        Some(checkpoint) => checkpoint,
        None => SignedCheckpoint::parse(&log.checkpoint().await?).map_err(|_| AuditError::Unavailable)?,
    };
    let bundle = log.bundle(index / TILE).await?;
    let Some(leaf) = bundle.into_iter().find(|leaf| leaf.index == index) else { return Ok(None) };
    let proof = inclusion_proof(log, index, checkpoint.claimed().head.size).await?;
    Ok(proof.map(|proof| Receipt { index, record: leaf.record.into_bytes(), proof, checkpoint }))
}

//! Where two logs of one origin part.

use crate::{
    AuditError, Log,
    tlog::{Hash, TILE, Tree},
};

/// The first leaf in which two logs differ, as far as both go; `None` when the longer one begins with the shorter one.
/// They are compared by their hash tiles from the top down, so verify both first: then those say what the leaves are.
/// Where a beginning was cut off, what can be named is the first leaf below the highest hash that differs.
///
/// # Errors
///
/// [`AuditError`] when one of them cannot be read.
pub async fn parted(one: &dyn Log, other: &dyn Log) -> Result<Option<u64>, AuditError> {
    let size = one.head().await?.size.min(other.head().await?.size);
    let mut at = 0;
    let mut differs = None;
    for level in (0..u8::try_from(Tree::edge_of(size).count()).unwrap_or(u8::MAX)).rev() {
        let end = size >> (8 * u32::from(level));
        // What the last complete hash of the level above does not cover, or what is below the one that differs.
        while at < end {
            let tiles = (one.tile(level, at / TILE).await?, other.tile(level, at / TILE).await?);
            match (hash(&tiles.0, at), hash(&tiles.1, at)) {
                (Some(one), Some(other)) if one == other => at += 1,
                (Some(_), Some(_)) => {
                    differs = Some(at << (8 * u32::from(level)));
                    break;
                }
                _ if differs.is_some() => return Ok(differs),
                // Cut off on one side, and the same above.
                _ => at = (at / TILE + 1) * TILE,
            }
        }
        if level == 0 {
            return Ok(differs);
        }
        at = at.min(end) * TILE;
    }
    Ok(differs)
}

fn hash(tile: &[Hash], at: u64) -> Option<Hash> {
    tile.get(usize::try_from(at % TILE).ok()?).copied()
}

use crate::{Approval, ApprovalStore, Filter, StoreError};

/// Rows that are looked at at most: each is a whole request, and somebody waits.
const MOST: usize = 10_000;

/// What was found among the rows of a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "what there is, and whether that is all")]
pub struct Found<T> {
    /// In the order of the filter.
    pub rows: Vec<T>,
    /// Whether there may be more.
    pub more: bool,
}

/// The first `wanted` that `keep` makes something of, page by page: a filter's limit counts rows, and rows that are
/// nobody's business here must not hide those that are. Looks at 10,000 rows at most.
///
/// # Errors
///
/// [`StoreError`].
pub async fn walk<T>(
    store: &dyn ApprovalStore,
    filter: Filter,
    wanted: usize,
    mut keep: impl FnMut(Approval) -> Option<T> + Send,
) -> Result<Found<T>, StoreError> {
    let (mut rows, mut looked, mut after) = (Vec::new(), 0, filter.after);
    loop {
        let page = store.list(Filter { after, ..filter.clone() }).await?;
        let whole = page.len() == filter.limit.get();
        looked += page.len();
        for row in page {
            after = Some(row.place());
            if let Some(kept) = keep(row) {
                if rows.len() == wanted {
                    return Ok(Found { rows, more: true });
                }
                rows.push(kept);
            }
        }
        if !whole {
            return Ok(Found { rows, more: false });
        }
        if looked >= MOST {
            tracing::warn!(looked, "more approvals wait than are looked at");
            return Ok(Found { rows, more: true });
        }
    }
}

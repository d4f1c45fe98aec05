use super::Tail;

/// A hit in a text: `start..end`, without its tail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hit {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// The rule's place in the table.
    pub(crate) rule: usize,
    pub(crate) tail: Tail,
}

/// A text, or as much of one as has come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece<'a> {
    /// What stands before and is not scanned again, and then what is scanned.
    pub(crate) text: &'a str,
    /// Where scanning begins.
    pub(crate) from: usize,
    /// What stands at `from` is the first of its text.
    pub(crate) at_start: bool,
    /// No more will come.
    pub(crate) ended: bool,
}

/// Sorts hits by start, then longest, then the table's order. A contained one is dropped; of two that overlap the later
/// keeps what lies behind the earlier.
pub(crate) fn resolve(mut hits: Vec<Hit>) -> Vec<Hit> {
    hits.sort_by_key(|hit| (hit.start, std::cmp::Reverse(hit.end), hit.rule));
    let mut end = 0;
    hits.retain_mut(|hit| {
        hit.start = hit.start.max(end);
        end = end.max(hit.end);
        hit.start < hit.end
    });
    hits
}

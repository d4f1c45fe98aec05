//! Work on many equal parts by a few threads.

use std::{num::NonZeroUsize, panic, thread};

/// More threads than this would take the processors from those who wait for a decision.
const LANES: usize = 4;

/// What `work` makes of each part, in the order of the parts. Each thread has its own run of them, and between two parts
/// lets others have their turn.
///
/// # Panics
///
/// When `work` does.
pub(crate) fn abreast<P: Sync, R: Send>(parts: &[P], work: impl Fn(&P) -> R + Sync) -> Vec<R> {
    let lanes = thread::available_parallelism().map_or(1, NonZeroUsize::get).min(LANES);
    let run = |parts: &[P]| -> Vec<R> { parts.iter().map(&work).inspect(|_| thread::yield_now()).collect() };
    let each = parts.len().div_ceil(lanes).max(1);
    if parts.len() <= 1 || lanes == 1 {
        return run(parts);
    }
    thread::scope(|scope| {
        let lanes: Vec<_> = parts.chunks(each).map(|parts| scope.spawn(|| run(parts))).collect();
        lanes
            .into_iter()
            .flat_map(|lane| lane.join().unwrap_or_else(|panic| panic::resume_unwind(panic)))
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_made_stands_in_the_order_of_the_parts(parts in prop::collection::vec(any::<u32>(), 0..40)) {
            let doubled: Vec<u64> = parts.iter().map(|part| u64::from(*part) * 2).collect();
            prop_assert_eq!(abreast(&parts, |part| u64::from(*part) * 2), doubled);
        }
    }
}

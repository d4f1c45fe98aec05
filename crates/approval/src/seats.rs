use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crewgate_core::PrincipalKey;

/// Callers who are held open at once: so many, and of one identity so many of them, so that nobody takes all.
#[derive(Debug)]
pub(crate) struct Seats {
    all: usize,
    each: usize,
    // A std mutex: held for a look at a map, never across an await. Who holds no seat is not in it.
    taken: Mutex<HashMap<PrincipalKey, usize>>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Arc<Seats>,
    who: PrincipalKey,
}

impl Seats {
    pub(crate) fn new(all: usize, each: usize) -> Arc<Self> {
        Arc::new(Self { all, each, taken: Mutex::default() })
    }

    /// Another, for `who`; `None` where there is none left for them.
    pub(crate) fn take(self: &Arc<Self>, who: &PrincipalKey) -> Option<Seat> {
        let mut taken = self.taken();
        let (all, theirs): (usize, _) = (taken.values().sum(), taken.get(who).copied().unwrap_or(0));
        if all >= self.all || theirs >= self.each {
            return None;
        }
        taken.insert(who.clone(), theirs + 1);
        Some(Seat { seats: Arc::clone(self), who: who.clone() })
    }

    /// How many are taken.
    pub(crate) fn count(&self) -> usize {
        self.taken().values().sum()
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<PrincipalKey, usize>> {
        // Every change is one insertion or removal: nothing half done is left by a panic.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken();
        match taken.get_mut(&self.who) {
            Some(theirs) if *theirs > 1 => *theirs -= 1,
            _ => drop(taken.remove(&self.who)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_all_seats_and_one_that_is_left_is_there_for_the_next() {
        let (ana, bob, eve) = (
            PrincipalKey::new("okta", "ana"),
            PrincipalKey::new("okta", "bob"),
            PrincipalKey::new("okta", "eve"),
        );
        let seats = Seats::new(3, 2);
        let first = seats.take(&ana).unwrap();
        let _second = seats.take(&ana).unwrap();
        assert!(seats.take(&ana).is_none(), "her share");
        let last = seats.take(&bob).unwrap();
        assert!(seats.take(&eve).is_none(), "all of them");
        drop(last);
        let _eves = seats.take(&eve).unwrap();
        drop(first);
        assert_eq!(seats.count(), 2);
        assert!(seats.take(&ana).is_some());
        assert_eq!(seats.count(), 2, "and left again");
    }
}

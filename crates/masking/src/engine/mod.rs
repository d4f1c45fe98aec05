//! Finds the hits of many rules at once, exactly those of the definition in [`detect`](crate::detect).
//!
//! 1. [`need`] reads off each pattern what every match of it has: its first bytes, digits soon behind its start, a byte that
//!    it cannot do without.
//! 2. [`simd`] says of 64 bytes at a time which of these classes they belong to, and [`bits`] shifts those masks into
//!    masks of the places where a [`lane`] of rules is to be tried at all: few, in most texts.
//! 3. There tables say which rules the next bytes and the last one can fit: none, mostly.
//! 4. The automata of those that are left run, anchored, until they can match no more; what matched is validated.
//!
//! In a stream everything beyond what has come counts as whatever a rule could need. So a place is tried as soon as its
//! match could begin there, and what an automaton is still alive over waits.

mod attempt;
mod bits;
mod lane;
mod need;
mod pattern;
mod quiet;
mod scan;
pub(crate) mod simd;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    panic::{RefUnwindSafe, UnwindSafe},
};

use regex_automata::{hybrid::dfa::Cache, util::pool::Pool};

use self::{
    lane::Lane,
    simd::{Classes, Masks},
};
use crate::detect::{Hit, Piece, Rule, Tail};

/// The automata of a set of rules, and what they need.
pub(crate) struct Engine {
    rules: Vec<Rule>,
    lanes: Vec<Lane>,
    classes: Classes,
    /// See [`Engine::is_quiet`].
    least: quiet::Least,
    scratch: Pool<Scratch, NewScratch>,
}

/// What one scan works with; kept for the next.
struct Scratch {
    masks: Vec<Masks>,
    /// Of each rule's automaton, if it is a lazy one that was needed.
    caches: Vec<Option<Cache>>,
    /// For each rule, where its last hit ended.
    free: Vec<usize>,
    places: Vec<usize>,
}

type NewScratch = Box<dyn Fn() -> Scratch + Send + Sync + UnwindSafe + RefUnwindSafe>;

/// Blocks that are classified at a time.
const STRIDE: usize = 64;

impl Engine {
    pub(crate) fn new(rules: impl IntoIterator<Item = Rule>) -> Self {
        let rules: Vec<_> = rules.into_iter().collect();
        let (lanes, classes) = lane::lanes(&rules);
        let count = rules.len();
        let scratch: NewScratch = Box::new(move || Scratch {
            masks: vec![Masks::default(); STRIDE + 1],
            caches: (0..count).map(|_| None).collect(),
            free: vec![0; count],
            places: Vec::new(),
        });
        Self { least: Self::least(&lanes), rules, lanes, classes, scratch: Pool::new(scratch) }
    }

    pub(crate) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    pub(crate) fn rule(&self, index: usize) -> Option<&Rule> {
        self.rules.get(index)
    }

    /// The hits of a whole text, tails included.
    pub(crate) fn hits(&self, text: &str) -> Vec<Hit> {
        let (mut hits, mut from) = (Vec::new(), 0);
        loop {
            let (some, _) = self.scan(Piece { text, from, at_start: from == 0, ended: true });
            hits.extend(some);
            let Some((last, mut swallow)) =
                hits.last_mut().and_then(|last| last.tail.swallow().map(|swallow| (last, swallow)))
            else {
                return hits;
            };
            last.end += swallow.take(text.get(last.end..).unwrap_or_default());
            last.tail = Tail::None;
            from = last.end;
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("lanes", &self.lanes).finish_non_exhaustive()
    }
}

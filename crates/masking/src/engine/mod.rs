//! Finds the hits of many rules at once, exactly those of the definition in [`detect`](crate::detect).
//!
//! 1. [`need`] reads off each pattern what every match of it has: its first bytes, digits soon behind its start, a byte that
//!    it cannot do without.
//! 2. [`simd`] says of 64 bytes at a time which of these classes they belong to, and [`group`] shifts those masks into
//!    masks of the places where a group of rules is to be tried at all: few, in most texts.
//! 3. There one automaton of the whole group runs, anchored, until no rule can match any more; what matched is validated.
//!
//! In a stream everything beyond what has come counts as whatever a rule could need. So a place is tried as soon as its
//! match could begin there, and what an automaton is still alive over waits.

mod group;
mod need;
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
    group::Group,
    simd::{Classes, Masks},
};
use crate::detect::{Hit, Piece, Rule, Tail};

/// The automata of a set of rules, and what they need.
pub(crate) struct Engine {
    rules: Vec<Rule>,
    groups: Vec<Group>,
    classes: Classes,
    scratch: Pool<Scratch, NewScratch>,
}

/// What one scan works with; kept for the next.
struct Scratch {
    masks: Vec<Masks>,
    caches: Vec<Option<Cache>>,
    /// For each rule, where its last hit ended.
    free: Vec<usize>,
    /// Longest matches at one place, by rule.
    ends: Vec<(usize, usize)>,
    places: Vec<usize>,
}

type NewScratch = Box<dyn Fn() -> Scratch + Send + Sync + UnwindSafe + RefUnwindSafe>;

/// Blocks that are classified at a time.
const STRIDE: usize = 64;

impl Engine {
    pub(crate) fn new(rules: impl IntoIterator<Item = Rule>) -> Self {
        let rules: Vec<_> = rules.into_iter().collect();
        let (groups, classes) = group::groups(&rules);
        let (rows, count) = (groups.len(), rules.len());
        let scratch: NewScratch = Box::new(move || Scratch {
            masks: vec![Masks::default(); STRIDE + 1],
            caches: (0..rows).map(|_| None).collect(),
            free: vec![0; count],
            ends: Vec::new(),
            places: Vec::new(),
        });
        Self { rules, groups, classes, scratch: Pool::new(scratch) }
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
        f.debug_struct("Engine").field("groups", &self.groups).finish_non_exhaustive()
    }
}

//! A rule's pattern, compiled: what all its matches have, and the automaton that finds the longest of them.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError},
};

use regex_automata::{
    Anchored, Input, MatchKind,
    dfa::{Automaton as _, StartKind, dense},
    hybrid::dfa::{Cache, DFA},
    nfa::thompson::{NFA, WhichCaptures},
    util::primitives::StateID,
};

use super::need::Need;
use crate::detect::Rule;

/// States of a lazy automaton in memory, in bytes: when they are more, they are thrown away and made anew.
const STATES: usize = 1 << 22;

/// An automaton that is no larger is built whole.
const SMALL: usize = 1 << 17;

/// Bytes that are rare enough to look for, the rarest first.
const RARE: &[u8] = b"@:.";

pub(super) struct Pattern {
    source: String,
    pub(super) need: Need,
    /// Built when the first text needs it.
    automaton: OnceLock<Automaton>,
}

enum Automaton {
    Whole(dense::DFA<Vec<u32>>, StateID),
    Lazy(DFA),
}

impl Pattern {
    /// The pattern of a rule. Those of the table are compiled once.
    pub(super) fn of(rule: &Rule) -> Arc<Self> {
        static KNOWN: LazyLock<Mutex<HashMap<&str, Arc<Pattern>>>> = LazyLock::new(Mutex::default);
        match rule {
            Rule::Table(detector) => {
                let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
                let new = || Arc::new(Self::new(detector.pattern.to_owned()));
                Arc::clone(known.entry(detector.pattern).or_insert_with(new))
            }
            _ => Arc::new(Self::new(rule.pattern().into_owned())),
        }
    }

    #[expect(
        clippy::expect_used,
        reason = "a pattern of the table, which a test builds, or of a checked detector"
    )]
    fn new(source: String) -> Self {
        let config = NFA::config().which_captures(WhichCaptures::None);
        let nfa = NFA::compiler().configure(config).build(&source).expect("a valid pattern");
        Self { need: Need::of(&nfa, RARE), source, automaton: OnceLock::new() }
    }

    /// How long the longest match at the start of a text is, and whether more text could make a longer one.
    pub(super) fn run(&self, text: &[u8], cache: &mut Option<Cache>) -> (Option<usize>, bool) {
        match self.automaton.get_or_init(|| Automaton::of(&self.source)) {
            Automaton::Whole(dfa, start) => whole(dfa, *start, text),
            Automaton::Lazy(dfa) => lazy(dfa, cache.get_or_insert_with(|| dfa.create_cache()), text),
        }
    }
}

impl Automaton {
    #[expect(
        clippy::expect_used,
        reason = "a pattern of the table, which a test builds, or of a checked detector"
    )]
    fn of(source: &str) -> Self {
        let config = dense::Config::new()
            .match_kind(MatchKind::All)
            .start_kind(StartKind::Anchored)
            .dfa_size_limit(Some(SMALL))
            .determinize_size_limit(Some(2 * SMALL));
        let dense = dense::Builder::new().configure(config).build(source).ok();
        let start = |dfa: &dense::DFA<Vec<u32>>| {
            dfa.start_state_forward(&Input::new("").anchored(Anchored::Yes)).ok()
        };
        if let Some((dfa, start)) = dense.and_then(|dfa| Some((start(&dfa)?, dfa))).map(|(s, dfa)| (dfa, s)) {
            return Self::Whole(dfa, start);
        }
        let config =
            DFA::config().match_kind(MatchKind::All).cache_capacity(STATES).skip_cache_capacity_check(true);
        Self::Lazy(DFA::builder().configure(config).build(source).expect("a valid pattern"))
    }
}

// Both tell of a match one byte late: in the state behind it, or at the end.

fn whole(dfa: &dense::DFA<Vec<u32>>, mut state: StateID, text: &[u8]) -> (Option<usize>, bool) {
    let mut longest = None;
    for (len, byte) in text.iter().enumerate() {
        state = dfa.next_state(state, *byte);
        if dfa.is_special_state(state) {
            if dfa.is_match_state(state) {
                longest = Some(len);
            } else if dfa.is_dead_state(state) {
                return (longest, false);
            }
        }
    }
    let ends = dfa.is_match_state(dfa.next_eoi_state(state));
    (if ends { Some(text.len()) } else { longest }, true)
}

#[expect(clippy::expect_used, reason = "the automata have no look-around and never give up")]
fn lazy(dfa: &DFA, cache: &mut Cache, text: &[u8]) -> (Option<usize>, bool) {
    let input = Input::new(text).anchored(Anchored::Yes);
    let mut state = dfa.start_state_forward(cache, &input).expect("anchored");
    let mut longest = None;
    for (len, byte) in text.iter().enumerate() {
        state = dfa.next_state(cache, state, *byte).expect("never gives up");
        if state.is_tagged() {
            if state.is_match() {
                longest = Some(len);
            } else if state.is_dead() {
                return (longest, false);
            }
        }
    }
    let ends = dfa.next_eoi_state(cache, state).expect("never gives up").is_match();
    (if ends { Some(text.len()) } else { longest }, true)
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

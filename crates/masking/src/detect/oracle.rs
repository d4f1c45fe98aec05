//! The definition of a hit, carried out in the plainest way: one automaton per detector, tried at every character. An
//! engine must find exactly these hits, in whole texts and in streams.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use regex_automata::{
    Anchored, Input, MatchKind,
    hybrid::dfa::{Cache, DFA},
};

use super::{BEHIND, Context, Hit, Match, Piece, Rule, Tail, WINDOW, ends_in_escape, resolve};

/// The automata of a set of rules.
pub(crate) struct Oracle(Vec<Arc<Row>>);

/// Rows of the table that were asked for: their automata grow with use and are worth keeping.
static KNOWN: LazyLock<Mutex<HashMap<&'static str, Arc<Row>>>> = LazyLock::new(Mutex::default);

struct Row {
    rule: Rule,
    dfa: DFA,
    cache: Mutex<Cache>,
    /// The bytes a match can begin with.
    first: Vec<bool>,
}

impl Oracle {
    pub(crate) fn new(rules: impl IntoIterator<Item = Rule>) -> Self {
        let row = |rule: Rule| match &rule {
            Rule::Table(detector) => {
                let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
                Arc::clone(known.entry(detector.name).or_insert_with(|| Arc::new(Row::new(rule))))
            }
            Rule::Custom(_) | Rule::Known(_) => Arc::new(Row::new(rule)),
        };
        Self(rules.into_iter().map(row).collect())
    }

    /// The hits of a whole text, tails included.
    pub(crate) fn hits(&self, text: &str) -> Vec<Hit> {
        let (mut hits, mut from) = (Vec::new(), 0);
        loop {
            let (some, _) = self.scan(Piece { text, from, at_start: from == 0, ended: true });
            hits.extend(some);
            let Some((last, mut swallow)) = hits
                .last_mut()
                .and_then(|last| Some((last.tail.swallow()?, last)))
                .map(|(s, last)| (last, s))
            else {
                return hits;
            };
            last.end += swallow.take(text.get(last.end..).unwrap_or_default());
            last.tail = Tail::None;
            from = last.end;
        }
    }

    /// The hits of a piece up to the first one with a tail, and from where on nothing is certain before more has come.
    pub(crate) fn scan(&self, piece: Piece<'_>) -> (Vec<Hit>, usize) {
        let mut hits = Vec::new();
        let mut certain = piece.text.len();
        for (index, row) in self.0.iter().enumerate() {
            certain = certain.min(row.scan(index, piece, &mut hits));
        }
        // A hit that reaches into what is not certain waits with it; but for a tail, behind which all begin anew.
        while let Some(hit) =
            hits.iter().find(|hit| hit.tail == Tail::None && hit.start < certain && certain < hit.end)
        {
            certain = hit.start;
        }
        let mut hits = resolve(hits);
        hits.retain(|hit| hit.start < certain);
        if let Some(first) = hits.iter().position(|hit| hit.tail != Tail::None) {
            hits.truncate(first + 1);
        }
        (hits, certain)
    }
}

impl Row {
    #[expect(
        clippy::expect_used,
        reason = "patterns of the table, which a test builds, and of checked detectors"
    )]
    fn new(rule: Rule) -> Self {
        let dfa = DFA::builder()
            .configure(DFA::config().match_kind(MatchKind::All).cache_capacity(1 << 24))
            .build(&rule.pattern())
            .expect("a valid pattern");
        let mut row = Self { cache: Mutex::new(dfa.create_cache()), dfa, rule, first: Vec::new() };
        row.first = (0..=u8::MAX).map(|byte| row.run(&[byte]).1).collect();
        row
    }

    /// Adds the hits of one detector; returns from where on they are not certain.
    fn scan(&self, index: usize, piece: Piece<'_>, hits: &mut Vec<Hit>) -> usize {
        let mut at = piece.from;
        while let Some(c) = piece.text.get(at..).and_then(|rest| rest.chars().next()) {
            let mut next = at + c.len_utf8();
            let byte = piece.text.as_bytes().get(at).copied().unwrap_or_default();
            if self.first.get(usize::from(byte)) != Some(&true) {
                at = next;
                continue;
            }
            let before = piece.text.get(..at).unwrap_or_default();
            let at_start = piece.at_start && at == piece.from;
            let behind = if at_start || ends_in_escape(before) { None } else { before.chars().next_back() };
            let seen = before.floor_char_boundary(at.saturating_sub(BEHIND));
            let near = before.get(seen..).unwrap_or_default();
            let begins = self.rule.begins_behind(behind) && self.rule.anchor().begins_behind(before);
            if begins && self.rule.follows(near) {
                let window = piece.text.floor_char_boundary(at + WINDOW);
                let text = piece.text.get(at..window).unwrap_or_default();
                let (len, alive) = self.run(text.as_bytes());
                if alive && window == piece.text.len() && !piece.ended {
                    return at;
                }
                if let Some((text, rest)) =
                    len.and_then(|len| piece.text.get(at..).and_then(|rest| rest.split_at_checked(len)))
                {
                    let known = Context::default();
                    let found =
                        Match { text, next: rest.chars().next(), before: near, at_start, known: &known };
                    if let Some(len) = self.rule.validate(&found).filter(|len| *len > 0) {
                        next = at + len;
                        hits.push(Hit { start: at, end: next, rule: index, tail: self.rule.tail(len) });
                    }
                }
            }
            at = next;
        }
        piece.text.len()
    }

    /// The longest match at the start, and whether more text could make a longer one.
    #[expect(clippy::expect_used, reason = "the cache holds every state of these patterns")]
    fn run(&self, text: &[u8]) -> (Option<usize>, bool) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let input = Input::new(text).anchored(Anchored::Yes);
        let mut state = self.dfa.start_state_forward(&mut cache, &input).expect("anchored");
        let mut longest = None;
        for (at, byte) in text.iter().enumerate() {
            state = self.dfa.next_state(&mut cache, state, *byte).expect("cached");
            if state.is_match() {
                longest = Some(at);
            } else if state.is_dead() {
                return (longest, false);
            }
        }
        state = self.dfa.next_eoi_state(&mut cache, state).expect("cached");
        (if state.is_match() { Some(text.len()) } else { longest }, true)
    }
}

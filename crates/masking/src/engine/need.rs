//! What every match of a pattern has, read off its automaton: whatever a text lacks of it is no start of a match. Nothing
//! here is told by the table, so nothing can be told wrongly.

use std::collections::{BTreeMap, BTreeSet};

use regex_automata::{
    nfa::thompson::{NFA, State},
    util::primitives::StateID,
};

use crate::detect::is_token;

/// How many bytes ahead digits are counted, runs are measured and heads are compared.
pub(super) const AHEAD: usize = 16;

/// How many bytes ahead a digit counts as near.
pub(super) const NEAR: usize = 8;

/// A set of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ByteSet([u64; 4]);

impl ByteSet {
    pub(super) const NONE: Self = Self([0; 4]);
    const ALL: Self = Self([!0; 4]);

    pub(super) fn has(&self, byte: u8) -> bool {
        self.0.get(usize::from(byte >> 6)).is_some_and(|bits| bits >> (byte & 63) & 1 == 1)
    }

    fn add(&mut self, first: u8, last: u8) {
        for byte in first..=last {
            if let Some(bits) = self.0.get_mut(usize::from(byte >> 6)) {
                *bits |= 1 << (byte & 63);
            }
        }
    }

    fn remove(&mut self, byte: u8) {
        if let Some(bits) = self.0.get_mut(usize::from(byte >> 6)) {
            *bits &= !(1 << (byte & 63));
        }
    }

    pub(super) fn or(mut self, other: Self) -> Self {
        for (bits, more) in self.0.iter_mut().zip(other.0) {
            *bits |= more;
        }
        self
    }

    pub(super) fn bytes(&self) -> impl Iterator<Item = u8> {
        (0..=u8::MAX).filter(|byte| self.has(*byte))
    }

    pub(super) fn all(&self, fits: impl Fn(u8) -> bool) -> bool {
        self.bytes().all(fits)
    }
}

/// What every match has.
#[derive(Debug, Clone)]
pub(super) struct Need {
    /// What the first [`AHEAD`] bytes can be. Behind the end of a short match: anything.
    pub(super) head: Vec<ByteSet>,
    /// At least so many ASCII digits among the first [`AHEAD`] bytes, as far as it goes.
    pub(super) digits: usize,
    /// It has at least so many bytes, counted up to [`AHEAD`].
    pub(super) least: usize,
    /// One of them among the first [`NEAR`] bytes.
    pub(super) near: bool,
    /// It begins with at least so many characters of tokens, counted up to [`AHEAD`].
    pub(super) run: usize,
    /// A byte it has, and how it comes to the first of them: the rarest such byte.
    pub(super) required: Option<(u8, Vec<Approach>)>,
}

/// How a match comes to the first byte of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Approach {
    /// It begins with one of these,
    pub(super) head: ByteSet,
    /// and has only such before that byte.
    pub(super) before: ByteSet,
}

impl Need {
    /// Reads it off an automaton without look-around.
    pub(super) fn of(nfa: &NFA, rare: &[u8]) -> Self {
        let (digits, head) = walk(nfa);
        let token = |byte: u8| char::from(byte).is_ascii() && is_token(char::from(byte)) || byte == b':';
        let run = head.iter().take_while(|place| place.all(token)).count();
        let required = rare.iter().find_map(|byte| Some((*byte, approaches(nfa, *byte)?)));
        let least = head.iter().take_while(|place| **place != ByteSet::ALL).count();
        let near = digits.get(NEAR - 1).is_some_and(|digits| *digits > 0);
        Self { head, digits: digits.last().copied().unwrap_or(0), least, near, run, required }
    }
}

/// Goes [`AHEAD`] bytes into the automaton: the fewest digits there are up to each byte, and what it can be.
fn walk(nfa: &NFA) -> (Vec<usize>, Vec<ByteSet>) {
    let mut states = BTreeMap::from([(nfa.start_anchored(), 0)]);
    let (mut fewest_of_matches, mut fewest, mut places) = (usize::MAX, Vec::new(), Vec::new());
    for _ in 0..AHEAD {
        let mut next: BTreeMap<StateID, usize> = BTreeMap::new();
        let mut place = ByteSet::NONE;
        for (state, digits) in states {
            for leaf in leaves(nfa, state) {
                if matches!(nfa.state(leaf), State::Match { .. }) {
                    fewest_of_matches = fewest_of_matches.min(digits);
                }
                for (first, last, to) in transitions(nfa, leaf) {
                    place.add(first, last);
                    let digit = first >= b'0' && last <= b'9';
                    let least = next.entry(to).or_insert(usize::MAX);
                    *least = (*least).min(digits + usize::from(digit));
                }
            }
        }
        let ended = fewest_of_matches < usize::MAX;
        places.push(if ended { ByteSet::ALL } else { place });
        states = next;
        let least = states.values().copied().min().unwrap_or(usize::MAX).min(fewest_of_matches);
        fewest.push(if least == usize::MAX { 0 } else { least });
    }
    (fewest, places)
}

/// How a match comes to the first of these bytes; `None` when there are matches without it.
fn approaches(nfa: &NFA, byte: u8) -> Option<Vec<Approach>> {
    let mut found: Vec<Approach> = Vec::new();
    let mut known: BTreeMap<StateID, ByteSet> = BTreeMap::new();
    for leaf in leaves(nfa, nfa.start_anchored()) {
        for (first, last, to) in transitions(nfa, leaf) {
            let mut head = ByteSet::NONE;
            head.add(first, last);
            let before = match known.get(&to) {
                // The byte itself may be all there is before the rest.
                _ if (first, last) == (byte, byte) => ByteSet::NONE,
                Some(before) => *before,
                None => *known.entry(to).or_insert(before(nfa, to, byte)?),
            };
            match found.iter_mut().find(|approach| approach.before == before) {
                Some(approach) => approach.head = approach.head.or(head),
                None => found.push(Approach { head, before }),
            }
        }
    }
    for approach in &mut found {
        let head = approach.head;
        approach.before = approach.before.or(head);
        approach.before.remove(byte);
    }
    Some(found)
}

/// The bytes that stand before the first of these from a state on; `None` when there are matches without it.
fn before(nfa: &NFA, from: StateID, byte: u8) -> Option<ByteSet> {
    let (mut seen, mut waiting) = (BTreeSet::new(), vec![from]);
    let mut before = ByteSet::NONE;
    while let Some(state) = waiting.pop() {
        if !seen.insert(state) {
            continue;
        }
        match nfa.state(state) {
            State::Match { .. } => return None,
            State::Union { alternates } => waiting.extend(alternates.iter()),
            State::BinaryUnion { alt1, alt2 } => waiting.extend([alt1, alt2]),
            State::Capture { next, .. } | State::Look { next, .. } => waiting.push(*next),
            _ => {}
        }
        for (first, last, to) in transitions(nfa, state) {
            if (first, last) != (byte, byte) {
                before.add(first, last);
                waiting.push(to);
            }
        }
    }
    before.remove(byte);
    Some(before)
}

/// The states from here that take a byte or match.
fn leaves(nfa: &NFA, state: StateID) -> Vec<StateID> {
    let (mut seen, mut waiting, mut found) = (BTreeSet::new(), vec![state], Vec::new());
    while let Some(state) = waiting.pop() {
        if !seen.insert(state) {
            continue;
        }
        match nfa.state(state) {
            State::Union { alternates } => waiting.extend(alternates.iter()),
            State::BinaryUnion { alt1, alt2 } => waiting.extend([alt1, alt2]),
            // Look-around is in no pattern; to pass it is to claim less of a match.
            State::Capture { next, .. } | State::Look { next, .. } => waiting.push(*next),
            State::ByteRange { .. } | State::Sparse(_) | State::Dense(_) | State::Match { .. } => {
                found.push(state)
            }
            State::Fail => {}
        }
    }
    found
}

fn transitions(nfa: &NFA, state: StateID) -> Vec<(u8, u8, StateID)> {
    match nfa.state(state) {
        State::ByteRange { trans } => vec![(trans.start, trans.end, trans.next)],
        State::Sparse(sparse) => sparse.transitions.iter().map(|t| (t.start, t.end, t.next)).collect(),
        State::Dense(dense) => (0..=u8::MAX)
            .zip(dense.transitions.iter())
            .filter(|(_, to)| **to != StateID::ZERO)
            .map(|(byte, to)| (byte, byte, *to))
            .collect(),
        _ => Vec::new(),
    }
}

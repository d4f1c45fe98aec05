//! Rules that are tried at the same kind of places, and tables that say which of them a place fits at all.

use std::sync::Arc;

use super::{
    need::{AHEAD, Approach, ByteSet, Need},
    pattern::Pattern,
    simd::{Classes, HEAD, NOWHERE, REQUIRED, WORD_BUCKETS},
};
use crate::detect::{Anchor, Rule, WINDOW};

/// Rules of a lane, each with a bit.
const WIDTH: usize = 64;

/// Where rules are tried.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Place {
    /// Where a word may begin with a head of them.
    Head,
    /// Anywhere a head of them can be.
    Inner,
    /// At a digit, `+` or `(` where a word may begin.
    Number,
    /// Before a byte that is approached like this, from at most so many characters away; where a word may begin, or anywhere.
    Required { mask: usize, reach: usize, anywhere: bool, approaches: Vec<Approach> },
    /// Where a word may begin and [`AHEAD`] characters of tokens follow.
    Run,
    /// Behind a `:` or `=` and at most spaces and quotation marks.
    Value,
    /// Where a word may begin with a letter or digit, and a digit is near.
    Word,
}

impl Place {
    fn meets(&self, other: &Self) -> bool {
        let key = |place: &Self| match place {
            Self::Required { mask, reach, anywhere, .. } => Some((*mask, *reach, *anywhere)),
            _ => None,
        };
        if key(self).is_some() { key(self) == key(other) } else { self == other }
    }

    fn join(&mut self, other: Self) {
        if let (Self::Required { approaches, .. }, Self::Required { approaches: more, .. }) = (self, other) {
            let new = more.into_iter().filter(|approach| !approaches.contains(approach)).collect::<Vec<_>>();
            approaches.extend(new);
        }
    }
}

/// Rules that are tried at the same places. In every mask, bit `i` stands for the rule `i` here.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) place: Place,
    /// Their places among all rules, and their patterns.
    pub(super) rules: Vec<(usize, Arc<Pattern>)>,
    /// Which rules a byte fits, by how far it is behind the start.
    heads: Vec<[u64; 256]>,
    /// Which rules so many digits are enough for among the first [`AHEAD`] bytes.
    by_digits: [u64; AHEAD + 1],
    /// Which rules may begin behind an ASCII character.
    behind: [u64; 128],
}

impl Lane {
    fn new(place: Place) -> Self {
        let (rules, heads) = (Vec::new(), vec![[0; 256]; AHEAD]);
        Self { place, rules, heads, by_digits: [0; AHEAD + 1], behind: [0; 128] }
    }

    fn add(&mut self, index: usize, rule: &Rule, pattern: Arc<Pattern>) {
        let bit = 1 << self.rules.len();
        for (head, set) in self.heads.iter_mut().zip(&pattern.need.head) {
            for (rules, _) in head.iter_mut().zip(0..=u8::MAX).filter(|(_, byte)| set.has(*byte)) {
                *rules |= bit;
            }
        }
        for rules in self.by_digits.iter_mut().skip(pattern.need.digits) {
            *rules |= bit;
        }
        let begins = |byte: &u8| rule.begins_behind(Some(char::from(*byte)));
        for (rules, _) in self.behind.iter_mut().zip(0..=127).filter(|(_, byte)| begins(byte)) {
            *rules |= bit;
        }
        self.rules.push((index, pattern));
    }

    /// Which rules the text from a place on can be a match of, at all, and with so many digits soon.
    #[inline]
    pub(super) fn fits(&self, text: &[u8], digits: impl Fn() -> usize) -> u64 {
        let enough = || self.by_digits.get(digits()).copied().unwrap_or(u64::MAX);
        // Numbers are mostly too short for any rule; elsewhere heads tell more.
        let number = self.place == Place::Number;
        let mut rules = if number { enough() } else { u64::MAX };
        for (byte, head) in text.iter().zip(&self.heads) {
            rules &= head.get(usize::from(*byte)).copied().unwrap_or(0);
            if rules == 0 {
                return 0;
            }
        }
        if number { rules } else { rules & enough() }
    }

    /// Which rules may begin behind this character, or behind nothing; in doubt they may.
    pub(super) fn behind(&self, before: Option<char>) -> u64 {
        let index = before.and_then(|c| usize::try_from(u32::from(c)).ok());
        index.and_then(|index| self.behind.get(index)).copied().unwrap_or(u64::MAX)
    }
}

/// Puts rules into lanes, and says what classes of bytes the lanes need.
pub(super) fn lanes(rules: &[Rule]) -> (Vec<Lane>, Classes) {
    let mut lanes: Vec<Lane> = Vec::new();
    let mut classes = Classes { required: [NOWHERE; REQUIRED], ..Classes::default() };
    let mut heads: [Vec<[ByteSet; HEAD]>; 2] = Default::default();
    for (index, rule) in rules.iter().enumerate() {
        let pattern = Pattern::of(rule);
        let place = place(rule, &pattern.need, &mut classes);
        if let Some(head) = pattern.need.head.first_chunk() {
            match place {
                Place::Inner => heads[1].push(*head),
                Place::Head => heads[0].push(*head),
                _ => {}
            }
        }
        match lanes.iter_mut().find(|lane| lane.rules.len() < WIDTH && lane.place.meets(&place)) {
            Some(lane) => {
                lane.place.join(place);
                lane.add(index, rule, pattern);
            }
            None => {
                let mut lane = Lane::new(place);
                lane.add(index, rule, pattern);
                lanes.push(lane);
            }
        }
    }
    for (heads, buckets) in heads.iter_mut().zip([WORD_BUCKETS, !WORD_BUCKETS]) {
        bucket(heads, buckets, &mut classes);
    }
    (lanes, classes)
}

fn place(rule: &Rule, need: &Need, classes: &mut Classes) -> Place {
    let Some(first) = need.head.first() else { return Place::Inner };
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    // A custom detector's hit begins where a word does, if it begins with a word.
    let custom = matches!(rule, Rule::Custom(_)) && first.all(word);
    let anywhere = !custom
        && (0..128_u8).filter(|byte| word(*byte)).any(|byte| rule.begins_behind(Some(char::from(byte))));
    let reach = if let Anchor::At(reach) = rule.anchor() { reach } else { WINDOW };
    let mut required = || {
        let (byte, approaches) = need.required.clone()?;
        let mask = classes.required.iter_mut().position(|slot| {
            if *slot == NOWHERE {
                *slot = byte;
            }
            *slot == byte
        })?;
        Some(Place::Required { mask, reach, anywhere, approaches })
    };
    if anywhere {
        let wide = first.bytes().count() > 32;
        return wide.then(required).flatten().unwrap_or(Place::Inner);
    }
    if rule.anchor() == Anchor::Value && first.all(|byte| !b" \"'`".contains(&byte)) {
        return Place::Value;
    }
    if need.digits > 0 && first.all(|byte| byte.is_ascii_digit() || b"+(".contains(&byte)) {
        return Place::Number;
    }
    if need.run >= AHEAD {
        return Place::Run;
    }
    if need.near && first.all(|byte| word(byte) || !byte.is_ascii()) {
        return Place::Word;
    }
    required().unwrap_or(Place::Head)
}

/// Spreads heads over buckets so that those which begin alike share one.
fn bucket(heads: &mut [[ByteSet; HEAD]], buckets: u8, classes: &mut Classes) {
    heads.sort_by_key(|[first, second, ..]| {
        (first.bytes().count(), first.bytes().next(), second.bytes().next())
    });
    let free: Vec<u8> = (0..8).map(|bit| 1 << bit).filter(|bit| buckets & bit != 0).collect();
    let share = heads.len().div_ceil(free.len()).max(1);
    for (heads, bit) in heads.chunks(share).zip(free) {
        for head in heads {
            for ((set, low), high) in head.iter().zip(&mut classes.low).zip(&mut classes.high) {
                for byte in set.bytes() {
                    if let (Some(low), Some(high)) =
                        (low.get_mut(usize::from(byte & 15)), high.get_mut(usize::from(byte >> 4)))
                    {
                        *low |= bit;
                        *high |= bit;
                    }
                }
            }
        }
    }
}

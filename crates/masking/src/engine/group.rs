//! Rules that are tried at the same places, and the bits that say where.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex, OnceLock, PoisonError},
};

use regex_automata::{
    MatchKind,
    hybrid::dfa::DFA,
    nfa::thompson::{NFA, WhichCaptures},
};

use super::{
    need::{AHEAD, Approach, ByteSet, Need},
    simd::{Classes, HEAD, Masks, NOWHERE, REQUIRED, WORD_BUCKETS},
};
use crate::detect::{Anchor, Rule};

/// States of one automaton in memory, in bytes: when they are more, they are thrown away and made anew.
const STATES: usize = 1 << 22;

/// Bytes that are rare enough to look for, the rarest first.
const RARE: &[u8] = b"@:.";

/// Where rules are tried.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Place {
    /// Anywhere a head of them can be.
    Inner,
    /// Where a word may begin and at least so many digits follow soon; only before a digit, `+` or `(`, or before any
    /// character of words.
    Digits { least: usize, first: First },
    /// Behind a `:` or `=` and at most spaces and quotation marks.
    Value,
    /// Where a word may begin and so many token characters follow.
    Run(usize),
    /// Where a word may begin and a byte follows that is approached like this. The mask of that byte comes first.
    Required(usize, Vec<Approach>),
    /// Where a word may begin with a head of them.
    Head,
}

impl Place {
    fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Required(mask, _), Self::Required(other, _)) => mask == other,
            _ => self == other,
        }
    }

    fn join(&mut self, other: Self) {
        if let (Self::Required(_, approaches), Self::Required(_, more)) = (self, other) {
            let new = more.into_iter().filter(|approach| !approaches.contains(approach)).collect::<Vec<_>>();
            approaches.extend(new);
        }
    }
}

/// What stands first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    Number,
    Word,
    Any,
}

/// Rules that are tried at the same places, in one automaton.
#[derive(Debug)]
pub(super) struct Group {
    /// Its place among the groups.
    pub(super) index: usize,
    pub(super) place: Place,
    /// Their places in the table.
    pub(super) rules: Vec<usize>,
    patterns: Vec<String>,
    dfa: OnceLock<DFA>,
}

impl Group {
    /// The automaton of all its rules; built when the first text needs it.
    #[expect(
        clippy::expect_used,
        reason = "patterns of the table, which a test builds, and of checked detectors"
    )]
    pub(super) fn dfa(&self) -> &DFA {
        self.dfa.get_or_init(|| {
            DFA::builder()
                .configure(
                    DFA::config()
                        .match_kind(MatchKind::All)
                        .cache_capacity(STATES)
                        .skip_cache_capacity_check(true),
                )
                .build_many(&self.patterns)
                .expect("valid patterns")
        })
    }
}

/// Puts rules into groups, and says what classes of bytes the groups need.
pub(super) fn groups(rules: &[Rule]) -> (Vec<Group>, Classes) {
    let mut groups: Vec<Group> = Vec::new();
    let mut classes = Classes { required: [NOWHERE; REQUIRED], ..Classes::default() };
    let mut heads: [Vec<[ByteSet; HEAD]>; 2] = Default::default();
    for (index, rule) in rules.iter().enumerate() {
        let need = need(rule);
        let place = place(rule, &need, &mut classes);
        match place {
            Place::Inner => heads[1].push(need.head),
            Place::Head => heads[0].push(need.head),
            _ => {}
        }
        let same = groups.iter_mut().find(|group| group.place.meets(&place));
        let (pattern, dfa) = (rule.pattern().into_owned(), OnceLock::new());
        match same {
            Some(group) => {
                group.place.join(place);
                group.rules.push(index);
                group.patterns.push(pattern);
            }
            None => groups.push(Group {
                index: groups.len(),
                place,
                rules: vec![index],
                patterns: vec![pattern],
                dfa,
            }),
        }
    }
    for (heads, buckets) in heads.iter_mut().zip([WORD_BUCKETS, !WORD_BUCKETS]) {
        bucket(heads, buckets, &mut classes);
    }
    (groups, classes)
}

/// What a rule's matches have. What the table's have is found out once.
fn need(rule: &Rule) -> Need {
    static KNOWN: LazyLock<Mutex<HashMap<&str, Need>>> = LazyLock::new(Mutex::default);
    match rule {
        Rule::Table(detector) => {
            let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
            known.entry(detector.pattern).or_insert_with(|| read(detector.pattern)).clone()
        }
        _ => read(&rule.pattern()),
    }
}

#[expect(
    clippy::expect_used,
    reason = "a pattern of the table, which a test builds, or of a checked detector"
)]
fn read(pattern: &str) -> Need {
    let config = NFA::config().which_captures(WhichCaptures::None);
    Need::of(&NFA::compiler().configure(config).build(pattern).expect("a valid pattern"), RARE)
}

fn place(rule: &Rule, need: &Need, classes: &mut Classes) -> Place {
    let [first, ..] = need.head;
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    // A custom detector's hit begins where a word does, if it begins with a word.
    let custom = matches!(rule, Rule::Custom(_)) && first.all(word);
    if !custom
        && (0..128_u8).filter(|byte| word(*byte)).any(|byte| rule.begins_behind(Some(char::from(byte))))
    {
        return Place::Inner;
    }
    if rule.anchor() == Anchor::Value && first.all(|byte| !b" \"'`".contains(&byte)) {
        return Place::Value;
    }
    if need.digits > 0 {
        let least = [8, 4, 2, 1].into_iter().find(|least| need.digits >= *least).unwrap_or(1);
        let first = if first.all(|byte| byte.is_ascii_digit() || b"+(".contains(&byte)) {
            First::Number
        } else if first.all(|byte| word(byte) || !byte.is_ascii()) {
            First::Word
        } else {
            First::Any
        };
        return Place::Digits { least, first };
    }
    if need.run >= AHEAD {
        return Place::Run(AHEAD);
    }
    if let Some((byte, approaches)) = &need.required {
        let mask = classes.required.iter_mut().position(|slot| {
            if *slot == NOWHERE {
                *slot = *byte;
            }
            *slot == *byte
        });
        if let Some(mask) = mask {
            return Place::Required(mask, approaches.clone());
        }
    }
    if need.run >= 8 { Place::Run(8) } else { Place::Head }
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

/// What the groups ask of a block and the one behind it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bits {
    /// Where a word may begin.
    pub(super) starts: u64,
    /// Behind a separator.
    pub(super) value: u64,
    now: Masks,
    /// Where at least 1, 2, 4, 8 digits are among the next bytes.
    digits: [u64; 4],
    /// Where 8 and 16 token characters follow.
    runs: [u64; 2],
}

impl Bits {
    pub(super) fn new(now: &Masks, next: &Masks, starts: u64, value: u64) -> Self {
        let two = |now: u64, next: u64| u128::from(now) | u128::from(next) << 64;
        let digits = match two(now.digit, next.digit) {
            0 => [0; 4],
            some => at_least(some),
        };
        let mut run = two(now.word | now.hyphen, next.word | next.hyphen);
        for step in [1, 2, 4] {
            run &= run >> step;
        }
        let runs = [low(run), low(run & run >> 8)];
        Self { starts, value, now: *now, digits, runs }
    }

    /// Where a group is tried; not for required bytes.
    pub(super) fn of(&self, place: &Place) -> u64 {
        match place {
            Place::Inner => self.now.inner,
            Place::Digits { least, first } => {
                let [one, two, four, eight] = self.digits;
                let enough = match least {
                    8.. => eight,
                    4.. => four,
                    2.. => two,
                    _ => one,
                };
                let first = match first {
                    First::Number => self.now.digit | self.now.opening,
                    First::Word => self.now.word | self.now.high,
                    First::Any => !0,
                };
                self.starts & enough & first
            }
            Place::Value => self.value,
            Place::Run(least) => {
                let [eight, sixteen] = self.runs;
                self.starts & if *least > 8 { sixteen } else { eight }
            }
            Place::Required(..) => 0,
            Place::Head => self.starts & self.now.head,
        }
    }

    pub(super) fn required(&self, mask: usize) -> u64 {
        self.now.required.get(mask).copied().unwrap_or(0)
    }
}

/// Where at least 1, 2, 4 and 8 of the next sixteen bits are set: counters of one bit each, added by halves.
fn at_least(bits: u128) -> [u64; 4] {
    let (a, b) = (bits, bits >> 1);
    let (one, two) = (a ^ b, a & b);
    let [one, two, four] = add([one, two], [one >> 2, two >> 2]);
    let [one, two, four, eight] = add([one, two, four], [one >> 4, two >> 4, four >> 4]);
    let [one, two, four, eight, sixteen] =
        add([one, two, four, eight], [one >> 8, two >> 8, four >> 8, eight >> 8]);
    let (eight, four, two, one) = (
        eight | sixteen,
        four | eight | sixteen,
        two | four | eight | sixteen,
        one | two | four | eight | sixteen,
    );
    [low(one), low(two), low(four), low(eight)]
}

/// Adds numbers written in bits, the lowest first.
fn add<const N: usize, const M: usize>(a: [u128; N], b: [u128; N]) -> [u128; M] {
    let (mut sum, mut carry) = ([0; M], 0);
    for ((to, a), b) in sum.iter_mut().zip(a).zip(b) {
        *to = a ^ b ^ carry;
        carry = (a & b) | (carry & (a ^ b));
    }
    if let Some(last) = sum.get_mut(N) {
        *last = carry;
    }
    sum
}

/// The block's own bits.
fn low(bits: u128) -> u64 {
    u64::try_from(bits & u128::from(u64::MAX)).unwrap_or(u64::MAX)
}

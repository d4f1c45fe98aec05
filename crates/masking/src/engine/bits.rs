//! Where lanes are tried in a block.

use super::{
    lane::Place,
    need::{AHEAD, NEAR},
    simd::Masks,
};

/// What the lanes ask of a block and the one behind it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bits<'a> {
    /// Where a word may begin.
    starts: u64,
    /// Behind a separator.
    value: u64,
    now: &'a Masks,
    digits: u128,
    /// Where a digit is among the next [`NEAR`] bytes.
    near: u64,
    /// Where [`AHEAD`] characters of tokens follow.
    run: u64,
}

impl<'a> Bits<'a> {
    pub(super) fn new(now: &'a Masks, next: &Masks, starts: u64, value: u64) -> Self {
        let digits = two(now.digit, next.digit);
        let near = if digits == 0 { 0 } else { low(doubled(digits, NEAR, |a, b| a | b)) };
        let run = low(doubled(two(now.token, next.token), AHEAD, |a, b| a & b));
        Self { starts, value, now, digits, near, run }
    }

    /// Where a lane is tried; behind a required byte, where that byte is.
    pub(super) fn of(&self, place: &Place) -> u64 {
        match place {
            Place::Head => self.starts & self.now.head,
            Place::Inner => self.now.inner,
            Place::Number => self.starts & (self.now.digit | self.now.opening),
            Place::Required { mask, .. } => self.now.required.get(*mask).copied().unwrap_or(0),
            Place::Run => self.starts & self.run,
            Place::Value => self.value,
            Place::Word => self.starts & (self.now.word | self.now.high) & self.near,
        }
    }

    /// How many of the next [`AHEAD`] bytes from one of the block on are digits.
    pub(super) fn digits(&self, at: usize) -> usize {
        let ahead = (self.digits >> (at & 63)) & ((1 << AHEAD) - 1);
        usize::try_from(ahead.count_ones()).unwrap_or(AHEAD)
    }
}

/// Each bit joined with so many behind it, a power of two.
fn doubled(mut bits: u128, many: usize, join: impl Fn(u128, u128) -> u128) -> u128 {
    let mut by = 1;
    while by < many {
        bits = join(bits, bits >> by);
        by *= 2;
    }
    bits
}

fn two(now: u64, next: u64) -> u128 {
    u128::from(now) | u128::from(next) << 64
}

/// The block's own bits.
fn low(bits: u128) -> u64 {
    u64::try_from(bits & u128::from(u64::MAX)).unwrap_or(u64::MAX)
}

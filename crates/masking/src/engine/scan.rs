//! Goes over a text block by block and tries lanes where their masks say so.

use std::{cmp::Reverse, collections::VecDeque};

use super::{
    Engine, STRIDE, Scratch,
    bits::Bits,
    lane::{Lane, Place},
    need::{AHEAD, ByteSet},
    simd::{BLOCK, HEAD, Masks},
};
use crate::detect::{BEHIND, Hit, Piece, Tail, WINDOW, resolve};

/// The longest escape behind which a word begins, `\u0040`, and what its first byte is behind of.
const LOOK_BEHIND: usize = 8;

/// One scan.
pub(super) struct Scan<'a> {
    pub(super) engine: &'a Engine,
    pub(super) piece: Piece<'a>,
    pub(super) hits: Vec<Hit>,
    /// From here on nothing is certain before more has come.
    pub(super) certain: usize,
    /// The hits with a tail that may stand: behind one that does all begins anew, so what comes later is not looked at.
    pub(super) tailed: VecDeque<usize>,
}

/// What a block tells the next.
#[derive(Default)]
struct Carry {
    word: u64,
    backslash: u64,
    percent: u64,
    value: u64,
}

impl Engine {
    /// The hits of a piece up to the first one with a tail, and from where on nothing is certain before more has come.
    pub(crate) fn scan(&self, piece: Piece<'_>) -> (Vec<Hit>, usize) {
        let mut guard = self.scratch.get();
        let mut scan = Scan {
            engine: self,
            piece,
            hits: Vec::new(),
            certain: piece.text.len(),
            tailed: VecDeque::new(),
        };
        scan.run(&mut guard);
        if !scan.hits.is_empty() {
            guard.free.fill(0);
        }
        scan.finish()
    }
}

impl Scan<'_> {
    fn run(&mut self, scratch: &mut Scratch) {
        if self.engine.lanes.is_empty() {
            return;
        }
        let text = self.piece.text.as_bytes();
        let mut base = self.piece.from.saturating_sub(LOOK_BEHIND);
        let mut carry = Carry { value: u64::from(self.behind_separator(base)), ..Carry::default() };
        let mut masks = std::mem::take(&mut scratch.masks);
        while base < self.limit() {
            let count = self.engine.classes.classify(text.get(base..).unwrap_or_default(), &mut masks);
            self.fill_beyond(base, count, &mut masks);
            for (now, next) in masks.iter().zip(masks.iter().skip(1)).take(count.min(STRIDE)) {
                if base >= self.limit() {
                    break;
                }
                self.block(base, now, next, &mut carry, scratch);
                base += BLOCK;
                if self.settled(base) {
                    scratch.masks = masks;
                    return;
                }
            }
        }
        if !self.piece.ended {
            for lane in &self.engine.lanes {
                self.approach(lane, text.len(), scratch);
            }
        }
        scratch.masks = masks;
    }

    /// Where looking for starts ends: what is required of a start that is certain can stand a window behind it.
    fn limit(&self) -> usize {
        self.piece.text.len().min(self.certain + WINDOW)
    }

    /// Makes what is beyond the text fit everything while more can come, and nothing when it has ended.
    fn fill_beyond(&self, base: usize, count: usize, masks: &mut [Masks]) {
        let beyond = if self.piece.ended { Masks::default() } else { ALL };
        if let Some(next) = masks.get_mut(count) {
            *next = beyond;
        }
        if self.piece.ended {
            return;
        }
        let len = self.piece.text.len();
        for (block, masks) in masks.iter_mut().enumerate().take(count).skip(count.saturating_sub(2)) {
            let at = base + block * BLOCK;
            let (behind, heads) =
                (bits_from(len.saturating_sub(at)), bits_from(len.saturating_sub(at + HEAD - 1)));
            masks.digit |= behind;
            masks.word |= behind;
            masks.token |= behind;
            masks.head |= heads;
            masks.inner |= heads;
        }
    }

    fn block(&mut self, base: usize, now: &Masks, next: &Masks, carry: &mut Carry, scratch: &mut Scratch) {
        let before = |now: u64, last: u64, by: u32| now << by | last >> (64 - by);
        let backslash = |by| before(now.backslash, carry.backslash, by);
        let escaped = backslash(2) | backslash(6) | before(now.percent, carry.percent, 3);
        let mut starts = !before(now.word, carry.word, 1) | escaped;
        // Behind separators, over spaces and quotation marks: a carry runs through them.
        let seed = now.separator << 1 | carry.value;
        let (sum, over) = now.quote.overflowing_add(seed & now.quote);
        let value = ((sum ^ now.quote) | seed) & !now.quote;
        let carried = now.separator >> 63 | u64::from(over);
        *carry = Carry { word: now.word, backslash: now.backslash, percent: now.percent, value: carried };

        let wanted =
            bits_from(self.piece.from.saturating_sub(base)) & !bits_from(self.piece.text.len() - base);
        if self.piece.at_start && self.piece.from >= base && self.piece.from - base < BLOCK {
            starts |= 1 << (self.piece.from - base);
        }
        let bits = Bits::new(now, next, starts, value);
        let text = self.piece.text.as_bytes();
        for lane in &self.engine.lanes {
            let mut found = bits.of(&lane.place) & wanted;
            while found != 0 {
                let at = first(&mut found);
                if let Place::Required { .. } = lane.place {
                    self.approach(lane, base + at, scratch);
                    continue;
                }
                // Most places fit nothing: told here, without a call.
                let fits = lane.fits(text.get(base + at..).unwrap_or_default(), || bits.digits(at));
                if fits != 0 {
                    self.attempt(lane, base + at, fits, scratch);
                }
            }
        }
    }

    /// Tries the starts from which a byte that is required is approached.
    fn approach(&mut self, lane: &Lane, to: usize, scratch: &mut Scratch) {
        let Place::Required { reach, anywhere, approaches, .. } = &lane.place else { return };
        let text = self.piece.text.as_bytes();
        let (last, here) = (to.checked_sub(1).and_then(|last| text.get(last)), text.get(to));
        let has = |set: &ByteSet, byte: Option<&u8>| byte.is_some_and(|byte| set.has(*byte));
        let begins = approaches.iter().any(|way| has(&way.head, here));
        if !approaches.iter().any(|way| has(&way.before, last)) {
            if begins {
                self.try_at(lane, to, scratch);
            }
            return;
        }
        let most = self.piece.from.max(to.saturating_sub(WINDOW));
        let mut places = std::mem::take(&mut scratch.places);
        places.clear();
        if begins {
            places.push(to);
        }
        for approach in approaches {
            let (run, mut left) = (text.get(most..to).unwrap_or_default(), *reach);
            for (back, byte) in run.iter().rev().enumerate() {
                let at = to - back - 1;
                // Every byte of a character but the first looks like this.
                let goes_on = *byte & 0xc0 == 0x80;
                if !approach.before.has(*byte) || left == 0 {
                    break;
                }
                left -= usize::from(!goes_on);
                if approach.head.has(*byte) && (*anywhere || self.may_start(at)) {
                    places.push(at);
                }
            }
        }
        places.sort_unstable();
        places.dedup();
        for at in &places {
            self.try_at(lane, *at, scratch);
        }
        scratch.places = places;
    }

    fn try_at(&mut self, lane: &Lane, at: usize, scratch: &mut Scratch) {
        let fits = lane.fits(self.piece.text.as_bytes().get(at..).unwrap_or_default(), || AHEAD);
        if fits != 0 {
            self.attempt(lane, at, fits, scratch);
        }
    }

    /// Whether a word may begin here, in doubt yes.
    fn may_start(&self, at: usize) -> bool {
        let text = self.piece.text.as_bytes();
        let back = |by: usize| at.checked_sub(by).and_then(|at| text.get(at)).copied();
        let escaped = back(2) == Some(b'\\') || back(6) == Some(b'\\') || back(3) == Some(b'%');
        let inside = back(1).is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        !inside || escaped || (self.piece.at_start && at == self.piece.from)
    }

    /// Whether only spaces and quotation marks stand between this byte and a separator before it.
    fn behind_separator(&self, at: usize) -> bool {
        let before = self.piece.text.as_bytes().get(at.saturating_sub(BEHIND)..at).unwrap_or_default();
        let last = before.iter().rev().find(|byte| !matches!(byte, b' ' | b'"' | b'\'' | b'`'));
        matches!(last, Some(b':' | b'='))
    }

    /// Whether a hit with a tail stands, whatever comes: then the rest is for another scan.
    fn settled(&mut self, done: usize) -> bool {
        while let Some(tailed) = self.tailed.front().and_then(|index| self.hits.get(*index)) {
            // A start is found at last when the byte has come that it requires, a window behind it.
            if done < tailed.start + WINDOW + BLOCK {
                return false;
            }
            let key = |hit: &Hit| (hit.start, Reverse(hit.end), hit.rule);
            // Hits are found at most a window behind their start: before one that lies so far back stands no neighbour.
            let near = self.hits.iter().rev().take_while(|hit| hit.start + 3 * WINDOW > tailed.start);
            if !near.into_iter().any(|hit| key(hit) < key(tailed) && hit.end >= tailed.end) {
                return true;
            }
            self.tailed.pop_front();
        }
        false
    }

    fn finish(self) -> (Vec<Hit>, usize) {
        let (mut hits, mut certain) = (self.hits, self.certain);
        // A hit that reaches into what is not certain waits with it; but for a tail, behind which all begin anew.
        while let Some(hit) =
            hits.iter().find(|hit| hit.tail == Tail::None && hit.start < certain && certain < hit.end)
        {
            certain = hit.start;
        }
        hits = resolve(hits);
        hits.retain(|hit| hit.start < certain);
        if let Some(first) = hits.iter().position(|hit| hit.tail != Tail::None) {
            hits.truncate(first + 1);
        }
        (hits, certain)
    }
}

/// Everything, of which nobody knows whether it comes.
const ALL: Masks = Masks {
    digit: !0,
    word: !0,
    token: !0,
    opening: 0,
    high: 0,
    backslash: 0,
    percent: 0,
    separator: 0,
    quote: 0,
    head: !0,
    inner: !0,
    required: [0; 4],
};

/// The bits from a place on; none when it lies behind the block.
fn bits_from(at: usize) -> u64 {
    u32::try_from(at).ok().and_then(|at| u64::MAX.checked_shl(at)).unwrap_or(0)
}

/// Takes the first of some bits.
pub(super) fn first(bits: &mut u64) -> usize {
    let at = bits.trailing_zeros();
    *bits &= *bits - 1;
    usize::try_from(at).unwrap_or(0)
}

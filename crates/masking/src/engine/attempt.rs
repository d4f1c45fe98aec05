//! Tries the rules of a lane at a place.

use super::{
    Scratch,
    lane::Lane,
    scan::{Scan, first},
};
use crate::detect::{BEHIND, Context, Hit, Match, Tail, WINDOW, ends_in_escape};

impl Scan<'_> {
    /// Tries the rules of a lane that a place fits.
    pub(super) fn attempt(&mut self, lane: &Lane, at: usize, fits: u64, scratch: &mut Scratch) {
        if at >= self.certain {
            return;
        }
        let behind = self.behind(at);
        let mut fits = fits & lane.behind(behind);
        if fits == 0 {
            return;
        }
        let Some((before, rest)) = self.piece.text.split_at_checked(at) else { return };
        let seen = before.floor_char_boundary(at.saturating_sub(BEHIND));
        let before = before.get(seen..).unwrap_or_default();
        let window = rest.floor_char_boundary(WINDOW);
        let over = window == rest.len() && !self.piece.ended;
        let known = Context::default();
        while fits != 0 {
            let Some((index, pattern)) = lane.rules.get(first(&mut fits)) else { return };
            let Some(rule) = self.engine.rule(*index) else { return };
            let free = scratch.free.get(*index).is_some_and(|free| at >= *free);
            if !free || !rule.begins_behind(behind) || !rule.follows(before) {
                continue;
            }
            let Some(cache) = scratch.caches.get_mut(*index) else { return };
            let (len, alive) = pattern.run(rest.as_bytes().get(..window).unwrap_or_default(), cache);
            if alive && over {
                self.certain = at;
                return;
            }
            let Some((text, rest)) = len.and_then(|len| rest.split_at_checked(len)) else { continue };
            let at_start = self.piece.at_start && at == self.piece.from;
            let found = Match { text, next: rest.chars().next(), before, at_start, known: &known };
            let Some(len) = rule.validate(&found).filter(|len| *len > 0) else { continue };
            if let Some(free) = scratch.free.get_mut(*index) {
                *free = at + len;
            }
            let tail = rule.tail(len);
            if tail != Tail::None {
                self.tailed.push_back(self.hits.len());
            }
            self.hits.push(Hit { start: at, end: at + len, rule: *index, tail });
        }
    }

    /// The character before; none at the start and behind an escape.
    fn behind(&self, at: usize) -> Option<char> {
        let before = self.piece.text.get(..at).unwrap_or_default();
        let none = (self.piece.at_start && at == self.piece.from) || ends_in_escape(before);
        if none { None } else { before.chars().next_back() }
    }
}

//! Tells at a glance of most short texts - names of members, words, numbers of few digits - that nothing is in them.

use super::{Engine, lane::Place, need::AHEAD};

/// Longer texts are scanned.
const SHORT: usize = AHEAD;

/// Bytes such a text may have: none that a separator, an address or an escape has.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = b' ';
    #[expect(clippy::indexing_slicing, reason = "evaluated when compiled")]
    while byte <= b'z' {
        plain[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'-' | b'.' | b'_');
        byte += 1;
    }
    plain
};

/// By their digits, how long plain texts must be at least that a rule can match in.
pub(super) type Least = [usize; SHORT + 1];

impl Engine {
    /// Whether nothing can be found in a text that stands behind this: its length and digits are too few for any rule.
    pub(crate) fn is_quiet(&self, text: &str, before: &str) -> bool {
        if text.len() >= SHORT || !text.bytes().all(|byte| PLAIN.get(usize::from(byte)) == Some(&true)) {
            return false;
        }
        let digits = text.bytes().filter(u8::is_ascii_digit).count();
        self.least.get(digits).is_some_and(|least| text.len() < *least)
            && (before.is_empty()
                || !self.named().any(|index| self.rule(index).is_none_or(|rule| rule.follows(before))))
    }

    /// The rules that begin behind separators.
    fn named(&self) -> impl Iterator<Item = usize> {
        let lanes = self.lanes.iter().filter(|lane| lane.place == Place::Value);
        lanes.flat_map(|lane| lane.rules.iter().map(|(index, _)| *index))
    }

    /// Reads it off the rules.
    pub(super) fn least(lanes: &[super::lane::Lane]) -> Least {
        let mut least = [usize::MAX; SHORT + 1];
        let lanes = lanes.iter().filter(|lane| lane.place != Place::Value);
        for (_, pattern) in lanes.flat_map(|lane| &lane.rules) {
            let need = &pattern.need;
            let plain = |byte: u8| PLAIN.get(usize::from(byte)) == Some(&true);
            // A byte that no plain text has.
            if need.required.as_ref().is_some_and(|(byte, _)| !plain(*byte)) {
                continue;
            }
            for least in least.iter_mut().skip(need.digits) {
                *least = need.least.min(*least);
            }
        }
        least
    }
}

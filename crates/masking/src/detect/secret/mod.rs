//! What opens something: tokens, keys, passwords.

mod cloud;
mod code;
mod named;
mod service;
mod token;

use super::{Detector, Match, check::entropy};

/// The families; a hit of an earlier one wins over an equal one of a later.
pub(crate) const FAMILIES: [&[Detector]; 5] =
    [token::TABLE, cloud::TABLE, code::TABLE, service::TABLE, named::TABLE];

/// Declares keys by their published prefix and shape, each with the entropy below which it is an example or a word.
macro_rules! keys {
    ($($name:literal => {
        $anchor:expr, $pattern:expr, $bits:expr,
        finds: $finds:expr,
        leaves: $leaves:expr,
    })*) => {
        use crate::detect::{Anchor, Tail, boundary::word_start};

        crate::detect::detector::detectors! {
            $($name => ApiKey {
                anchor: $anchor,
                pattern: $pattern,
                begins: word_start,
                validate: |found, _| super::key(found, $bits),
                tail: Tail::Address,
                finds: $finds,
                leaves: $leaves,
            })*
        }
    };
}
use keys;

/// A key whose tail is the checksum of the rest, or that is random enough: it has a digit and some entropy.
fn key(found: &Match<'_>, bits: f64) -> Option<usize> {
    let text = found.text;
    let random = text.bytes().any(|b| b.is_ascii_digit()) && entropy(text) >= bits;
    let summed = text.split_once('_').is_some_and(|(_, body)| super::check::crc32_tail(body));
    if random || summed { found.whole_word() } else { None }
}

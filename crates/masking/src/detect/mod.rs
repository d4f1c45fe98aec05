//! What is looked for, as a table. A row is a [`Detector`]: a pattern, a validator that decides how much of a match is a
//! hit, and texts that show what it finds and what it leaves. [`oracle`] is the definition of a hit.

mod boundary;
mod check;
mod contact;
mod country;
mod crypto;
mod custom;
mod detector;
mod device;
mod entity;
mod hit;
mod iban;
mod label;
mod nation;
mod network;
#[cfg(any(test, fuzzing))]
mod oracle;
mod payment;
mod phone;
mod secret;
pub(crate) mod sets;
mod tail;
#[cfg(test)]
mod tests;

#[cfg(any(test, fuzzing))]
pub(crate) use self::oracle::Oracle;
pub(crate) use self::{
    boundary::{ends_in_escape, is_token},
    check::luhn,
    detector::{Anchor, BEHIND, Context, Detector, Match, Rule, WINDOW},
    hit::{Hit, Piece, resolve},
    tail::{Swallow, Tail},
};
pub use self::{
    custom::{CustomDetector, CustomError},
    entity::Entity,
};

/// The table, family by family. Of two hits of the same place and length the row that comes first wins.
const FAMILIES: &[&[Detector]] = &[
    payment::TABLE,
    device::TABLE,
    iban::TABLE,
    crypto::TABLE,
    network::TABLE,
    nation::us::TABLE,
    nation::uk::TABLE,
    nation::commonwealth::TABLE,
    nation::latin_america::TABLE,
    nation::europe_west::TABLE,
    nation::europe_south::TABLE,
    nation::europe_north::TABLE,
    nation::europe_east::TABLE,
    nation::asia::TABLE,
    nation::vat::TABLE,
    contact::TABLE,
    phone::TABLE,
];

impl Entity {
    /// Whether a hit of it can be longer than what is held of a stream.
    #[must_use]
    pub fn is_unbounded(&self) -> bool {
        detectors().any(|detector| detector.entity == *self && detector.tail != Tail::None)
    }
}

/// Every row of the table.
pub(crate) fn detectors() -> impl Iterator<Item = &'static Detector> {
    secret::FAMILIES.iter().chain(FAMILIES).copied().flatten()
}

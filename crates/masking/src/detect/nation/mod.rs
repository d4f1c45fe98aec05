//! Identifiers that states give to people and firms.

pub(super) mod asia;
pub(super) mod commonwealth;
pub(super) mod europe_east;
pub(super) mod europe_north;
pub(super) mod europe_south;
pub(super) mod europe_west;
pub(super) mod latin_america;
pub(super) mod uk;
pub(super) mod us;
pub(super) mod vat;

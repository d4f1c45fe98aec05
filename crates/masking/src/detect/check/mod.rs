//! Check digits and other laws of identifiers, by family.

mod address;
mod crc;
mod date;
mod digits;
mod iso7064;
mod luhn;
mod verhoeff;

pub(crate) use self::{
    address::{base58check, bech32, eip55},
    crc::crc32_tail,
    date::{day, short_day},
    digits::{Digits, entropy},
    iso7064::{mod11_2, mod11_10, mod97_10},
    luhn::luhn,
    verhoeff::verhoeff,
};

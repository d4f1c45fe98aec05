//! Check digits and other laws of identifiers, by family.

mod digits;
mod luhn;
mod mod97;

pub(crate) use self::{
    digits::{Digits, entropy},
    luhn::luhn,
    mod97::mod97_10,
};

//! What stands in the place of a hit.

mod card;
mod date;
mod keys;
mod partial;
mod session;
mod vault;

use std::{fmt, sync::Arc};

pub use self::{
    card::CardPart,
    keys::{KeyError, Keys, MIN_KEY_BYTES},
    session::{Issued, MAX_ISSUED, Session},
    vault::{BoxFuture, MemoryVault, Sealed, Vault, VaultError, VaultKeys},
};
use crate::Entity;

/// What is done with the hits of an entity.
///
/// Where several profiles apply to one value, the strictest operator counts: [`Operator::strictness`] is one fixed
/// order, so that adding a profile never shows more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operator {
    /// The whole answer or request is refused.
    Block,
    /// Another card with the same length, separators and a right Luhn digit, by FF1 (NIST SP 800-38G) under a key.
    Card(Keys, CardPart),
    /// `<EMAIL:e:KEY:…>`: AES-256-SIV (RFC 5297). The same value gives the same token, and the key opens it.
    Encrypt(Keys),
    /// `<EMAIL:h:…>`: 128 bits of HMAC-SHA-256 over the entity and the normalised value. Joins, and never opens.
    Hash(Keys),
    /// The first characters stay, every other letter and digit becomes `*`; separators stay.
    KeepFirst(u8),
    /// The last characters stay, every other letter and digit becomes `*`; separators stay.
    KeepLast(u8),
    /// `<EMAIL_1>`: the same value has the same number in a whole run, and another one in another run.
    Number,
    /// Nothing: the hit is removed.
    Redact,
    /// A date, at most this many days earlier or later; one distance for a whole run.
    ShiftDate(u16),
    /// The name of the entity in angle brackets: `<EMAIL>`.
    #[default]
    Tag,
    /// Always this text.
    Text(Arc<str>),
    /// `<EMAIL:v:…>`: a random token; what it stands for is in the vault until it expires there.
    Vault,
}

/// Why an operator cannot stand on an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OperatorError {
    /// It works on cards only.
    NotACard,
    /// It works on dates only: entities with `DATE` in their names.
    NotADate,
    /// It would show more than the first six or the last four digits of a card.
    TooMuchOfACard,
    /// It needs the value whole, and a value of this entity may be longer than anything that is ever held.
    Unbounded,
}

impl fmt::Display for OperatorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotACard => "`card` works on CREDIT_CARD only",
            Self::NotADate => "`shift_days` works on dates only",
            Self::TooMuchOfACard => "of a card, the first 6 or the last 4 digits may stay and no more",
            Self::Unbounded => {
                "a value of this entity can be longer than what is held of a stream: only `type`, `redact`, `block` \
                 and `text` work on it"
            }
        })
    }
}

impl std::error::Error for OperatorError {}

impl Operator {
    /// The higher, the less can be learned of the value.
    #[must_use]
    pub const fn strictness(&self) -> u8 {
        match self {
            Self::Block => 255,
            Self::Redact => 250,
            Self::Tag => 240,
            Self::Text(_) => 230,
            // From here on values can be told apart: in a run, by the holder of a key, by everybody.
            Self::Vault => 220,
            Self::Number => 210,
            Self::Hash(_) => 200,
            Self::Encrypt(_) => 190,
            Self::Card(_, CardPart::None) => 180,
            Self::Card(..) => 170,
            Self::ShiftDate(_) => 160,
            // The fewer characters stay, the stricter.
            Self::KeepFirst(kept) | Self::KeepLast(kept) => 150_u8.saturating_sub(*kept),
        }
    }

    /// The word for it in configuration and reports.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Card(..) => "card",
            Self::Encrypt(_) => "encrypt",
            Self::Hash(_) => "hash",
            Self::KeepFirst(_) => "keep_first",
            Self::KeepLast(_) => "keep_last",
            Self::Number => "number",
            Self::Redact => "redact",
            Self::ShiftDate(_) => "shift_days",
            Self::Tag => "type",
            Self::Text(_) => "text",
            Self::Vault => "vault",
        }
    }

    /// Whether what it writes can be turned back.
    pub(crate) const fn is_reversible(&self) -> bool {
        matches!(self, Self::Encrypt(_) | Self::Number | Self::Vault)
    }

    /// Whether it remembers values from one text of a run to the next.
    pub(crate) const fn remembers(&self) -> bool {
        matches!(self, Self::Number | Self::ShiftDate(_) | Self::Vault)
    }

    /// Whether it can stand on this entity.
    ///
    /// # Errors
    ///
    /// [`OperatorError`].
    pub fn fits(&self, entity: &Entity) -> Result<(), OperatorError> {
        let card = *entity == Entity::CreditCard;
        match self {
            _ if self.needs_whole() && entity.is_unbounded() => Err(OperatorError::Unbounded),
            Self::Card(..) if !card => Err(OperatorError::NotACard),
            Self::ShiftDate(_) if !entity.name().contains("DATE") => Err(OperatorError::NotADate),
            // What PCI DSS lets a person without need see.
            Self::KeepFirst(kept) if card && *kept > 6 => Err(OperatorError::TooMuchOfACard),
            Self::KeepLast(kept) if card && *kept > 4 => Err(OperatorError::TooMuchOfACard),
            _ => Ok(()),
        }
    }

    /// Whether it must see a value whole: such an operator cannot stand on a hit that is longer than any window, of
    /// which only the beginning is ever held.
    const fn needs_whole(&self) -> bool {
        !matches!(self, Self::Block | Self::Redact | Self::Tag | Self::Text(_))
    }

    /// Writes what stands for this value.
    pub(crate) fn write(&self, entity: &Entity, value: &str, session: &Session, out: &mut String) {
        let instead = match self {
            Self::Redact => return,
            Self::Text(text) => return out.push_str(text),
            Self::KeepFirst(kept) => return partial::keep_first(value, usize::from(*kept), out),
            Self::KeepLast(kept) => return partial::keep_last(value, usize::from(*kept), out),
            Self::Hash(keys) => return keys.hash(entity, value, out),
            Self::Encrypt(keys) => return keys.encrypt(entity, value, out),
            Self::Number => session.number(entity, value),
            Self::Vault => session.token(entity, value),
            Self::Card(keys, part) => card::encrypt(keys, *part, value),
            Self::ShiftDate(most) => session.shift(*most).and_then(|days| date::shifted(value, days)),
            // What is blocked is not sent at all; should it be, then without the value.
            Self::Block | Self::Tag => None,
        };
        match instead {
            Some(instead) => out.push_str(&instead),
            // What could not be done is done more strictly.
            None => {
                out.push('<');
                out.push_str(entity.name());
                out.push('>');
            }
        }
    }
}

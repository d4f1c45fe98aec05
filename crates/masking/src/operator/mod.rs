//! What stands in the place of a hit.

mod partial;

use std::sync::Arc;

/// What is done with the hits of an entity.
///
/// Where several profiles apply to one value, the strictest operator counts: [`Operator::strictness`] is one fixed
/// order, so that adding a profile never shows more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operator {
    /// The whole answer or request is refused.
    Block,
    /// Nothing: the hit is removed.
    Redact,
    /// The name of the entity in angle brackets: `<EMAIL>`.
    #[default]
    Tag,
    /// Always this text.
    Text(Arc<str>),
    /// The first characters stay, every other letter and digit becomes `*`; separators stay.
    KeepFirst(u8),
    /// The last characters stay, every other letter and digit becomes `*`; separators stay.
    KeepLast(u8),
}

impl Operator {
    /// The higher, the less can be learned of the value.
    #[must_use]
    pub const fn strictness(&self) -> u8 {
        match self {
            Self::Block => 255,
            Self::Redact => 250,
            Self::Tag => 240,
            Self::Text(_) => 230,
            // The fewer characters stay, the stricter.
            Self::KeepFirst(kept) | Self::KeepLast(kept) => 99_u8.saturating_sub(*kept),
        }
    }

    /// Writes what stands for this value.
    pub(crate) fn write(&self, tag: &str, value: &str, out: &mut String) {
        match self {
            Self::Redact => {}
            // What is blocked is not sent at all; should it be, then without the value.
            Self::Block | Self::Tag => {
                out.push('<');
                out.push_str(tag);
                out.push('>');
            }
            Self::Text(text) => out.push_str(text),
            Self::KeepFirst(kept) => partial::keep_first(value, usize::from(*kept), out),
            Self::KeepLast(kept) => partial::keep_last(value, usize::from(*kept), out),
        }
    }
}

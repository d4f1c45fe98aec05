use std::{borrow::Cow, fmt, sync::Arc};

use super::{CustomDetector, Tail, boundary};
use crate::Entity;

/// A match is at most this long; a detector sees nothing beyond. The longest bounded hit is an e-mail address:
/// 64 + 1 + 255 bytes (RFC 5321 section 4.5.3.1).
pub(crate) const WINDOW: usize = 384;

/// How many bytes before a match its validator may look at for context.
pub(crate) const BEHIND: usize = 96;

/// A condition every match meets, by which an engine finds where to try: told of the match's own text, except
/// [`Anchor::Value`], which is told of what stands before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    /// None known: tried at every character that begins a word or stands outside of one.
    Any,
    /// There is an `@` in it.
    At,
    /// It begins with an ASCII letter or digit, and has at least so many ASCII digits.
    Alnum(u8),
    /// It begins with an ASCII digit, `+` or `(`, and has at least so many ASCII digits.
    Digits(u8),
    /// It begins with a hexadecimal digit or `:`, and has a `:`, `-`, `.` or space among its first five bytes.
    Hex,
    /// It begins with one of these texts.
    Prefix(&'static [&'static str]),
    /// It begins with one of these texts in upper or lower case.
    PrefixNoCase(&'static [&'static str]),
    /// It begins with at least so many of `A-Z a-z 0-9 _ - + / = . ~`.
    Token(u8),
    /// Only spaces and quotation marks stand between it and a `:` or `=`, or the start of the text.
    Value,
}

/// What a pattern matched, and where it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Match<'a> {
    /// The longest match.
    pub(crate) text: &'a str,
    /// The character behind it; `None` at the end of the text.
    pub(crate) next: Option<char>,
    /// Up to [`BEHIND`] bytes before it. A JSON value's begin with its member name and `: `.
    pub(crate) before: &'a str,
    /// Nothing of the same text stands before it; a member name may.
    pub(crate) at_start: bool,
}

impl Match<'_> {
    /// Whether the text is this match and nothing else.
    pub(crate) fn is_whole_text(&self) -> bool {
        self.at_start && self.next.is_none()
    }

    /// Whether one of these words (lower case) stands before it, in the same paragraph and not far away.
    pub(crate) fn has_context(&self, words: &[&str]) -> bool {
        boundary::mentions(self.before, words)
    }

    /// The whole match, when a word ends behind it.
    pub(crate) fn whole_word(&self) -> Option<usize> {
        self.next.is_none_or(boundary::outside_words).then_some(self.text.len())
    }
}

/// One row of the table.
pub(crate) struct Detector {
    /// The field's term; unique.
    pub(crate) name: &'static str,
    /// What its hits are. Several detectors may share an entity.
    pub(crate) entity: Entity,
    pub(crate) anchor: Anchor,
    /// Syntax of `regex-automata`, without look-around. It is matched anchored at a start, within [`WINDOW`] bytes, and
    /// of all matches the longest counts.
    pub(crate) pattern: &'static str,
    /// Whether a match may begin right behind this character. `None` is the start of the text, or the end of an escape
    /// such as `\n` or `%0A`.
    pub(crate) begins_behind: fn(Option<char>) -> bool,
    /// How many bytes of the match are the hit, if it is one.
    pub(crate) validate: fn(&Match<'_>) -> Option<usize>,
    pub(crate) tail: Tail,
    /// Words `validate` looks for before the match; empty: none needed.
    pub(crate) context: &'static [&'static str],
    /// Texts with one hit: all of it, or what stands between `⟦` and `⟧`.
    #[cfg(test)]
    pub(crate) examples: &'static [&'static str],
    /// Texts without any hit of this detector.
    #[cfg(test)]
    pub(crate) counter_examples: &'static [&'static str],
}

/// What a masker looks for: a row of the table, a custom detector, or a secret to the letter.
#[derive(Clone)]
pub(crate) enum Rule {
    Custom(Arc<CustomDetector>),
    Known(Arc<str>),
    Table(&'static Detector),
}

impl Rule {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Custom(custom) => custom.name(),
            Self::Known(_) => "known-secret",
            Self::Table(detector) => detector.name,
        }
    }

    pub(crate) fn entity(&self) -> Entity {
        match self {
            Self::Custom(custom) => custom.entity().clone(),
            Self::Known(_) => Entity::KnownSecret,
            Self::Table(detector) => detector.entity.clone(),
        }
    }

    pub(crate) fn anchor(&self) -> Anchor {
        match self {
            Self::Custom(_) | Self::Known(_) => Anchor::Any,
            Self::Table(detector) => detector.anchor,
        }
    }

    pub(crate) fn pattern(&self) -> Cow<'_, str> {
        match self {
            Self::Custom(custom) => custom.pattern().into(),
            Self::Known(secret) => regex_syntax::escape(secret).into(),
            Self::Table(detector) => detector.pattern.into(),
        }
    }

    pub(crate) fn begins_behind(&self, before: Option<char>) -> bool {
        match self {
            Self::Custom(_) | Self::Known(_) => true,
            Self::Table(detector) => (detector.begins_behind)(before),
        }
    }

    pub(crate) fn validate(&self, found: &Match<'_>) -> Option<usize> {
        match self {
            Self::Custom(custom) => custom.validate(found),
            Self::Known(secret) => Some(secret.len()),
            Self::Table(detector) => (detector.validate)(found),
        }
    }

    pub(crate) fn tail(&self) -> Tail {
        match self {
            Self::Custom(_) | Self::Known(_) => Tail::None,
            Self::Table(detector) => detector.tail,
        }
    }

    pub(crate) fn context(&self) -> Vec<&str> {
        match self {
            Self::Custom(custom) => custom.context().collect(),
            Self::Known(_) => Vec::new(),
            Self::Table(detector) => detector.context.to_vec(),
        }
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name())
    }
}

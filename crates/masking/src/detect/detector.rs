use std::{borrow::Cow, cell::OnceCell, fmt, sync::Arc};

use super::{
    CustomDetector, Tail,
    boundary::{self, Words},
    check::Digits,
    label,
};
use crate::Entity;

/// A match is at most this long; a detector sees nothing beyond. The longest bounded hit is an e-mail address:
/// 64 + 1 + 255 bytes (RFC 5321 section 4.5.3.1).
pub(crate) const WINDOW: usize = 384;

/// How many bytes before a match its validator may look at for context.
pub(crate) const BEHIND: usize = 192;

/// A condition every match meets, by which an engine finds where to try: told of the match's own text, except
/// [`Anchor::Value`], which is told of what stands before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    /// None known: tried at every character that begins a word or stands outside of one.
    Any,
    /// There is an `@` in it, at most so many characters behind its start.
    At(usize),
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
    /// It begins with an ASCII letter, and has a `://` among its first 24 bytes.
    Scheme,
    /// Only spaces and quotation marks stand between it and a `:` or `=`.
    Value,
}

impl Anchor {
    /// Whether a match may begin behind this text.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn begins_behind(self, before: &str) -> bool {
        self != Self::Value || before.trim_end_matches([' ', '"', '\'', '`']).ends_with([':', '='])
    }
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
    /// What was found out of what stands before it.
    pub(crate) known: &'a Context<'a>,
}

/// What stands before a place, looked at when a validator asks, and once for all of them.
#[derive(Debug, Default)]
pub(crate) struct Context<'a> {
    label: OnceCell<&'a str>,
    labels: OnceCell<Words>,
    words: OnceCell<Words>,
}

impl<'a> Match<'a> {
    /// Whether the text is this match and nothing else.
    pub(crate) fn is_whole_text(&self) -> bool {
        self.at_start && self.next.is_none()
    }

    /// Whether one of these words (lower case) stands right before it, at most a line and no other number away.
    pub(crate) fn labelled(&self, words: &[&str]) -> bool {
        self.known.labels.get_or_init(|| Words::of(self.label())).mention(words)
    }

    /// What names it: its column in an SQL statement, its element in XML, or what stands right before it.
    pub(crate) fn label(&self) -> &'a str {
        self.known.label.get_or_init(|| label::of(self.before))
    }

    /// Whether it is all there is between two quotation marks.
    pub(crate) fn is_quoted(&self) -> bool {
        let quotes = ['"', '\''];
        self.before.ends_with(quotes) && self.next.is_some_and(|c| quotes.contains(&c))
    }

    /// Whether one of these words (lower case) stands before it in the same paragraph, as far as can be seen.
    pub(crate) fn mentions(&self, words: &[&str]) -> bool {
        self.known.words.get_or_init(|| Words::of(self.before)).mention(words)
    }

    /// Whether something tells that this is no other number: it has separators, a label, or is all there is.
    pub(crate) fn vouched(&self, words: &[&str]) -> bool {
        self.text.contains([' ', '-', '.', '/']) || self.labelled(words) || self.is_whole_text()
    }

    /// Whether its label says what it is, or it is all there is and no bare number, which could be anything.
    pub(crate) fn named(&self, words: &[&str]) -> bool {
        self.labelled(words) || (self.is_whole_text() && !self.text.bytes().all(|b| b.is_ascii_digit()))
    }

    /// The whole match, when a word ends behind it.
    pub(crate) fn whole_word(&self) -> Option<usize> {
        self.next.is_none_or(boundary::outside_words).then_some(self.text.len())
    }

    /// The whole match, when neither a word nor a number with groups goes on behind it.
    pub(crate) fn whole_number(&self) -> Option<usize> {
        self.whole_word().filter(|_| !matches!(self.next, Some('-' | '/')))
    }

    /// The longest beginning of the match that ends in a letter or digit, with a word ending behind it, and fits.
    pub(crate) fn longest(&self, fits: impl Fn(&str) -> bool) -> Option<usize> {
        let mut behind = self.next;
        for (at, c) in self.text.char_indices().rev() {
            let end = at + c.len_utf8();
            let ends = c.is_ascii_alphanumeric() && behind.is_none_or(boundary::outside_words);
            if ends && self.text.get(..end).is_some_and(&fits) {
                return Some(end);
            }
            behind = Some(c);
        }
        None
    }

    /// The whole match, when its digits obey a law and no number goes on behind it.
    pub(crate) fn lawful(&self, law: impl FnOnce(&Digits) -> bool) -> Option<usize> {
        self.whole_number().filter(|_| law(&Digits::of(self.text)))
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
    /// Whether a hit may follow this text (see [`Match::before`]); it is told the context words too. Asked before anything is
    /// matched.
    pub(crate) follows: fn(&str, &[&str]) -> bool,
    /// How many bytes of the match are the hit, if it is one; it is told the context words too.
    pub(crate) validate: fn(&Match<'_>, &[&str]) -> Option<usize>,
    pub(crate) tail: Tail,
    /// Words that speak for a hit when they stand before it; empty: none needed.
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

    /// Whether a hit may begin with letters that no prefix tells from the beginning of any word.
    pub(crate) fn begins_like_a_word(&self) -> bool {
        let words = [Anchor::Any, Anchor::Hex, Anchor::Scheme];
        let anchor = self.anchor();
        matches!(self, Self::Table(_))
            && (words.contains(&anchor)
                || matches!(anchor, Anchor::Alnum(_) | Anchor::At(_) | Anchor::Token(_)))
    }

    pub(crate) fn pattern(&self) -> Cow<'_, str> {
        match self {
            Self::Custom(custom) => custom.pattern(),
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

    /// Whether a hit may follow this text: up to [`BEHIND`] bytes of what stands before.
    pub(crate) fn follows(&self, before: &str) -> bool {
        match self {
            Self::Custom(_) | Self::Known(_) => true,
            Self::Table(detector) => (detector.follows)(before, detector.context),
        }
    }

    pub(crate) fn validate(&self, found: &Match<'_>) -> Option<usize> {
        match self {
            Self::Custom(custom) => custom.validate(found),
            Self::Known(secret) => Some(secret.len()),
            Self::Table(detector) => (detector.validate)(found, detector.context),
        }
    }

    /// What follows a hit of this length.
    pub(crate) fn tail(&self, len: usize) -> Tail {
        match self {
            Self::Custom(_) | Self::Known(_) => Tail::None,
            // Bounded but for what no detector sees the end of.
            Self::Table(detector) if detector.tail == Tail::Address && len + 4 < WINDOW => Tail::None,
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

/// Declares a family of detectors as its `TABLE`.
macro_rules! detectors {
    ($($name:literal => $entity:ident {
        anchor: $anchor:expr,
        pattern: $pattern:expr,
        $(begins: $begins:expr,)?
        $(follows: $follows:expr,)?
        $(validate: $validate:expr,)?
        $(law: $law:expr,)?
        $(named: $named:expr,)?
        $(tail: $tail:expr,)?
        $(near: $near:expr,)?
        finds: $finds:expr,
        leaves: $leaves:expr,
    })*) => {
        pub(crate) const TABLE: &[crate::detect::Detector] = &[$(crate::detect::Detector {
            name: $name,
            entity: crate::Entity::$entity,
            anchor: $anchor,
            pattern: $pattern,
            begins_behind: crate::detect::detector::or!($($begins)?, crate::detect::boundary::number_start),
            follows: crate::detect::detector::or!($($follows)?, |_, _| true),
            validate: crate::detect::detector::validator!($($validate)?; $($law)?; $($named)?),
            tail: crate::detect::detector::or!($($tail)?, crate::detect::Tail::None),
            context: crate::detect::detector::or!($($near)?, &[]),
            #[cfg(test)]
            examples: &$finds,
            #[cfg(test)]
            counter_examples: &$leaves,
        }),*];
    };
}

/// A validator of its own; or a law of the digits, of what something vouches for; or of what is named or all there is.
macro_rules! validator {
    ($validate:expr;;) => {
        $validate
    };
    (; $law:expr;) => {
        |found: &Match<'_>, near: &[&str]| found.lawful($law).filter(|_| found.vouched(near))
    };
    (;; $law:expr) => {
        |found: &Match<'_>, near: &[&str]| found.lawful($law).filter(|_| found.named(near))
    };
}

/// The first expression, or the second where there is none.
macro_rules! or {
    (, $default:expr) => {
        $default
    };
    ($given:expr, $default:expr) => {
        $given
    };
}

pub(super) use {detectors, or, validator};

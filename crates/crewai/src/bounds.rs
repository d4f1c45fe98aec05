use std::{collections::BTreeSet, fmt};

use crate::Pattern;

/// What the values of an input must be besides of their type. All that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "made by naming the bounds there are")]
pub struct Bounds {
    /// The only values there are.
    pub choices: Option<Choices>,
    /// Smallest and largest number.
    pub value: Span<i64>,
    /// Fewest and most characters (Unicode scalar values) of a string, or of each string of a list.
    pub length: Span<usize>,
    /// Fewest and most elements of a list.
    pub items: Span<usize>,
    /// What a string, or each string of a list, must match from its first character to its last.
    pub pattern: Option<Pattern>,
}

/// The only values there are.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "only numbers and strings are chosen from")]
pub enum Choices {
    /// Whole numbers.
    Integers(BTreeSet<i64>),
    /// Strings.
    Strings(BTreeSet<String>),
}

/// From a smallest to a largest value, both included; a side that is not given is open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a span has two ends")]
pub struct Span<T> {
    /// The smallest.
    pub min: Option<T>,
    /// The largest.
    pub max: Option<T>,
}

impl Choices {
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Integers(all) => all.is_empty(),
            Self::Strings(all) => all.is_empty(),
        }
    }
}

impl Bounds {
    pub(crate) fn number(&self, value: i64) -> bool {
        let chosen = match &self.choices {
            Some(Choices::Integers(all)) => all.contains(&value),
            Some(Choices::Strings(_)) => false,
            None => true,
        };
        chosen && self.value.holds(&value)
    }

    pub(crate) fn text(&self, text: &str) -> bool {
        let chosen = match &self.choices {
            Some(Choices::Strings(all)) => all.contains(text),
            Some(Choices::Integers(_)) => false,
            None => true,
        };
        chosen
            && (self.length == Span::default() || self.length.holds(&text.chars().count()))
            && self.pattern.as_ref().is_none_or(|pattern| pattern.matches(text))
    }
}

impl<T: PartialOrd> Span<T> {
    /// Whether the value lies within.
    pub fn holds(&self, value: &T) -> bool {
        self.min.as_ref().is_none_or(|min| min <= value) && self.max.as_ref().is_none_or(|max| value <= max)
    }

    /// Whether no value can lie within.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!((&self.min, &self.max), (Some(min), Some(max)) if min > max)
    }
}

impl<T: fmt::Display> fmt::Display for Span<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.min, &self.max) {
            (Some(min), Some(max)) => write!(f, "{min} to {max}"),
            (Some(min), None) => write!(f, "at least {min}"),
            (None, Some(max)) => write!(f, "at most {max}"),
            (None, None) => f.write_str("any"),
        }
    }
}

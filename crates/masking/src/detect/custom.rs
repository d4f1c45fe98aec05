use std::{borrow::Cow, collections::BTreeSet, fmt, sync::Arc};

use regex_automata::nfa::thompson;

use super::{Entity, Match, WINDOW, boundary};

/// A compiled pattern may need this many bytes: enough for some thousand words, too little for nested repetitions.
const MAX_COMPILED: usize = 1 << 20;

/// A detector of one's own: a regular expression or a list of words.
///
/// A hit begins and ends where a word does. Everything that could make it slow or unbounded is refused when it is made.
///
/// # Examples
///
/// ```
/// use crewgate_masking::CustomDetector;
///
/// let order = CustomDetector::regex("ORDER_ID", "ORD-[0-9]{8}").unwrap().allowing(["ORD-00000000"]);
/// assert_eq!(order.entity().name(), "ORDER_ID");
/// let error = CustomDetector::regex("ORDER_ID", "ORD-[0-9]+").unwrap_err();
/// assert_eq!(error.to_string(), "the pattern can match more than 384 bytes; bound its repetitions, as in {1,40}");
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct CustomDetector {
    name: String,
    entity: Entity,
    pattern: String,
    context: Vec<String>,
    allowed: BTreeSet<String>,
    least_entropy: f64,
}

/// Why a custom detector is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CustomError {
    /// The name is not of the form `ORDER_ID`, or longer than 64 bytes.
    Name,
    /// A built-in entity has that name.
    NameTaken,
    /// It is not a regular expression; says what is wrong with it.
    Syntax(String),
    /// It looks around itself (`^`, `$`, `\b`), which a stream cannot.
    LookAround,
    /// It matches the empty text.
    Empty,
    /// It can match more than a detector sees.
    Unbounded,
    /// It needs more memory than one detector may have.
    TooLarge,
}

impl fmt::Display for CustomError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str("a detector's name is upper case, as in ORDER_ID, and at most 64 bytes long"),
            Self::NameTaken => f.write_str("a built-in entity has this name"),
            Self::Syntax(error) => write!(f, "the pattern is not valid: {error}"),
            Self::LookAround => f.write_str(
                "the pattern looks around itself (^, $ or \\b); leave that out: a hit begins and ends where a word does",
            ),
            Self::Empty => f.write_str("the pattern matches the empty text"),
            Self::Unbounded => {
                write!(f, "the pattern can match more than {WINDOW} bytes; bound its repetitions, as in {{1,40}}")
            }
            Self::TooLarge => f.write_str("the pattern is too large: fewer words, smaller repetitions"),
        }
    }
}

impl std::error::Error for CustomError {}

impl CustomDetector {
    /// Finds what a regular expression matches (syntax of the `regex` crate); of several matches at one place the longest.
    ///
    /// # Errors
    ///
    /// [`CustomError`] when the name or the pattern cannot be used.
    pub fn regex(name: &str, pattern: &str) -> Result<Self, CustomError> {
        let letters = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        if name.len() > 64
            || !name.starts_with(|c: char| c.is_ascii_uppercase())
            || !name.chars().all(letters)
        {
            return Err(CustomError::Name);
        }
        if Entity::named(name).is_some() {
            return Err(CustomError::NameTaken);
        }
        let hir = regex_syntax::parse(pattern).map_err(|error| CustomError::Syntax(error.to_string()))?;
        let properties = hir.properties();
        if !properties.look_set().is_empty() {
            return Err(CustomError::LookAround);
        }
        if properties.minimum_len().is_none_or(|least| least == 0) {
            return Err(CustomError::Empty);
        }
        if properties.maximum_len().is_none_or(|most| most > WINDOW) {
            return Err(CustomError::Unbounded);
        }
        thompson::Compiler::new()
            .configure(thompson::Config::new().nfa_size_limit(Some(MAX_COMPILED)))
            .build_from_hir(&hir)
            .map_err(|_| CustomError::TooLarge)?;
        Ok(Self {
            name: name.to_ascii_lowercase().replace('_', "-"),
            entity: Entity::Custom(Arc::from(name)),
            pattern: pattern.to_owned(),
            context: Vec::new(),
            allowed: BTreeSet::new(),
            least_entropy: 0.0,
        })
    }

    /// Finds these words to the letter, in upper or lower case.
    ///
    /// # Errors
    ///
    /// [`CustomError`] when the name or the words cannot be used.
    pub fn words<'a>(name: &str, words: impl IntoIterator<Item = &'a str>) -> Result<Self, CustomError> {
        let words: Vec<String> = words.into_iter().map(regex_syntax::escape).collect();
        if words.is_empty() {
            return Err(CustomError::Empty);
        }
        Self::regex(name, &format!("(?i:{})", words.join("|")))
    }

    /// Only where one of these words stands shortly before.
    #[must_use]
    pub fn near<'a>(mut self, words: impl IntoIterator<Item = &'a str>) -> Self {
        self.context.extend(words.into_iter().map(str::to_lowercase));
        self
    }

    /// Never these values.
    #[must_use]
    pub fn allowing<'a>(mut self, values: impl IntoIterator<Item = &'a str>) -> Self {
        self.allowed.extend(values.into_iter().map(str::to_owned));
        self
    }

    /// Only values of at least this entropy, in bits per character; random letters and digits have more than 3.
    #[must_use]
    pub const fn with_least_entropy(mut self, bits: f64) -> Self {
        self.least_entropy = bits;
        self
    }

    /// What its hits are.
    #[must_use]
    pub const fn entity(&self) -> &Entity {
        &self.entity
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn pattern(&self) -> Cow<'_, str> {
        self.pattern.as_str().into()
    }

    pub(crate) fn context(&self) -> impl Iterator<Item = &str> {
        self.context.iter().map(String::as_str)
    }

    pub(crate) fn validate(&self, found: &Match<'_>) -> Option<usize> {
        let joined = |inner: Option<char>, outer: Option<char>| {
            inner.is_some_and(boundary::in_word) && outer.is_some_and(boundary::in_word)
        };
        let behind = if found.at_start || boundary::ends_in_escape(found.before) {
            None
        } else {
            found.before.chars().next_back()
        };
        let mut inner = found.text.chars();
        if joined(inner.next(), behind) || joined(found.text.chars().next_back(), found.next) {
            return None;
        }
        let words: Vec<&str> = self.context().collect();
        let fits = (words.is_empty() || found.mentions(&words))
            && !self.allowed.contains(found.text)
            && (self.least_entropy <= 0.0 || super::check::entropy(found.text) >= self.least_entropy);
        fits.then_some(found.text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Masker;

    #[test]
    fn what_could_be_slow_or_never_end_is_refused() {
        for (pattern, error) in [
            ("a{0,9}", CustomError::Empty),
            ("", CustomError::Empty),
            (r"\bfoo", CustomError::LookAround),
            ("^foo", CustomError::LookAround),
            ("foo$", CustomError::LookAround),
            ("foo.*", CustomError::Unbounded),
            ("[a-z]{400}", CustomError::Unbounded),
            (r"(?:\w{1,6}\W{0,3}){1,9}", CustomError::TooLarge),
        ] {
            assert_eq!(CustomDetector::regex("X", pattern).unwrap_err(), error, "{pattern}");
        }
        assert!(matches!(CustomDetector::regex("X", "("), Err(CustomError::Syntax(_))));
        assert_eq!(CustomDetector::regex("order", "a").unwrap_err(), CustomError::Name);
        assert_eq!(CustomDetector::regex("EMAIL", "a").unwrap_err(), CustomError::NameTaken);
        assert_eq!(CustomDetector::words("X", []).unwrap_err(), CustomError::Empty);
    }

    #[test]
    fn a_list_a_context_an_allow_list_and_a_least_entropy_decide() {
        let crew = CustomDetector::words("CODENAME", ["Blue Heron", "Osprey"]).unwrap().allowing(["OSPREY"]);
        let badge = CustomDetector::regex("BADGE", "[A-Z][0-9]{5}").unwrap().near(["badge"]);
        let token = CustomDetector::regex("TOKEN", "[a-z0-9]{12}").unwrap().with_least_entropy(3.0);
        let masker = Masker::of([]).detecting([crew, badge, token]);
        let text = "blue heron, Ospreys, OSPREY, osprey; B12345; Badge: B12345, abcabcabcabc k3j9x0q7m2ab";
        assert_eq!(
            masker.mask_text(text).text,
            "<CODENAME>, Ospreys, OSPREY, <CODENAME>; B12345; Badge: <BADGE>, abcabcabcabc <TOKEN>"
        );
    }
}

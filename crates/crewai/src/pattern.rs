use std::fmt;

use regex::{Regex, RegexBuilder};

/// Characters of a pattern, as written.
pub const MAX_PATTERN: usize = 1024;

/// Bytes one compiled pattern may take: some hundred classes of characters, and not `\w{1000}`.
const MAX_COMPILED: usize = 256 * 1024;

/// Brackets inside each other.
const MAX_NESTING: u32 = 32;

/// A regular expression that a string must match from its first character to its last. Matching takes time linear in the
/// string, whatever the pattern.
#[derive(Clone)]
pub struct Pattern {
    source: String,
    whole: Regex,
}

/// Why a text is no [`Pattern`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidPattern(String);

impl Pattern {
    /// Reads a pattern. It need not say `^` and `$`: it always means the whole string.
    ///
    /// # Errors
    ///
    /// When it is no regular expression, longer than [`MAX_PATTERN`], or too large once compiled.
    pub fn new(source: impl Into<String>) -> Result<Self, InvalidPattern> {
        let source = source.into();
        if source.len() > MAX_PATTERN {
            return Err(InvalidPattern(format!("it is longer than {MAX_PATTERN} bytes")));
        }
        // By itself first: `a)|(b` is none, though between our brackets it would be one.
        compiled(&source)?;
        let whole = compiled(&format!(r"\A(?:{source})\z"))?;
        Ok(Self { source, whole })
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// Whether all of `text` matches.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.whole.is_match(text)
    }
}

fn compiled(source: &str) -> Result<Regex, InvalidPattern> {
    let built = RegexBuilder::new(source).size_limit(MAX_COMPILED).nest_limit(MAX_NESTING).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => InvalidPattern(
            "it is too large once compiled; `[a-z0-9]` is far smaller than `\\w`, which is all of Unicode"
                .to_owned(),
        ),
        // The last line says what is wrong; those before draw the pattern.
        error => InvalidPattern(
            error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
        ),
    })
}

impl fmt::Display for InvalidPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a pattern: {}", self.0)
    }
}

impl std::error::Error for InvalidPattern {}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pattern").field(&self.source).finish()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

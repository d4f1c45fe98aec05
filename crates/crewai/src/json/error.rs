use std::fmt;

/// Why a text is not taken as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum JsonErrorKind {
    /// It starts with a byte order mark (RFC 8259 section 8.1).
    ByteOrderMark,
    /// Two members of one object have this name.
    DuplicateName(String),
    /// An escape names half of a surrogate pair.
    LoneSurrogate,
    /// It is not the JSON grammar.
    Syntax,
    /// It nests deeper than the limit.
    TooDeep,
    /// Something follows the value.
    Trailing,
    /// It is not UTF-8.
    Utf8,
}

/// Why, and where: the offset in bytes at which reading stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a reason and a place")]
pub struct JsonError {
    /// Why.
    pub kind: JsonErrorKind,
    /// Where.
    pub offset: usize,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            JsonErrorKind::ByteOrderMark => f.write_str("it starts with a byte order mark")?,
            JsonErrorKind::DuplicateName(name) => {
                // The name is a stranger's text of any length: enough of it to find it.
                let start: String = name.chars().take(40).collect();
                write!(f, "the member name `{start}` occurs twice in one object")?;
            }
            JsonErrorKind::LoneSurrogate => f.write_str("an escape names half of a surrogate pair")?,
            JsonErrorKind::Syntax => f.write_str("it is not JSON")?,
            JsonErrorKind::TooDeep => f.write_str("it is nested too deeply")?,
            JsonErrorKind::Trailing => f.write_str("something follows the value")?,
            JsonErrorKind::Utf8 => f.write_str("it is not UTF-8")?,
        }
        write!(f, " (byte {})", self.offset)
    }
}

impl std::error::Error for JsonError {}

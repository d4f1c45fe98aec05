//! JSON as the gateway takes it (RFC 8259), stricter than most parsers.
//!
//! Two parsers that read one text differently are how a gateway is fooled, so every text has one reading here or none:
//! member names are unique after decoding, escapes name whole characters (no lone surrogates), the text is UTF-8
//! without a byte order mark, nothing follows the value, and nesting is bounded. Numbers keep their source text.

mod error;
mod parse;
mod write;

pub use self::{
    error::{JsonError, JsonErrorKind},
    parse::{MAX_DEPTH, parse},
    write::{UnboundId, to_bytes, write},
};

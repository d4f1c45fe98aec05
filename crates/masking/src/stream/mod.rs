//! Masking while bytes arrive: framer → dialect → channel → what leaves.

mod base64;
mod channel;
mod encoded;
mod events;
mod json;
mod lexer;
mod lines;
mod messages;
mod path;
mod raw;
mod shadow;
mod sse;
mod survey;
mod text;
mod value;

use std::{borrow::Cow, fmt};

use bytes::Bytes;

pub use self::messages::MaskMessages;
pub(crate) use self::{json::JsonStream, lexer::escape, text::TextStream, value::whole};
use self::{lines::LineStream, sse::SseStream, value::Value};
use crate::{Findings, Masked, Masker};

/// How the bytes are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dialect {
    /// JSON, or one JSON value behind the other.
    Json,
    /// One JSON value per line (NDJSON), each an event.
    Lines,
    /// Server-sent events (WHATWG HTML section 9.2).
    Sse,
    /// UTF-8 text.
    Text,
}

impl Dialect {
    /// The dialect of a `content-type`. What is not known is read as text: masked as such, or refused when it is not
    /// UTF-8.
    #[must_use]
    pub fn of(content_type: Option<&str>) -> Self {
        let essence = content_type
            .unwrap_or_default()
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        match essence.as_str() {
            "application/json" => Self::Json,
            "application/x-ndjson"
            | "application/ndjson"
            | "application/jsonl"
            | "application/x-jsonlines" => Self::Lines,
            "text/event-stream" => Self::Sse,
            other if other.ends_with("+json") => Self::Json,
            _ => Self::Text,
        }
    }
}

/// Why masking stopped. The rest of the answer must not be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MaskError {
    /// It holds something that a profile blocks.
    Blocked,
    /// It is not encoded as it says, or the text is much longer than what came.
    Encoded,
    /// A server-sent event is longer than its bound, or there are too many kinds of text in the stream.
    EventTooLarge,
    /// It is not JSON.
    NotJson,
    /// It is not UTF-8.
    NotUtf8,
    /// The JSON is nested too deeply.
    TooDeep,
}

impl fmt::Display for MaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blocked => "the answer holds something that must not be passed on",
            Self::Encoded => "the answer is not encoded as it says, or is a bomb",
            Self::EventTooLarge => "an event is too large to be masked",
            Self::NotJson => "the answer is not the JSON it says it is",
            Self::NotUtf8 => "the answer is not UTF-8",
            Self::TooDeep => "the answer is nested too deeply to be masked",
        })
    }
}

impl std::error::Error for MaskError {}

/// Masks one body while it arrives.
#[derive(Debug)]
pub struct MaskStream {
    masker: Masker,
    partial: Partial,
    kind: Kind,
    findings: Findings,
    failed: Option<MaskError>,
}

#[derive(Debug)]
enum Kind {
    Json(JsonStream),
    Lines(LineStream),
    Sse(SseStream),
    Text(Value),
}

impl MaskStream {
    /// Starts a body.
    #[must_use]
    pub fn new(masker: Masker, dialect: Dialect) -> Self {
        let kind = match dialect {
            Dialect::Json => Kind::Json(JsonStream::default()),
            Dialect::Sse => Kind::Sse(SseStream::default()),
            Dialect::Lines => Kind::Lines(LineStream::default()),
            Dialect::Text => Kind::Text(Value::new(String::new(), 1)),
        };
        let (partial, findings) = (Partial::default(), Findings::default());
        Self { masker: masker.ready(), partial, kind, findings, failed: None }
    }

    /// Takes the next bytes and gives those that may leave.
    ///
    /// # Errors
    ///
    /// [`MaskError`]; from then on every call fails, and what was held is lost.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Bytes, MaskError> {
        self.run(|stream, out| {
            let text = stream.partial.decode(bytes)?;
            stream.step(&text, out)
        })
    }

    /// The body has ended: gives what was held.
    ///
    /// # Errors
    ///
    /// [`MaskError`], also when the body ended in the middle of a character or a JSON string.
    pub fn finish(&mut self) -> Result<Bytes, MaskError> {
        self.run(|stream, out| {
            stream.partial.end()?;
            match &mut stream.kind {
                Kind::Json(json) => json.finish(&stream.masker, out),
                Kind::Lines(lines) => lines.finish(&stream.masker, out),
                Kind::Sse(sse) => sse.finish(&stream.masker, out),
                Kind::Text(text) => {
                    out.append(text.finish(&stream.masker));
                    Ok(())
                }
            }
        })
    }

    /// Nothing has come for a while: gives the beginnings of words that wait only because an address could begin with
    /// them. Should it be one, what comes of it is hidden. Nothing else that waits is let go by time: what could become
    /// part of a number, a key or a known secret stays until it is decided.
    ///
    /// # Errors
    ///
    /// [`MaskError`] as [`MaskStream::push`].
    pub fn idle(&mut self) -> Result<Bytes, MaskError> {
        self.run(|stream, out| match &mut stream.kind {
            Kind::Json(_) => Ok(()),
            Kind::Lines(lines) => lines.idle(&stream.masker, out),
            Kind::Sse(sse) => sse.idle(&stream.masker, out),
            Kind::Text(text) => {
                out.append(text.idle(&stream.masker));
                Ok(())
            }
        })
    }

    /// What was found so far.
    #[must_use]
    pub fn findings(&self) -> &Findings {
        &self.findings
    }

    /// The masker at work.
    #[must_use]
    pub fn masker(&self) -> &Masker {
        &self.masker
    }

    fn step(&mut self, text: &str, out: &mut Masked) -> Result<(), MaskError> {
        match &mut self.kind {
            Kind::Json(json) => json.push(text, &self.masker, out),
            Kind::Lines(lines) => lines.push(text, &self.masker, out),
            Kind::Sse(sse) => sse.push(text, &self.masker, out),
            Kind::Text(value) => {
                out.append(value.push(text, &self.masker));
                Ok(())
            }
        }
    }

    fn run(
        &mut self,
        step: impl FnOnce(&mut Self, &mut Masked) -> Result<(), MaskError>,
    ) -> Result<Bytes, MaskError> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        let mut out = Masked::default();
        let result = step(self, &mut out);
        self.findings.absorb(&out.findings, "");
        let result = if self.masker.blocked() { Err(MaskError::Blocked) } else { result };
        match result {
            Ok(()) => Ok(Bytes::from(out.text)),
            Err(error) => {
                self.failed = Some(error);
                Err(error)
            }
        }
    }
}

/// The first bytes of a character whose last ones have not come.
#[derive(Debug, Default)]
struct Partial(Vec<u8>);

impl Partial {
    fn decode<'a>(&mut self, bytes: &'a [u8]) -> Result<Cow<'a, str>, MaskError> {
        if self.0.is_empty() {
            let (text, rest) = split(bytes)?;
            self.0.extend_from_slice(rest);
            return Ok(Cow::Borrowed(text));
        }
        let mut all = std::mem::take(&mut self.0);
        all.extend_from_slice(bytes);
        let (text, rest) = split(&all)?;
        self.0.extend_from_slice(rest);
        Ok(Cow::Owned(text.to_owned()))
    }

    fn end(&self) -> Result<(), MaskError> {
        if self.0.is_empty() { Ok(()) } else { Err(MaskError::NotUtf8) }
    }
}

/// The whole characters, and the first bytes of one that is not.
fn split(bytes: &[u8]) -> Result<(&str, &[u8]), MaskError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok((text, &[])),
        Err(error) if error.error_len().is_some() => Err(MaskError::NotUtf8),
        Err(error) => {
            let (text, rest) = bytes.split_at_checked(error.valid_up_to()).unwrap_or_default();
            Ok((std::str::from_utf8(text).map_err(|_| MaskError::NotUtf8)?, rest))
        }
    }
}

#[cfg(test)]
mod tests;

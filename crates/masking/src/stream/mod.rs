//! Masking while bytes arrive.

mod json;
mod sse;
mod text;

use std::fmt;

use bytes::Bytes;

use self::sse::SseStream;
pub(crate) use self::{
    json::{JsonStream, escape},
    text::TextStream,
};
use crate::{Findings, Masked, Masker};

/// How the bytes are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dialect {
    /// JSON, or one JSON value after another (NDJSON).
    Json,
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
            "application/json" | "application/x-ndjson" | "application/jsonl" => Self::Json,
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
    Sse(SseStream),
    Text(TextStream),
}

impl MaskStream {
    /// Starts a body.
    #[must_use]
    pub fn new(masker: Masker, dialect: Dialect) -> Self {
        let kind = match dialect {
            Dialect::Json => Kind::Json(JsonStream::default()),
            Dialect::Sse => Kind::Sse(SseStream::default()),
            Dialect::Text => Kind::Text(TextStream::default()),
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
                Kind::Sse(sse) => sse.finish(&stream.masker, out),
                Kind::Text(text) => {
                    text.finish(&stream.masker, out);
                    Ok(())
                }
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
            Kind::Sse(sse) => sse.push(text, &self.masker, out),
            Kind::Text(stream) => {
                stream.push(text, &self.masker, out);
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
    fn decode(&mut self, bytes: &[u8]) -> Result<String, MaskError> {
        let mut all = std::mem::take(&mut self.0);
        all.extend_from_slice(bytes);
        match String::from_utf8(all) {
            Ok(text) => Ok(text),
            Err(error) => {
                let whole = error.utf8_error();
                if whole.error_len().is_some() {
                    return Err(MaskError::NotUtf8);
                }
                let mut all = error.into_bytes();
                self.0 = all.split_off(whole.valid_up_to());
                String::from_utf8(all).map_err(|_| MaskError::NotUtf8)
            }
        }
    }

    fn end(&self) -> Result<(), MaskError> {
        if self.0.is_empty() { Ok(()) } else { Err(MaskError::NotUtf8) }
    }
}

#[cfg(test)]
mod tests;

use bytes::BytesMut;

use super::head::{self, Framing, Violation};

/// Longest head in bytes.
const MAX_HEAD: usize = 32 * 1024;

/// Longest chunk header: sixteen hex digits and CRLF.
const MAX_CHUNK_LINE: usize = 18;

/// Finds where each message of a connection begins and ends, and refuses what has more than one reading.
#[derive(Debug, Default)]
pub struct Framer(State);

#[derive(Debug, Default, Clone, Copy)]
enum State {
    ChunkData(u64),
    ChunkEnd,
    ChunkSize,
    #[default]
    Head,
    LastChunk,
    Length(u64),
}

/// Bytes that may pass.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "a message is a head and a body")]
pub enum Piece {
    /// One whole head.
    Head(BytesMut),
    /// A part of a body, its chunk headers included.
    Body(BytesMut),
}

impl Framer {
    /// Whether the next byte belongs to a head.
    #[must_use]
    pub fn at_head(&self) -> bool {
        matches!(self.0, State::Head)
    }

    /// Takes the next piece off the front of `raw`; `None` when more bytes are needed.
    ///
    /// # Errors
    ///
    /// A [`Violation`]; the connection must not be read any further.
    pub fn take(&mut self, raw: &mut BytesMut) -> Result<Option<Piece>, Violation> {
        if raw.is_empty() {
            return Ok(None);
        }
        match self.0 {
            State::Head => self.head(raw),
            State::Length(left) => Ok(Some(self.data(raw, left, State::Head, State::Length))),
            State::ChunkData(left) => Ok(Some(self.data(raw, left, State::ChunkEnd, State::ChunkData))),
            State::ChunkSize => self.chunk_size(raw),
            State::ChunkEnd => self.line_end(raw, State::ChunkSize, Violation::ChunkMalformed),
            State::LastChunk => self.line_end(raw, State::Head, Violation::Trailers),
        }
    }

    fn head(&mut self, raw: &mut BytesMut) -> Result<Option<Piece>, Violation> {
        let end = raw.windows(4).position(|four| four == b"\r\n\r\n");
        let Some(end) = end else {
            // A head that ends in bare line feeds would otherwise be waited for until it times out.
            if raw.windows(2).any(|two| two == b"\n\n") {
                return Err(Violation::BareLineEnd);
            }
            return if raw.len() > MAX_HEAD { Err(Violation::HeadTooLarge) } else { Ok(None) };
        };
        if end > MAX_HEAD {
            return Err(Violation::HeadTooLarge);
        }
        let head = raw.split_to(end + 4);
        self.0 = match head::check(&head)? {
            Framing::Length(0) => State::Head,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::ChunkSize,
        };
        Ok(Some(Piece::Head(head)))
    }

    fn data(&mut self, raw: &mut BytesMut, left: u64, done: State, more: fn(u64) -> State) -> Piece {
        let n = usize::try_from(left).unwrap_or(usize::MAX).min(raw.len());
        let left = left.saturating_sub(u64::try_from(n).unwrap_or(u64::MAX));
        self.0 = if left == 0 { done } else { more(left) };
        Piece::Body(raw.split_to(n))
    }

    fn chunk_size(&mut self, raw: &mut BytesMut) -> Result<Option<Piece>, Violation> {
        let Some(end) = raw.iter().position(|b| matches!(b, b'\n' | b';')) else {
            return if raw.len() > MAX_CHUNK_LINE { Err(Violation::ChunkMalformed) } else { Ok(None) };
        };
        if raw.get(end) == Some(&b';') {
            return Err(Violation::ChunkExtension);
        }
        let line = raw.split_to(end + 1);
        let digits = line.strip_suffix(b"\r\n").ok_or(Violation::ChunkMalformed)?;
        if digits.is_empty() || digits.len() > 16 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(Violation::ChunkMalformed);
        }
        let size = std::str::from_utf8(digits).ok().and_then(|text| u64::from_str_radix(text, 16).ok());
        self.0 = match size.ok_or(Violation::ChunkMalformed)? {
            0 => State::LastChunk,
            size => State::ChunkData(size),
        };
        Ok(Some(Piece::Body(line)))
    }

    fn line_end(
        &mut self,
        raw: &mut BytesMut,
        next: State,
        otherwise: Violation,
    ) -> Result<Option<Piece>, Violation> {
        match (raw.first(), raw.get(1)) {
            (Some(b'\r'), Some(b'\n')) => {
                self.0 = next;
                Ok(Some(Piece::Body(raw.split_to(2))))
            }
            (Some(b'\r'), None) => Ok(None),
            _ => Err(otherwise),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pass(bytes: &[u8], chunk: usize) -> Result<Vec<u8>, Violation> {
        let (mut framer, mut raw, mut out) = (Framer::default(), BytesMut::new(), Vec::new());
        for part in bytes.chunks(chunk) {
            raw.extend_from_slice(part);
            while let Some(piece) = framer.take(&mut raw)? {
                let (Piece::Head(bytes) | Piece::Body(bytes)) = piece;
                out.extend_from_slice(&bytes);
            }
        }
        Ok(out)
    }

    #[test]
    fn chunked_bodies_pass_and_their_oddities_do_not() {
        let head = "POST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
        let whole = format!("{head}2\r\n{{}}\r\n0\r\n\r\nGET /b HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(pass(whole.as_bytes(), 7).unwrap(), whole.as_bytes());
        for (body, expected) in [
            ("2;a=b\r\n{}\r\n0\r\n\r\n", Violation::ChunkExtension),
            ("2\n{}\r\n0\r\n\r\n", Violation::ChunkMalformed),
            ("0x2\r\n{}\r\n0\r\n\r\n", Violation::ChunkMalformed),
            ("2\r\n{}x\r\n0\r\n\r\n", Violation::ChunkMalformed),
            ("2\r\n{}\r\n0\r\nauthorization: x\r\n\r\n", Violation::Trailers),
            ("11111111111111111111", Violation::ChunkMalformed),
        ] {
            assert_eq!(pass(format!("{head}{body}").as_bytes(), 5), Err(expected), "{body:?}");
        }
    }

    proptest! {
        #[test]
        fn how_the_bytes_are_cut_changes_nothing(cut in 1_usize..40, body in "[a-z]{0,40}", te in any::<bool>()) {
            let framing = if te {
                format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len().max(1))
            } else {
                format!("content-length: {}\r\n\r\n{body}", body.len())
            };
            let bytes = format!("POST /a HTTP/1.1\r\nhost: a\r\n{framing}GET /b HTTP/1.1\r\nhost: a\r\n\r\n");
            prop_assert_eq!(pass(bytes.as_bytes(), cut), pass(bytes.as_bytes(), bytes.len()));
        }
    }
}

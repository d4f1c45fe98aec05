use std::io::Write;

use flate2::write::{MultiGzDecoder, ZlibDecoder};
use http::{HeaderMap, header};

use crate::MaskError;

/// Bytes that are taken at a time, so that even the worst of them become few before they are counted.
const STEP: usize = 1 << 10;

/// How many times longer than what came the text may be, behind the first [`FREE`] bytes of it.
const MAX_RATIO: u64 = 256;

/// Bytes of text for which the ratio does not count.
const FREE: u64 = 1 << 20;

/// Undoes the coding of an answer (RFC 9110 section 8.4.1) while it arrives, within bounds.
pub(super) struct Inflate {
    coding: Coding,
    came: u64,
    gave: u64,
}

enum Coding {
    Deflate(ZlibDecoder<Vec<u8>>),
    Gzip(MultiGzDecoder<Vec<u8>>),
}

impl Inflate {
    /// What undoes the coding these headers name; nothing when there is none.
    ///
    /// # Errors
    ///
    /// When it cannot be undone here.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, MaskError> {
        let mut named = headers.get_all(header::CONTENT_ENCODING).iter().flat_map(|value| {
            let codings = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            codings.filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))
        });
        let coding = match (named.next(), named.next()) {
            (None, _) => return Ok(None),
            (Some(name), None)
                if name.eq_ignore_ascii_case(b"gzip") || name.eq_ignore_ascii_case(b"x-gzip") =>
            {
                Coding::Gzip(MultiGzDecoder::new(Vec::new()))
            }
            (Some(name), None) if name.eq_ignore_ascii_case(b"deflate") => {
                Coding::Deflate(ZlibDecoder::new(Vec::new()))
            }
            _ => return Err(MaskError::Encoded),
        };
        Ok(Some(Self { coding, came: 0, gave: 0 }))
    }

    /// Takes bytes and hands on what they stand for, a little at a time.
    ///
    /// # Errors
    ///
    /// When they stand for nothing, or for much more than they are; and what the receiver says.
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        mut receive: impl FnMut(&[u8]) -> Result<(), MaskError>,
    ) -> Result<(), MaskError> {
        for step in bytes.chunks(STEP) {
            let written = match &mut self.coding {
                Coding::Deflate(decoder) => decoder.write_all(step),
                Coding::Gzip(decoder) => decoder.write_all(step),
            };
            written.map_err(|_| MaskError::Encoded)?;
            self.came += step.len() as u64;
            self.hand_on(&mut receive)?;
        }
        Ok(())
    }

    /// No more will come.
    ///
    /// # Errors
    ///
    /// Also when it broke off.
    pub(super) fn finish(
        &mut self,
        mut receive: impl FnMut(&[u8]) -> Result<(), MaskError>,
    ) -> Result<(), MaskError> {
        let ended = match &mut self.coding {
            Coding::Deflate(decoder) => decoder.try_finish(),
            Coding::Gzip(decoder) => decoder.try_finish(),
        };
        ended.map_err(|_| MaskError::Encoded)?;
        self.hand_on(&mut receive)
    }

    fn hand_on(&mut self, receive: &mut impl FnMut(&[u8]) -> Result<(), MaskError>) -> Result<(), MaskError> {
        let text = match &mut self.coding {
            Coding::Deflate(decoder) => decoder.get_mut(),
            Coding::Gzip(decoder) => decoder.get_mut(),
        };
        self.gave += text.len() as u64;
        if self.gave > FREE + self.came * MAX_RATIO {
            return Err(MaskError::Encoded);
        }
        receive(text)?;
        text.clear();
        Ok(())
    }
}

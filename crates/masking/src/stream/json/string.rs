//! The strings of a document: whole, and while they arrive.

use std::borrow::Cow;

use memchr::memchr2;

use super::{
    super::{
        MaskError,
        lexer::{MAX_NAME, has_control, unescape},
        raw::Raw,
    },
    JsonStream, Open, at_place,
};
use crate::{Masked, Masker};

impl JsonStream {
    /// More of a string; tells where it ended.
    pub(super) fn go_on(
        &mut self,
        mut open: Box<Open>,
        text: &str,
        masker: &Masker,
        out: &mut Masked,
    ) -> Result<Option<usize>, MaskError> {
        let mut decoded = String::new();
        let (at, ended) = self.decode_into(text, &mut decoded, Some(&mut open.raw))?;
        if self.left_out.is_some() {
            open.raw = Raw::default();
        } else {
            if open.name {
                self.lexer.path.name_more(&decoded, MAX_NAME);
            }
            let masker = &*at_place(masker, &self.lexer, self.nested);
            let masked = open.value.push(&decoded, masker);
            open.raw.write(&masked, &self.lexer.path, out);
            if ended {
                let rest = open.value.finish(masker);
                open.raw.write(&rest, &self.lexer.path, out);
                out.text.push('"');
            }
        }
        if ended {
            self.lexer.string_ended(open.name);
            return Ok(Some(at + 1));
        }
        self.carry.push_str(text.get(at..).unwrap_or_default());
        self.open = Some(open);
        Ok(None)
    }

    /// The text of a whole string.
    pub(super) fn decode<'a>(
        &self,
        content: &'a str,
        with_quote: &str,
        escaped: bool,
    ) -> Result<Cow<'a, str>, MaskError> {
        if escaped {
            let mut text = String::with_capacity(content.len());
            self.decode_into(with_quote, &mut text, None)?;
            return Ok(Cow::Owned(text));
        }
        if self.nested == 0 && has_control(content) {
            return Err(MaskError::NotJson);
        }
        Ok(Cow::Borrowed(content))
    }

    /// Decodes up to the quote, or to where more must come to go on; says where, and whether it was the quote. The source is kept
    /// where it is asked for.
    pub(super) fn decode_into(
        &self,
        text: &str,
        decoded: &mut String,
        mut raw: Option<&mut Raw>,
    ) -> Result<(usize, bool), MaskError> {
        let mut at = 0;
        loop {
            let rest = text.get(at..).unwrap_or_default();
            let len = memchr2(b'"', b'\\', rest.as_bytes()).unwrap_or(rest.len());
            let (plain, rest) = rest.split_at_checked(len).unwrap_or((rest, ""));
            if self.nested == 0 && has_control(plain) {
                return Err(MaskError::NotJson);
            }
            decoded.push_str(plain);
            raw.iter_mut().for_each(|raw| raw.plain(plain));
            at += len;
            if rest.is_empty() {
                return Ok((at, false));
            }
            if rest.starts_with('"') {
                return Ok((at, true));
            }
            match unescape(rest) {
                Ok(None) => return Ok((at, false)),
                Ok(Some((c, len))) => {
                    decoded.push(c);
                    let source = rest.get(..len).unwrap_or_default();
                    raw.iter_mut().for_each(|raw| raw.escape(source, c.len_utf8()));
                    at += len;
                }
                // In a string JSON is only presumed, and what is no escape is text.
                Err(_) if self.nested > 0 => {
                    decoded.push('\\');
                    raw.iter_mut().for_each(|raw| raw.plain("\\"));
                    at += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

use std::fmt;

use crewgate_core::Value;

/// A value refers to an id that has no spelling yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "the index of the slot")]
pub struct UnboundId(pub usize);

impl fmt::Display for UnboundId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "id slot {} has no upstream id", self.0)
    }
}

impl std::error::Error for UnboundId {}

/// Writes the value without white space: one value, one text. `id` gives the spelling of each id slot.
///
/// # Errors
///
/// [`UnboundId`] when `id` gives none; what is in `out` by then must not be used.
pub fn write<'a>(
    value: &Value,
    id: &impl Fn(usize) -> Option<&'a str>,
    out: &mut Vec<u8>,
) -> Result<(), UnboundId> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => out.extend_from_slice(number.as_str().as_bytes()),
        Value::String(text) => string(text, out),
        Value::Id(slot) => string(id(*slot).ok_or(UnboundId(*slot))?, out),
        Value::Array(items) => {
            out.push(b'[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                write(item, id, out)?;
            }
            out.push(b']');
        }
        Value::Object(members) => {
            out.push(b'{');
            for (n, (name, member)) in members.iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                string(name, out);
                out.push(b':');
                write(member, id, out)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

/// [`write()`] for a value that refers to no id.
///
/// # Errors
///
/// [`UnboundId`] when it does refer to one.
pub fn to_bytes(value: &Value) -> Result<Vec<u8>, UnboundId> {
    let mut out = Vec::new();
    write(value, &|_| None, &mut out)?;
    Ok(out)
}

fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for piece in text.split_inclusive(|c| c < ' ' || c == '"' || c == '\\') {
        let last = piece.as_bytes().last().copied().unwrap_or_default();
        let escape: &[u8] = match last {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            0x08 => b"\\b",
            0x0C => b"\\f",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..0x20 => &[b'\\', b'u', b'0', b'0', hex(last >> 4), hex(last & 0xF)],
            // The last piece ends with the text, not with a character that must be escaped.
            _ => {
                out.extend_from_slice(piece.as_bytes());
                continue;
            }
        };
        out.extend_from_slice(piece.as_bytes().split_last().map_or(&[], |(_, plain)| plain));
        out.extend_from_slice(escape);
    }
    out.push(b'"');
}

fn hex(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + (nibble - 10) }
}

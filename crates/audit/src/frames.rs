//! How frames are laid out in storage: per frame 8 bytes of offset and 4 bytes of length, big-endian, then the bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::Frame;

/// The frames in one piece; nothing for no frames. A frame of 4 GiB or more is split.
#[must_use]
pub fn encode(frames: &[Frame]) -> Bytes {
    let mut out = BytesMut::with_capacity(frames.iter().map(|frame| 12 + frame.bytes.len()).sum());
    for frame in frames {
        // `usize` on 32-bit targets is below the limit anyway.
        for part in frame.bytes.chunks(usize::try_from(u32::MAX).unwrap_or(usize::MAX)) {
            out.put_u64(frame.offset_micros);
            out.put_u32(u32::try_from(part.len()).unwrap_or(u32::MAX));
            out.put_slice(part);
        }
    }
    out.freeze()
}

/// The frames again; `None` when the bytes are not laid out as [`encode`] does it.
#[must_use]
pub fn decode(encoded: &Bytes) -> Option<Vec<Frame>> {
    let mut rest = encoded.clone();
    let mut frames = Vec::new();
    while rest.has_remaining() {
        if rest.remaining() < 12 {
            return None;
        }
        let offset_micros = rest.get_u64();
        let length = usize::try_from(rest.get_u32()).ok()?;
        if length == 0 || rest.remaining() < length {
            return None;
        }
        frames.push(Frame { offset_micros, bytes: rest.split_to(length) });
    }
    Some(frames)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn frames_come_back_as_they_went(parts in prop::collection::vec((any::<u64>(), prop::collection::vec(any::<u8>(), 1..40)), 0..20)) {
            let frames: Vec<_> =
                parts.into_iter().map(|(offset_micros, bytes)| Frame { offset_micros, bytes: bytes.into() }).collect();
            prop_assert_eq!(decode(&encode(&frames)), Some(frames));
        }

        #[test]
        fn strange_bytes_are_refused_or_have_one_spelling(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let bytes = Bytes::from(bytes);
            if let Some(frames) = decode(&bytes) {
                prop_assert_eq!(encode(&frames), bytes);
            }
        }
    }
}

//! Says of each byte of a text which classes it belongs to, 64 bytes at a time: AVX2 where the processor has it, else a
//! table. Both give the same masks, which a property test and a fuzz target show.

/// Bytes of a block: one bit of a mask each.
pub(super) const BLOCK: usize = 64;

/// Heads of patterns are looked at so many bytes deep.
pub(super) const HEAD: usize = 4;

/// A block and what the heads of its last bytes reach into.
const REACH: usize = BLOCK + HEAD - 1;

/// Buckets of heads that begin where a word may; the rest of the eight begin anywhere.
pub(super) const WORD_BUCKETS: u8 = 0x3f;

/// Most bytes that patterns can be required to contain, each with a mask of its own.
pub(super) const REQUIRED: usize = 4;

/// The classes of 64 bytes, bit `i` for byte `i`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Masks {
    /// `0-9`
    pub(super) digit: u64,
    /// `A-Z a-z 0-9 _`
    pub(super) word: u64,
    /// Characters of tokens: those of words, `-`, `.`, `~`, `+`, `/`, `=`, and `:`.
    pub(super) token: u64,
    /// `+` and `(`
    pub(super) opening: u64,
    /// Bytes beyond ASCII.
    pub(super) high: u64,
    /// `\`
    pub(super) backslash: u64,
    /// `%`
    pub(super) percent: u64,
    /// `:` and `=`
    pub(super) separator: u64,
    /// Space and quotation marks.
    pub(super) quote: u64,
    /// Where the bytes from here on can be the head of a pattern of [`WORD_BUCKETS`].
    pub(super) head: u64,
    /// The same of the other buckets.
    pub(super) inner: u64,
    /// The required bytes.
    pub(super) required: [u64; REQUIRED],
}

/// What the classes are that depend on the patterns.
#[derive(Debug, Clone, Default)]
pub(super) struct Classes {
    /// For each byte of a head: the buckets a low half and a high half of that byte allow. A byte is allowed by a bucket
    /// when both its halves are, which is a little more than what the patterns begin with, and never less.
    pub(super) low: [[u8; 16]; HEAD],
    pub(super) high: [[u8; 16]; HEAD],
    /// Unused places hold a byte that no text has.
    pub(super) required: [u8; REQUIRED],
}

/// A byte that stands in no UTF-8 text.
pub(super) const NOWHERE: u8 = 0xff;

impl Classes {
    /// Fills `out` with the masks of the blocks of `text` from its start on, as many as there are and fit; the last one is
    /// padded with noughts. Returns how many.
    pub(super) fn classify(&self, text: &[u8], out: &mut [Masks]) -> usize {
        self.classify_with(text, out, fast())
    }

    fn classify_with(&self, text: &[u8], out: &mut [Masks], fast: bool) -> usize {
        let mut count = 0;
        let whole = text.len().saturating_sub(HEAD - 1) / BLOCK;
        if fast {
            count = avx2::classify(self, text, out);
        } else {
            for (block, masks) in out.iter_mut().enumerate().take(whole) {
                let from = block * BLOCK;
                if let Some(bytes) = text.get(from..).and_then(|rest| rest.first_chunk()) {
                    *masks = self.table(bytes);
                    count = block + 1;
                }
            }
        }
        // The last bytes, whose heads reach beyond the text.
        for masks in out.iter_mut().skip(count) {
            let rest = text.get(count * BLOCK..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            let mut padded = [0; REACH];
            for (to, byte) in padded.iter_mut().zip(rest) {
                *to = *byte;
            }
            let mut one = [Masks::default()];
            if !fast || avx2::classify(self, &padded, &mut one) == 0 {
                one = [self.table(&padded)];
            }
            [*masks] = one;
            count += 1;
        }
        count
    }

    /// The masks of one block, byte by byte.
    fn table(&self, bytes: &[u8; REACH]) -> Masks {
        let mut masks = Masks::default();
        for (at, window) in bytes.windows(HEAD).enumerate() {
            let [byte, ..] = *window else { continue };
            let bit = 1_u64 << at;
            let set = |mask: &mut u64, member: bool| *mask |= if member { bit } else { 0 };
            set(&mut masks.digit, byte.is_ascii_digit());
            set(&mut masks.word, byte.is_ascii_alphanumeric() || byte == b'_');
            set(&mut masks.token, byte.is_ascii_alphanumeric() || b"_-.~+/=:".contains(&byte));
            set(&mut masks.opening, matches!(byte, b'+' | b'('));
            set(&mut masks.high, !byte.is_ascii());
            set(&mut masks.backslash, byte == b'\\');
            set(&mut masks.percent, byte == b'%');
            set(&mut masks.separator, matches!(byte, b':' | b'='));
            set(&mut masks.quote, matches!(byte, b' ' | b'"' | b'\'' | b'`'));
            let halves = self.low.iter().zip(&self.high).zip(window);
            let buckets = halves.fold(0xff, |buckets, ((low, high), byte)| {
                let [low, high] = [low.get(usize::from(byte & 15)), high.get(usize::from(byte >> 4))];
                buckets & low.unwrap_or(&0) & high.unwrap_or(&0)
            });
            set(&mut masks.head, buckets & WORD_BUCKETS != 0);
            set(&mut masks.inner, buckets & !WORD_BUCKETS != 0);
            for (mask, required) in masks.required.iter_mut().zip(self.required) {
                *mask |= if byte == required { bit } else { 0 };
            }
        }
        masks
    }
}

/// Whether the processor has what the fast way needs.
fn fast() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

#[cfg(target_arch = "x86_64")]
mod avx2;

#[cfg(not(target_arch = "x86_64"))]
mod avx2 {
    use super::{Classes, Masks};

    pub(super) const fn classify(_: &Classes, _: &[u8], _: &mut [Masks]) -> usize {
        0
    }
}

/// The classes by the table and by the fast way, for whoever compares them.
#[cfg(any(test, fuzzing))]
pub(crate) fn agree(
    low: [[u8; 16]; HEAD],
    high: [[u8; 16]; HEAD],
    required: [u8; REQUIRED],
    text: &[u8],
) -> bool {
    let classes = Classes { low, high, required };
    let blocks = text.len() / BLOCK + 2;
    let (mut slow, mut quick) = (vec![Masks::default(); blocks], vec![Masks::default(); blocks]);
    let counts =
        (classes.classify_with(text, &mut slow, false), classes.classify_with(text, &mut quick, fast()));
    counts.0 == counts.1 && counts.0 == text.len().div_ceil(BLOCK) && slow == quick
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_fast_way_and_the_table_say_the_same_of_every_byte(
            low in any::<[[u8; 16]; HEAD]>(),
            high in any::<[[u8; 16]; HEAD]>(),
            required in any::<[u8; REQUIRED]>(),
            text in proptest::collection::vec(any::<u8>(), 0..400),
        ) {
            prop_assert!(agree(low, high, required, &text));
        }
    }

    #[test]
    fn every_byte_is_in_the_classes_its_name_says() {
        let text: Vec<u8> = (0..=255).collect();
        let mut masks = [Masks::default(); 4];
        assert_eq!(Classes::default().classify(&text, &mut masks), 4);
        let members = |class: fn(&Masks) -> u64| -> Vec<u8> {
            text.iter().copied().filter(|b| class(&masks[usize::from(b / 64)]) >> (b % 64) & 1 == 1).collect()
        };
        assert_eq!(members(|m| m.digit), b"0123456789");
        assert_eq!(members(|m| m.word), b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz");
        assert_eq!(members(|m| m.opening), b"(+");
        assert_eq!(members(|m| m.separator), b":=");
        assert_eq!(members(|m| m.quote), b" \"'`");
        assert_eq!(members(|m| m.backslash | m.percent), b"%\\");
        assert_eq!(members(|m| m.token & !m.word), b"+-./:=~");
        assert_eq!(members(|m| m.high), (128..=255).collect::<Vec<u8>>());
    }
}

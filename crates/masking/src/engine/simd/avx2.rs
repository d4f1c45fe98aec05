//! The masks with 256-bit vectors. The loop stands whole inside one function with the feature, so that nothing in it is a
//! call.
#![expect(
    unsafe_code,
    reason = "the call of a function that needs AVX2, and loads from arrays of known length"
)]

use std::arch::x86_64::{
    __m256i, _mm_loadu_si128, _mm256_and_si256, _mm256_andnot_si256, _mm256_broadcastsi128_si256,
    _mm256_cmpeq_epi8, _mm256_cmpgt_epi8, _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_or_si256,
    _mm256_set1_epi8, _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_srli_epi16,
};

use super::{BLOCK, Classes, HEAD, Masks, REACH, REQUIRED, WORD_BUCKETS};

/// The masks of all blocks of `text` whose heads lie in it, as many as fit into `out`. None without AVX2.
pub(super) fn classify(classes: &Classes, text: &[u8], out: &mut [Masks]) -> usize {
    if !super::fast() {
        return 0;
    }
    // SAFETY: the processor has AVX2, as was just asked; nothing else is required.
    unsafe { blocks(classes, text, out) }
}

#[target_feature(enable = "avx2")]
fn blocks(classes: &Classes, text: &[u8], out: &mut [Masks]) -> usize {
    // Not by `map`: it has not the feature, so that what it is given would remain a call.
    let four = |[a, b, c, d]: &[[u8; 16]; HEAD]| [table16(a), table16(b), table16(c), table16(d)];
    let [a, b, c, d] = classes.required;
    let required = [all(a), all(b), all(c), all(d)];
    let tables = Tables { low: four(&classes.low), high: four(&classes.high), required };
    let mut count = 0;
    for masks in out {
        let Some(bytes) = text.get(count * BLOCK..).and_then(|rest| rest.first_chunk::<REACH>()) else {
            break;
        };
        let (near, far) = (half(bytes, 0, &tables), half(bytes, 32, &tables));
        let join = |mask: fn(&Half) -> u32| u64::from(mask(&near)) | u64::from(mask(&far)) << 32;
        *masks = Masks {
            digit: join(|half| half.digit),
            word: join(|half| half.word),
            token: join(|half| half.token),
            opening: join(|half| half.opening),
            high: join(|half| half.high),
            backslash: join(|half| half.backslash),
            percent: join(|half| half.percent),
            separator: join(|half| half.separator),
            quote: join(|half| half.quote),
            head: join(|half| half.head),
            inner: join(|half| half.inner),
            required: [
                join(|half| half.required[0]),
                join(|half| half.required[1]),
                join(|half| half.required[2]),
                join(|half| half.required[3]),
            ],
        };
        count += 1;
    }
    count
}

struct Tables {
    low: [__m256i; HEAD],
    high: [__m256i; HEAD],
    required: [__m256i; REQUIRED],
}

struct Half {
    digit: u32,
    word: u32,
    token: u32,
    opening: u32,
    high: u32,
    backslash: u32,
    percent: u32,
    separator: u32,
    quote: u32,
    head: u32,
    inner: u32,
    required: [u32; REQUIRED],
}

#[inline]
#[target_feature(enable = "avx2")]
fn half(bytes: &[u8; REACH], from: usize, tables: &Tables) -> Half {
    let v = load(bytes, from);
    let is = |byte: u8| _mm256_cmpeq_epi8(v, all(byte));
    // Signed comparisons: bytes beyond ASCII are negative, so they are in no range of letters or digits.
    let within = |v: __m256i, first: u8, last: u8| {
        let too_small = _mm256_cmpgt_epi8(all(first), v);
        _mm256_andnot_si256(too_small, _mm256_cmpgt_epi8(all(last + 1), v))
    };
    let digit = within(v, b'0', b'9');
    let letter = within(_mm256_or_si256(v, all(0x20)), b'a', b'z');
    let word = _mm256_or_si256(_mm256_or_si256(digit, letter), is(b'_'));
    let separators = _mm256_or_si256(is(b':'), is(b'='));
    // `-`, `.` and `/` stand side by side.
    let marks = _mm256_or_si256(within(v, b'-', b'/'), _mm256_or_si256(is(b'+'), is(b'~')));
    let quotes = _mm256_or_si256(is(b'"'), is(b'\''));
    let mut buckets = all(0xff);
    for place in 0..HEAD {
        let (Some(low), Some(high)) = (tables.low.get(place), tables.high.get(place)) else { continue };
        let bytes = load(bytes, from + place);
        let low = _mm256_shuffle_epi8(*low, _mm256_and_si256(bytes, all(15)));
        let high = _mm256_shuffle_epi8(*high, _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), all(15)));
        buckets = _mm256_and_si256(buckets, _mm256_and_si256(low, high));
    }
    let some = |mask: u8| {
        let none = _mm256_cmpeq_epi8(_mm256_and_si256(buckets, all(mask)), _mm256_setzero_si256());
        !bits(none)
    };
    let same = |byte: __m256i| bits(_mm256_cmpeq_epi8(v, byte));
    let [a, b, c, d] = tables.required;
    Half {
        digit: bits(digit),
        word: bits(word),
        token: bits(_mm256_or_si256(word, _mm256_or_si256(separators, marks))),
        opening: bits(_mm256_or_si256(is(b'+'), is(b'('))),
        high: bits(v),
        backslash: bits(is(b'\\')),
        percent: bits(is(b'%')),
        separator: bits(separators),
        quote: bits(_mm256_or_si256(quotes, _mm256_or_si256(is(b' '), is(b'`')))),
        head: some(WORD_BUCKETS),
        inner: some(!WORD_BUCKETS),
        required: [same(a), same(b), same(c), same(d)],
    }
}

/// 32 bytes from a place of a block on; noughts where there are not so many, which no caller asks for.
#[inline]
#[target_feature(enable = "avx2")]
fn load(bytes: &[u8; REACH], from: usize) -> __m256i {
    match bytes.get(from..).and_then(|rest| rest.first_chunk::<32>()) {
        // SAFETY: an array of 32 bytes is read, and the load needs no alignment.
        Some(bytes) => unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) },
        None => _mm256_setzero_si256(),
    }
}

/// A table of 16 bytes, in both lanes.
#[inline]
#[target_feature(enable = "avx2")]
fn table16(table: &[u8; 16]) -> __m256i {
    // SAFETY: an array of 16 bytes is read, and the load needs no alignment.
    _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(table.as_ptr().cast()) })
}

#[inline]
#[target_feature(enable = "avx2")]
fn all(byte: u8) -> __m256i {
    _mm256_set1_epi8(byte.cast_signed())
}

#[inline]
#[target_feature(enable = "avx2")]
fn bits(mask: __m256i) -> u32 {
    _mm256_movemask_epi8(mask).cast_unsigned()
}

//! Four pixels at a time with SSE4.1: for the many small x86-64 machines without AVX2.
//!
//! The samples of four neighbouring outputs are looked up in a table of two vectors; where they are further apart than
//! that, the plain loop runs.

use std::arch::x86_64::*;

use super::{Conversion, Row};

/// Outputs of one step.
const STEP: usize = 4;

/// # Safety
///
/// `row.check()` has passed, and every output is as long as what it returned.
#[target_feature(enable = "sse4.1")]
pub(super) unsafe fn convert(row: &Row, conversion: &Conversion, out: [&mut [f32]; 3]) {
    let whole = whole_steps(row, out[0].len());
    let [first, second, third] = out;
    let factors = Factors::new(conversion);
    for i in (0..whole).step_by(STEP) {
        // SAFETY: four outputs begin at `i`; `check` has passed, and the spreads were looked at.
        let sample = unsafe { sample(row, i) };
        // SAFETY: `i + 4 <= whole`, and every output is at least that long.
        unsafe {
            _mm_storeu_ps(first.as_mut_ptr().add(i), factors.value(0, sample));
            _mm_storeu_ps(second.as_mut_ptr().add(i), factors.value(1, sample));
            _mm_storeu_ps(third.as_mut_ptr().add(i), factors.value(2, sample));
        }
    }
    super::convert(row, conversion, [first, second, third], whole);
}

/// # Safety
///
/// `row.check()` has passed, and the output is three times as long as what it returned.
#[target_feature(enable = "sse4.1")]
pub(super) unsafe fn convert_bytes(row: &Row, conversion: &Conversion, out: &mut [u8]) {
    let whole = whole_steps(row, out.len() / 3);
    let factors = Factors::new(conversion);
    // Four bytes of each channel -> four pixels.
    let order = _mm_setr_epi8(0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11, -1, -1, -1, -1);
    let steps = (0..whole).step_by(STEP);
    for (i, pixels) in steps.zip(out.chunks_exact_mut(3 * STEP)) {
        // SAFETY: four outputs begin at `i`; `check` has passed, and the spreads were looked at.
        let sample = unsafe { sample(row, i) };
        // Written out: what `map` is given does not become part of a loop for other instructions.
        let first = _mm_cvtps_epi32(factors.value(0, sample));
        let second = _mm_cvtps_epi32(factors.value(1, sample));
        let third = _mm_cvtps_epi32(factors.value(2, sample));
        // Packing cuts to 0..=255.
        let channels = _mm_packus_epi16(
            _mm_packs_epi32(first, second),
            _mm_packs_epi32(third, third),
        );
        let twelve = _mm_shuffle_epi8(channels, order);
        // SAFETY: `pixels` has twelve bytes.
        unsafe {
            let to = pixels.as_mut_ptr();
            _mm_storeu_si64(to, twelve);
            _mm_storeu_si32(to.add(8), _mm_srli_si128::<8>(twelve));
        }
    }
    super::convert_bytes(row, conversion, out, whole);
}

/// How many of so many outputs can be made in steps.
fn whole_steps(row: &Row, count: usize) -> usize {
    // Sixteen luma samples are in a table, or eight pairs of chroma; the last one of them is only a right neighbour.
    let near = row.luma_taps.half_spread() <= 14 && row.chroma_taps.half_spread() <= 6;
    if near { count / STEP * STEP } else { 0 }
}

/// [`Conversion`], four times each.
struct Factors {
    luma: [__m128; 3],
    chroma: [[__m128; 3]; 3],
    range: [[__m128; 2]; 3],
}

impl Factors {
    #[inline]
    #[target_feature(enable = "sse4.1")]
    fn new(conversion: &Conversion) -> Self {
        spread!(conversion, _mm_set1_ps)
    }

    #[inline]
    #[target_feature(enable = "sse4.1")]
    fn value(&self, channel: usize, [y, u, v]: [__m128; 3]) -> __m128 {
        let [from_u, from_v, offset] = self.chroma[channel];
        let [low, high] = self.range[channel];
        let chroma = _mm_add_ps(
            _mm_mul_ps(u, from_u),
            _mm_add_ps(_mm_mul_ps(v, from_v), offset),
        );
        let value = _mm_add_ps(_mm_mul_ps(y, self.luma[channel]), chroma);
        _mm_min_ps(_mm_max_ps(value, low), high)
    }
}

/// Luma, u and v of four outputs.
///
/// # Safety
///
/// `row.check()` has passed, `i + 4` is not beyond what it returned, and the taps' spreads are at most 14 and 6.
#[inline]
#[target_feature(enable = "sse4.1")]
unsafe fn sample(row: &Row, i: usize) -> [__m128; 3] {
    let (index, weight) = (row.luma_taps.index(), row.luma_taps.weight());
    // SAFETY: the tables have four entries from `i` on, and the row has `SLACK` samples more than the largest index.
    let y = unsafe {
        let (base, relative) = places(index, i);
        let table = Table::at(row.luma.as_ptr().add(base));
        // Bytes 2k, 2k+1 of the sample and 2k+2, 2k+3 of its neighbour.
        let bytes = _mm_add_epi8(relative, relative);
        let pairs = table.look_up(_mm_add_epi8(bytes, _mm_set1_epi32(0x0302_0100)));
        weigh(pairs, _mm_loadu_si128(weight.as_ptr().add(i).cast()))
    };
    let (index, weight) = (row.chroma_taps.index(), row.chroma_taps.weight());
    // SAFETY: as above.
    let (table, relative, weight) = unsafe {
        let (base, relative) = places(index, i);
        (
            Table::at(row.chroma.as_ptr().add(2 * base)),
            relative,
            _mm_loadu_si128(weight.as_ptr().add(i).cast()),
        )
    };
    // Bytes of u at 4k and of the next u at 4k + 4; v lies two bytes further.
    let twice = _mm_add_epi8(relative, relative);
    let u = _mm_add_epi8(_mm_add_epi8(twice, twice), _mm_set1_epi32(0x0504_0100));
    let v = _mm_add_epi8(u, _mm_set1_epi8(2));
    [
        y,
        weigh(table.look_up(u), weight),
        weigh(table.look_up(v), weight),
    ]
}

/// Sums of neighbouring products: a sample and its right neighbour, weighed.
#[inline]
#[target_feature(enable = "sse4.1")]
fn weigh(pairs: __m128i, weight: __m128i) -> __m128 {
    _mm_cvtepi32_ps(_mm_madd_epi16(pairs, weight))
}

/// The first of four indices, and how far all four are from it, in every byte of their words.
///
/// # Safety
///
/// `index` has four entries from `i` on, none more than 14 above the first.
#[inline]
#[target_feature(enable = "sse4.1")]
unsafe fn places(index: &[i32], i: usize) -> (usize, __m128i) {
    // SAFETY: as asked for.
    let (base, indices) = unsafe {
        (
            *index.get_unchecked(i),
            _mm_loadu_si128(index.as_ptr().add(i).cast()),
        )
    };
    let relative = _mm_sub_epi32(indices, _mm_set1_epi32(base));
    let everywhere = _mm_setr_epi8(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12);
    (base as usize, _mm_shuffle_epi8(relative, everywhere))
}

/// Thirty-two bytes to look up bytes in.
struct Table(__m128i, __m128i);

impl Table {
    /// # Safety
    ///
    /// Sixteen samples can be read from there on.
    #[inline]
    #[target_feature(enable = "sse4.1")]
    unsafe fn at(samples: *const i16) -> Self {
        // SAFETY: as asked for.
        unsafe {
            Self(
                _mm_loadu_si128(samples.cast()),
                _mm_loadu_si128(samples.add(8).cast()),
            )
        }
    }

    /// The bytes at these places, all of them 0..32.
    #[inline]
    #[target_feature(enable = "sse4.1")]
    fn look_up(&self, places: __m128i) -> __m128i {
        // A place with its highest bit set gives 0: those from 16 on in the first half, those below it in the second.
        let first = _mm_shuffle_epi8(self.0, _mm_add_epi8(places, _mm_set1_epi8(0x70)));
        let second = _mm_shuffle_epi8(self.1, _mm_sub_epi8(places, _mm_set1_epi8(16)));
        _mm_or_si128(first, second)
    }
}

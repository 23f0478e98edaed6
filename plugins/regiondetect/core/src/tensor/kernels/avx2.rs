//! Eight pixels at a time with AVX2.
//!
//! A sample and its right neighbour, side by side in one word, are weighed by one multiply-add of pairs. Where the samples
//! of eight neighbouring outputs lie within one vector they are picked out of it by a permutation, which costs a fraction
//! of gathering them from memory; where they are further apart they are gathered.

use std::arch::x86_64::*;

use super::{Conversion, Row};
use crate::tensor::taps::{BLOCK, ROW_UNIT, Taps, UNIT};

/// Bytes in a vector.
const BYTES: usize = 32;

#[target_feature(enable = "avx2,fma")]
pub(super) fn blend(upper: &[u8], lower: &[u8], weight: i16, out: &mut [i16]) {
    let count = out.len().min(upper.len()).min(lower.len());
    let Some(weights) = weights_down(weight).filter(|_| count >= BYTES) else {
        return super::blend(upper, lower, weight, out);
    };
    for i in vectors(count) {
        // SAFETY: `i + 32` is not beyond any of the three.
        unsafe {
            let (low, high) = weigh_rows(upper.as_ptr().add(i), lower.as_ptr().add(i), weights);
            let out = out.as_mut_ptr().add(i);
            _mm256_storeu_si256(out.cast(), _mm256_permute2x128_si256::<0x20>(low, high));
            _mm256_storeu_si256(
                out.add(16).cast(),
                _mm256_permute2x128_si256::<0x31>(low, high),
            );
        }
    }
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn blend_pairs(upper: [&[u8]; 2], lower: [&[u8]; 2], weight: i16, out: &mut [i16]) {
    let rows = [upper[0], upper[1], lower[0], lower[1]];
    let count = rows
        .iter()
        .fold(out.len() / 2, |count, row| count.min(row.len()));
    let Some(weights) = weights_down(weight).filter(|_| count >= BYTES) else {
        return super::blend_pairs(upper, lower, weight, out);
    };
    for i in vectors(count) {
        let [u_above, v_above, u_below, v_below] = rows;
        // SAFETY: `i + 32` is not beyond any of the rows, nor twice that beyond the output.
        unsafe {
            let (u_low, u_high) =
                weigh_rows(u_above.as_ptr().add(i), u_below.as_ptr().add(i), weights);
            let (v_low, v_high) =
                weigh_rows(v_above.as_ptr().add(i), v_below.as_ptr().add(i), weights);
            let out = out.as_mut_ptr().add(2 * i);
            let (first, second) = (
                _mm256_unpacklo_epi16(u_low, v_low),
                _mm256_unpackhi_epi16(u_low, v_low),
            );
            let (third, fourth) = (
                _mm256_unpacklo_epi16(u_high, v_high),
                _mm256_unpackhi_epi16(u_high, v_high),
            );
            // Pairs 0..8 and 16..24, then those between and behind.
            _mm256_storeu_si256(out.cast(), _mm256_permute2x128_si256::<0x20>(first, second));
            _mm256_storeu_si256(
                out.add(16).cast(),
                _mm256_permute2x128_si256::<0x20>(third, fourth),
            );
            _mm256_storeu_si256(
                out.add(32).cast(),
                _mm256_permute2x128_si256::<0x31>(first, second),
            );
            _mm256_storeu_si256(
                out.add(48).cast(),
                _mm256_permute2x128_si256::<0x31>(third, fourth),
            );
        }
    }
}

/// Where vectors of bytes begin that cover so many, at least one vector. The last begins early enough.
fn vectors(count: usize) -> impl Iterator<Item = usize> {
    (0..count).step_by(BYTES).map(move |i| i.min(count - BYTES))
}

/// Both rows' weights, side by side; none where one of them does not fit a signed byte.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn weights_down(weight: i16) -> Option<__m256i> {
    let rest = ROW_UNIT as i16 - weight;
    (weight > 0 && rest > 0).then(|| _mm256_set1_epi16(weight << 8 | rest))
}

/// Thirty-two samples of two rows, weighed: places 0..8 and 16..24, then 8..16 and 24..32.
///
/// # Safety
///
/// There are 32 bytes at both.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn weigh_rows(upper: *const u8, lower: *const u8, weights: __m256i) -> (__m256i, __m256i) {
    // SAFETY: as asked for.
    let (upper, lower) = unsafe {
        (
            _mm256_loadu_si256(upper.cast()),
            _mm256_loadu_si256(lower.cast()),
        )
    };
    (
        _mm256_maddubs_epi16(_mm256_unpacklo_epi8(upper, lower), weights),
        _mm256_maddubs_epi16(_mm256_unpackhi_epi8(upper, lower), weights),
    )
}

/// # Safety
///
/// `row.check()` has passed, and every output is as long as what it returned.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn convert(row: &Row, conversion: &Conversion, out: [&mut [f32]; 3]) {
    // SAFETY: handed on.
    unsafe {
        match (conversion.u_first, conversion.is_uniform()) {
            (true, true) => convert_rows::<true, true>(row, conversion, out),
            (true, false) => convert_rows::<true, false>(row, conversion, out),
            (false, true) => convert_rows::<false, true>(row, conversion, out),
            (false, false) => convert_rows::<false, false>(row, conversion, out),
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn convert_rows<const U_FIRST: bool, const UNIFORM: bool>(
    row: &Row,
    conversion: &Conversion,
    out: [&mut [f32]; 3],
) {
    let whole = out[0].len() / BLOCK * BLOCK;
    let factors = Factors::new(conversion);
    let factors = if UNIFORM { factors.uniform() } else { factors };
    let sampler = Sampler::new(row);
    let [first, second, third] = out;
    for i in (0..whole).step_by(BLOCK) {
        // SAFETY: a block of outputs begins at `i`; `check` has passed.
        let sample = unsafe { sampler.block(i) };
        let values = factors.values::<U_FIRST>(sample);
        let [a, b, c] = factors.within_range(values);
        // SAFETY: `i + 8 <= whole`, and every output is at least that long.
        unsafe {
            _mm256_storeu_ps(first.as_mut_ptr().add(i), a);
            _mm256_storeu_ps(second.as_mut_ptr().add(i), b);
            _mm256_storeu_ps(third.as_mut_ptr().add(i), c);
        }
    }
    super::convert(row, conversion, [first, second, third], whole);
}

/// # Safety
///
/// `row.check()` has passed, the output is three times as long as what it returned.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn convert_bytes(row: &Row, conversion: &Conversion, out: &mut [u8]) {
    // SAFETY: handed on.
    unsafe {
        match conversion.u_first {
            true => convert_pixels::<true>(row, conversion, out),
            false => convert_pixels::<false>(row, conversion, out),
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn convert_pixels<const U_FIRST: bool>(row: &Row, conversion: &Conversion, out: &mut [u8]) {
    let whole = out.len() / 3 / BLOCK * BLOCK;
    let factors = Factors::new(conversion).uniform();
    let sampler = Sampler::new(row);
    // Four bytes of each channel -> four pixels, in each half.
    let order = _mm256_setr_epi8(
        0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11, -1, -1, -1, -1, //
        0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11, -1, -1, -1, -1,
    );
    for (i, pixels) in (0..whole)
        .step_by(BLOCK)
        .zip(out.chunks_exact_mut(3 * BLOCK))
    {
        // SAFETY: a block of outputs begins at `i`; `check` has passed.
        let sample = unsafe { sampler.block(i) };
        let values = factors.values::<U_FIRST>(sample);
        // Written out: what `map` is given does not become part of a loop for other instructions.
        let first = _mm256_cvtps_epi32(values[0]);
        let second = _mm256_cvtps_epi32(values[1]);
        let third = _mm256_cvtps_epi32(values[2]);
        // Packing cuts to 0..=255.
        let channels = _mm256_packus_epi16(
            _mm256_packs_epi32(first, second),
            _mm256_packs_epi32(third, third),
        );
        let pixels_of = _mm256_shuffle_epi8(channels, order);
        let (low, high) = (
            _mm256_castsi256_si128(pixels_of),
            _mm256_extracti128_si256::<1>(pixels_of),
        );
        // Twelve bytes each; the four that are stored beyond the first are then written over.
        // SAFETY: `pixels` has 24 bytes: 16 from 0 on, 8 from 12 on and 4 from 20 on are inside.
        unsafe {
            let to = pixels.as_mut_ptr();
            _mm_storeu_si128(to.cast(), low);
            _mm_storeu_si64(to.add(12), high);
            _mm_storeu_si32(to.add(20), _mm_srli_si128::<8>(high));
        }
    }
    super::convert_bytes(row, conversion, out, whole);
}

/// [`Conversion`], eight times each.
struct Factors {
    luma: [__m256; 3],
    chroma: [[__m256; 3]; 3],
    range: [[__m256; 2]; 3],
}

impl Factors {
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn new(conversion: &Conversion) -> Self {
        spread!(conversion, _mm256_set1_ps)
    }

    /// The same, told that channels differ only in chroma: what is left fits into the registers.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn uniform(mut self) -> Self {
        self.luma = [self.luma[0]; 3];
        self.range = [self.range[0]; 3];
        self
    }

    /// Three channels of eight outputs, not yet cut to their ranges.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn values<const U_FIRST: bool>(&self, [y, u, v]: [__m256; 3]) -> [__m256; 3] {
        let [
            [first_u, first_v, first],
            [from_u, from_v, second],
            [third_u, third_v, third],
        ] = self.chroma;
        let (first, third) = match U_FIRST {
            true => (
                _mm256_fmadd_ps(u, first_u, first),
                _mm256_fmadd_ps(v, third_v, third),
            ),
            false => (
                _mm256_fmadd_ps(v, first_v, first),
                _mm256_fmadd_ps(u, third_u, third),
            ),
        };
        let second = _mm256_fmadd_ps(u, from_u, _mm256_fmadd_ps(v, from_v, second));
        [
            _mm256_fmadd_ps(y, self.luma[0], first),
            _mm256_fmadd_ps(y, self.luma[1], second),
            _mm256_fmadd_ps(y, self.luma[2], third),
        ]
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn within_range(&self, [a, b, c]: [__m256; 3]) -> [__m256; 3] {
        let [first, second, third] = self.range;
        [
            _mm256_min_ps(_mm256_max_ps(a, first[0]), first[1]),
            _mm256_min_ps(_mm256_max_ps(b, second[0]), second[1]),
            _mm256_min_ps(_mm256_max_ps(c, third[0]), third[1]),
        ]
    }
}

/// A row, with how its samples are fetched.
struct Sampler<'a> {
    luma: Line<'a>,
    chroma: Line<'a>,
    exact_luma: bool,
    near_luma: bool,
    near_chroma: bool,
}

/// Samples and the tables of where outputs lie between them.
struct Line<'a> {
    index: &'a [i32],
    pick: &'a [i32],
    weight: &'a [u32],
    samples: &'a [i16],
}

impl<'a> Sampler<'a> {
    fn new(row: &Row<'a>) -> Self {
        let line = |taps: &'a Taps, samples: &'a [i16]| Line {
            index: taps.index(),
            pick: taps.pick(),
            weight: taps.weight(),
            samples,
        };
        Self {
            luma: line(row.luma_taps, row.luma),
            chroma: line(row.chroma_taps, row.chroma),
            exact_luma: row.luma_taps.is_exact(),
            // Sixteen luma samples are in a vector, or eight pairs of chroma; the right neighbours come with a second one.
            near_luma: row.luma_taps.spread() <= 15,
            near_chroma: row.chroma_taps.spread() <= 7,
        }
    }

    /// Luma, u and v of eight outputs.
    ///
    /// # Safety
    ///
    /// `row.check()` has passed, and `i + 8` is not beyond what it returned.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn block(&self, i: usize) -> [__m256; 3] {
        // SAFETY: handed on; the spreads are those that each form asks for.
        let (y, u, v) = unsafe {
            let y = match (self.exact_luma, self.near_luma) {
                (true, _) => exact_luma(&self.luma, i),
                (_, true) => near_luma(&self.luma, i),
                (_, false) => far_luma(&self.luma, i),
            };
            let (u, v) = match self.near_chroma {
                true => near_chroma(&self.chroma, i),
                false => far_chroma(&self.chroma, i),
            };
            (y, u, v)
        };
        [
            _mm256_cvtepi32_ps(y),
            _mm256_cvtepi32_ps(u),
            _mm256_cvtepi32_ps(v),
        ]
    }
}

/// # Safety
///
/// As for [`Sampler::block`], and the taps are exact.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn exact_luma(line: &Line, i: usize) -> __m256i {
    // SAFETY: the outputs are the samples: eight of them are inside the row from the first one's on.
    let samples = unsafe {
        let base = *line.index.get_unchecked(i) as usize;
        _mm_loadu_si128(line.samples.as_ptr().add(base).cast())
    };
    _mm256_slli_epi32::<{ UNIT.ilog2() as i32 }>(_mm256_cvtepi16_epi32(samples))
}

/// # Safety
///
/// As for [`Sampler::block`], and the taps' spread is at most 15.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn near_luma(line: &Line, i: usize) -> __m256i {
    // SAFETY: the tables have eight entries from `i` on. The block's first index is its smallest, and 17 samples from
    // there on are inside the row: it has at least `SLACK` more than the largest index.
    let (pick, weight, even, odd) = unsafe {
        let base = *line.index.get_unchecked(i) as usize;
        let samples = line.samples.as_ptr().add(base);
        (
            _mm256_loadu_si256(line.pick.as_ptr().add(i).cast()),
            _mm256_loadu_si256(line.weight.as_ptr().add(i).cast()),
            _mm256_loadu_si256(samples.cast()),
            _mm256_loadu_si256(samples.add(1).cast()),
        )
    };
    // Words of two samples, beginning at even places in one vector and at odd ones in the other: the permutation goes by
    // the lowest bits of what is picked, the blend by the highest.
    let even = _mm256_permutevar8x32_epi32(even, pick);
    let odd = _mm256_permutevar8x32_epi32(odd, pick);
    let pairs = _mm256_blendv_ps(
        _mm256_castsi256_ps(even),
        _mm256_castsi256_ps(odd),
        _mm256_castsi256_ps(pick),
    );
    _mm256_madd_epi16(_mm256_castps_si256(pairs), weight)
}

/// # Safety
///
/// As for [`Sampler::block`].
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn far_luma(line: &Line, i: usize) -> __m256i {
    // SAFETY: the tables have eight entries from `i` on; a word holds samples `index` and `index + 1`, both inside.
    unsafe {
        let index = _mm256_loadu_si256(line.index.as_ptr().add(i).cast());
        let weight = _mm256_loadu_si256(line.weight.as_ptr().add(i).cast());
        let pairs = _mm256_i32gather_epi32::<2>(line.samples.as_ptr().cast(), index);
        _mm256_madd_epi16(pairs, weight)
    }
}

/// # Safety
///
/// As for [`Sampler::block`], and the taps' spread is at most 7.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn near_chroma(line: &Line, i: usize) -> (__m256i, __m256i) {
    // SAFETY: the tables have eight entries from `i` on. Nine pairs from the block's smallest index on are inside the row.
    let (pick, weight, left, right) = unsafe {
        let base = *line.index.get_unchecked(i) as usize;
        let samples = line.samples.as_ptr().add(2 * base);
        (
            _mm256_loadu_si256(line.pick.as_ptr().add(i).cast()),
            _mm256_loadu_si256(line.weight.as_ptr().add(i).cast()),
            _mm256_loadu_si256(samples.cast()),
            _mm256_loadu_si256(samples.add(2).cast()),
        )
    };
    // A word holds u and v.
    let left = _mm256_permutevar8x32_epi32(left, pick);
    let right = _mm256_permutevar8x32_epi32(right, pick);
    weigh(left, right, weight)
}

/// # Safety
///
/// As for [`Sampler::block`].
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn far_chroma(line: &Line, i: usize) -> (__m256i, __m256i) {
    // SAFETY: the tables have eight entries from `i` on; the words hold pairs `index` and `index + 1`, both inside.
    let (left, right, weight) = unsafe {
        let index = _mm256_loadu_si256(line.index.as_ptr().add(i).cast());
        let weight = _mm256_loadu_si256(line.weight.as_ptr().add(i).cast());
        let samples = line.samples.as_ptr();
        (
            _mm256_i32gather_epi32::<4>(samples.cast(), index),
            _mm256_i32gather_epi32::<4>(samples.add(2).cast(), index),
            weight,
        )
    };
    weigh(left, right, weight)
}

/// From the left and the right pair of each output: both of its u, weighed, and both of its v.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn weigh(left: __m256i, right: __m256i, weight: __m256i) -> (__m256i, __m256i) {
    let u = _mm256_blend_epi16::<0b1010_1010>(left, _mm256_slli_epi32::<16>(right));
    let v = _mm256_blend_epi16::<0b1010_1010>(_mm256_srli_epi32::<16>(left), right);
    (_mm256_madd_epi16(u, weight), _mm256_madd_epi16(v, weight))
}

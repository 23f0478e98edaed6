//! Eight pixels at a time with AVX2.
//!
//! A sample and its right neighbour, side by side in one word, are weighed by one multiply-add of pairs. Where the samples
//! of eight neighbouring outputs lie within one vector they are picked out of it by a permutation, which costs a fraction
//! of gathering them from memory; where they are further apart they are gathered.

use std::arch::x86_64::*;

use super::{Conversion, Row};
use crate::tensor::taps::{BLOCK, Taps};

#[target_feature(enable = "avx2,fma")]
pub(super) fn blend(upper: &[u8], lower: &[u8], weight: i16, out: &mut [i16]) {
    super::blend(upper, lower, weight, out);
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn blend_pairs(upper: [&[u8]; 2], lower: [&[u8]; 2], weight: i16, out: &mut [i16]) {
    super::blend_pairs(upper, lower, weight, out);
}

/// # Safety
///
/// `row.check()` has passed, and every output is as long as what it returned.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn convert(row: &Row, conversion: &Conversion, out: [&mut [f32]; 3]) {
    let whole = out[0].len() / BLOCK * BLOCK;
    let factors = Factors::new(conversion);
    let sampler = Sampler::new(row);
    let [first, second, third] = out;
    for i in (0..whole).step_by(BLOCK) {
        // SAFETY: a block of outputs begins at `i`; `check` has passed.
        let [y, u, v] = unsafe { sampler.block(i) };
        let y = factors.luma(y);
        // SAFETY: `i + 8 <= whole`, and every output is at least that long.
        unsafe {
            _mm256_storeu_ps(first.as_mut_ptr().add(i), factors.value(0, y, u, v));
            _mm256_storeu_ps(second.as_mut_ptr().add(i), factors.value(1, y, u, v));
            _mm256_storeu_ps(third.as_mut_ptr().add(i), factors.value(2, y, u, v));
        }
    }
    super::convert(row, conversion, [first, second, third], whole);
}

/// # Safety
///
/// `row.check()` has passed, and the output is three times as long as what it returned.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn convert_bytes(row: &Row, conversion: &Conversion, out: &mut [u8]) {
    let whole = out.len() / 3 / BLOCK * BLOCK;
    let factors = Factors::new(conversion);
    let sampler = Sampler::new(row);
    // Four words of three bytes and a spare one -> twelve bytes, in each half.
    let squeeze = _mm256_setr_epi8(
        0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1, //
        0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1,
    );
    for (i, pixels) in (0..whole)
        .step_by(BLOCK)
        .zip(out.chunks_exact_mut(3 * BLOCK))
    {
        // SAFETY: a block of outputs begins at `i`; `check` has passed.
        let [y, u, v] = unsafe { sampler.block(i) };
        let y = factors.luma(y);
        let (first, second, third) = (
            factors.byte(0, y, u, v),
            factors.byte(1, y, u, v),
            factors.byte(2, y, u, v),
        );
        let words = _mm256_or_si256(
            first,
            _mm256_or_si256(
                _mm256_slli_epi32::<8>(second),
                _mm256_slli_epi32::<16>(third),
            ),
        );
        let words = _mm256_shuffle_epi8(words, squeeze);
        let (low, high) = (
            _mm256_castsi256_si128(words),
            _mm256_extracti128_si256::<1>(words),
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
    luma: [__m256; 2],
    chroma: [[__m256; 3]; 3],
    scale: [__m256; 3],
    bias: [__m256; 3],
}

impl Factors {
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn new(conversion: &Conversion) -> Self {
        Self {
            luma: [conversion.luma, conversion.black].map(|v| _mm256_set1_ps(v)),
            chroma: conversion.chroma.map(|c| c.map(|v| _mm256_set1_ps(v))),
            scale: conversion.scale.map(|v| _mm256_set1_ps(v)),
            bias: conversion.bias.map(|v| _mm256_set1_ps(v)),
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn luma(&self, y: __m256) -> __m256 {
        _mm256_fmadd_ps(y, self.luma[0], self.luma[1])
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn value(&self, channel: usize, y: __m256, u: __m256, v: __m256) -> __m256 {
        let [from_u, from_v, offset] = self.chroma[channel];
        let chroma = _mm256_fmadd_ps(u, from_u, _mm256_fmadd_ps(v, from_v, offset));
        let colour = _mm256_add_ps(y, chroma);
        let colour = _mm256_min_ps(
            _mm256_max_ps(colour, _mm256_setzero_ps()),
            _mm256_set1_ps(255.0),
        );
        _mm256_fmadd_ps(colour, self.scale[channel], self.bias[channel])
    }

    /// The value as whole numbers of 0..=255.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn byte(&self, channel: usize, y: __m256, u: __m256, v: __m256) -> __m256i {
        let rounded = _mm256_cvtps_epi32(self.value(channel, y, u, v));
        let positive = _mm256_max_epi32(rounded, _mm256_setzero_si256());
        _mm256_min_epi32(positive, _mm256_set1_epi32(255))
    }
}

/// A row, with how its samples are fetched.
struct Sampler<'a> {
    luma: Line<'a>,
    chroma: Line<'a>,
    near_luma: bool,
    near_chroma: bool,
}

/// Samples and the tables of where outputs lie between them.
struct Line<'a> {
    index: &'a [i32],
    weight: &'a [u32],
    samples: &'a [i16],
}

impl<'a> Sampler<'a> {
    fn new(row: &Row<'a>) -> Self {
        let line = |taps: &'a Taps, samples: &'a [i16]| Line {
            index: taps.index(),
            weight: taps.weight(),
            samples,
        };
        Self {
            luma: line(row.luma_taps, row.luma),
            chroma: line(row.chroma_taps, row.chroma),
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
            let y = match self.near_luma {
                true => near_luma(&self.luma, i),
                false => far_luma(&self.luma, i),
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
/// As for [`Sampler::block`], and the taps' spread is at most 15.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn near_luma(line: &Line, i: usize) -> __m256i {
    // SAFETY: the tables have eight entries from `i` on. The block's first index is its smallest, and 17 samples from
    // there on are inside the row: it has at least `SLACK` more than the largest index.
    let (relative, weight, even, odd) = unsafe {
        let base = *line.index.get_unchecked(i);
        let relative = _mm256_loadu_si256(line.index.as_ptr().add(i).cast());
        let relative = _mm256_sub_epi32(relative, _mm256_set1_epi32(base));
        let samples = line.samples.as_ptr().add(base as usize);
        (
            relative,
            _mm256_loadu_si256(line.weight.as_ptr().add(i).cast()),
            _mm256_loadu_si256(samples.cast()),
            _mm256_loadu_si256(samples.add(1).cast()),
        )
    };
    // Words of two samples, beginning at even places in one vector and at odd ones in the other.
    let word = _mm256_srli_epi32::<1>(relative);
    let even = _mm256_permutevar8x32_epi32(even, word);
    let odd = _mm256_permutevar8x32_epi32(odd, word);
    let is_odd = _mm256_castsi256_ps(_mm256_slli_epi32::<31>(relative));
    let pairs = _mm256_blendv_ps(_mm256_castsi256_ps(even), _mm256_castsi256_ps(odd), is_odd);
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
    let (relative, weight, left, right) = unsafe {
        let base = *line.index.get_unchecked(i);
        let relative = _mm256_loadu_si256(line.index.as_ptr().add(i).cast());
        let relative = _mm256_sub_epi32(relative, _mm256_set1_epi32(base));
        let samples = line.samples.as_ptr().add(2 * base as usize);
        (
            relative,
            _mm256_loadu_si256(line.weight.as_ptr().add(i).cast()),
            _mm256_loadu_si256(samples.cast()),
            _mm256_loadu_si256(samples.add(2).cast()),
        )
    };
    // A word holds u and v.
    let left = _mm256_permutevar8x32_epi32(left, relative);
    let right = _mm256_permutevar8x32_epi32(right, relative);
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

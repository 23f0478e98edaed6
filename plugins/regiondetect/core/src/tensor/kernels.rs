//! The inner loops, in a plain form and for AVX2, chosen when the program runs. The plain form is written so that the
//! compiler vectorises it where NEON or SSE2 are part of the base instruction set.

#![allow(unsafe_code)]

use super::colour::Coefficients;
use super::taps::{ROW_UNIT, Taps, UNIT};

/// From samples (weighted by [`ROW_UNIT`] and [`UNIT`]) to tensor values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Conversion {
    luma: f32,
    black: f32,
    /// Per output channel: factor of u, factor of v, their summand.
    chroma: [[f32; 3]; 3],
    scale: [f32; 3],
    bias: [f32; 3],
}

impl Conversion {
    /// `v_first`: the pairs of chroma samples begin with v.
    pub fn new(
        c: &Coefficients,
        v_first: bool,
        blue_first: bool,
        scale: [f32; 3],
        bias: [f32; 3],
    ) -> Self {
        let unit = 1.0 / (ROW_UNIT * UNIT) as f32;
        let channel = |u: f32, v: f32| {
            let (first, second) = if v_first { (v, u) } else { (u, v) };
            [first * unit, second * unit, -128.0 * (u + v)]
        };
        let (red, green, blue) = (
            channel(0.0, c.v[0]),
            channel(c.u[0], c.v[1]),
            channel(c.u[1], 0.0),
        );
        let chroma = if blue_first {
            [blue, green, red]
        } else {
            [red, green, blue]
        };
        Self {
            luma: c.luma * unit,
            black: -c.black * c.luma,
            chroma,
            scale,
            bias,
        }
    }

    #[inline(always)]
    fn value(&self, channel: usize, y: f32, u: f32, v: f32) -> f32 {
        let [from_u, from_v, offset] = self.chroma[channel];
        let colour = (y + (u * from_u + (v * from_v + offset))).clamp(0.0, 255.0);
        colour * self.scale[channel] + self.bias[channel]
    }
}

/// Which form of the loops runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kernels {
    /// For any machine.
    Plain,
    /// For x86-64 with AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
}

impl Kernels {
    /// The fastest this machine can run.
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma")
        {
            return Self::Avx2;
        }
        Self::Plain
    }

    /// `out[i] = upper[i] * (ROW_UNIT - weight) + lower[i] * weight`.
    pub fn blend(self, upper: &[u8], lower: &[u8], weight: i32, out: &mut [i16]) {
        match self {
            Self::Plain => blend(upper, lower, weight as i16, out),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `detect` is the only maker of this variant outside tests, which ask for the features themselves.
            Self::Avx2 => unsafe { avx2::blend(upper, lower, weight as i16, out) },
        }
    }

    /// Blends two planes into pairs: `out[2 * i]` from the first, `out[2 * i + 1]` from the second.
    pub fn blend_pairs(self, upper: [&[u8]; 2], lower: [&[u8]; 2], weight: i32, out: &mut [i16]) {
        match self {
            Self::Plain => blend_pairs(upper, lower, weight as i16, out),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Self::Avx2 => unsafe { avx2::blend_pairs(upper, lower, weight as i16, out) },
        }
    }

    /// One row of YUV samples to three rows of tensor values.
    pub fn convert(self, row: &Row, conversion: &Conversion, out: [&mut [f32]; 3]) {
        row.check(&out);
        match self {
            Self::Plain => convert(row, conversion, out, 0),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above; the reads and writes stay inside by `check` and the invariant of `Taps`.
            Self::Avx2 => unsafe { avx2::convert(row, conversion, out) },
        }
    }
}

/// One row to convert: blended samples and where each output lies between them.
pub(super) struct Row<'a> {
    pub luma: &'a [i16],
    pub luma_taps: &'a Taps,
    /// Pairs of u and v.
    pub chroma: &'a [i16],
    pub chroma_taps: &'a Taps,
}

impl Row<'_> {
    fn check(&self, out: &[&mut [f32]; 3]) {
        let count = self.luma_taps.index().len();
        assert_eq!(count, self.chroma_taps.index().len());
        assert!(out.iter().all(|row| row.len() == count));
        assert!(self.luma_taps.samples() <= self.luma.len());
        assert!(2 * self.chroma_taps.samples() <= self.chroma.len());
    }
}

#[inline(always)]
fn blend(upper: &[u8], lower: &[u8], weight: i16, out: &mut [i16]) {
    let rest = ROW_UNIT as i16 - weight;
    for ((out, a), b) in out.iter_mut().zip(upper).zip(lower) {
        *out = i16::from(*a) * rest + i16::from(*b) * weight;
    }
}

#[inline(always)]
fn blend_pairs(upper: [&[u8]; 2], lower: [&[u8]; 2], weight: i16, out: &mut [i16]) {
    let rest = ROW_UNIT as i16 - weight;
    let first = upper[0].iter().zip(lower[0]);
    let second = upper[1].iter().zip(lower[1]);
    for ((out, (a, b)), (c, d)) in out.chunks_exact_mut(2).zip(first).zip(second) {
        out[0] = i16::from(*a) * rest + i16::from(*b) * weight;
        out[1] = i16::from(*c) * rest + i16::from(*d) * weight;
    }
}

#[inline(always)]
fn convert(row: &Row, conversion: &Conversion, out: [&mut [f32]; 3], from: usize) {
    let [first, second, third] = out;
    for i in from..first.len() {
        let (left, a, b) = row.luma_taps.tap(i);
        let y = i32::from(row.luma[left]) * a + i32::from(row.luma[left + 1]) * b;
        let y = y as f32 * conversion.luma + conversion.black;
        let (left, a, b) = row.chroma_taps.tap(i);
        let pairs = &row.chroma[2 * left..2 * left + 4];
        let u = (i32::from(pairs[0]) * a + i32::from(pairs[2]) * b) as f32;
        let v = (i32::from(pairs[1]) * a + i32::from(pairs[3]) * b) as f32;
        first[i] = conversion.value(0, y, u, v);
        second[i] = conversion.value(1, y, u, v);
        third[i] = conversion.value(2, y, u, v);
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::{Conversion, Row};

    #[target_feature(enable = "avx2,fma")]
    pub fn blend(upper: &[u8], lower: &[u8], weight: i16, out: &mut [i16]) {
        super::blend(upper, lower, weight, out);
    }

    #[target_feature(enable = "avx2,fma")]
    pub fn blend_pairs(upper: [&[u8]; 2], lower: [&[u8]; 2], weight: i16, out: &mut [i16]) {
        super::blend_pairs(upper, lower, weight, out);
    }

    /// Eight pixels at a time. A gathered 32-bit word holds both neighbours in luma, a 64-bit word those of u and v, and
    /// one multiply-add of pairs weighs them.
    ///
    /// # Safety
    ///
    /// `row.check(&out)` has passed.
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn convert(row: &Row, conversion: &Conversion, mut out: [&mut [f32]; 3]) {
        let count = out[0].len();
        let whole = count / 8 * 8;
        let luma = row.luma.as_ptr().cast::<i32>();
        let chroma = row.chroma.as_ptr().cast::<i64>();
        let (luma_index, luma_weight) = (row.luma_taps.index(), row.luma_taps.weight());
        let (chroma_index, chroma_weight) = (row.chroma_taps.index(), row.chroma_taps.weight());
        let [luma_factor, black] = [conversion.luma, conversion.black].map(|v| _mm256_set1_ps(v));
        let factors = conversion.chroma.map(|c| c.map(|v| _mm256_set1_ps(v)));
        let scale = conversion.scale.map(|v| _mm256_set1_ps(v));
        let bias = conversion.bias.map(|v| _mm256_set1_ps(v));
        let (zero, white) = (_mm256_setzero_ps(), _mm256_set1_ps(255.0));
        // u0 v0 u1 v1 -> u0 u1 v0 v1 in each 64-bit word.
        let sort = _mm256_setr_epi8(
            0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15, //
            0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15,
        );
        let outer = _mm256_setr_epi32(0, 0, 1, 1, 4, 4, 5, 5);
        let inner = _mm256_setr_epi32(2, 2, 3, 3, 6, 6, 7, 7);

        for i in (0..whole).step_by(8) {
            // SAFETY: `i + 8 <= whole <= count`, and `check` has seen that all tables and outputs are `count` long. A
            // gather reads samples `index` and `index + 1` (pairs, for chroma), inside by the invariant of `Taps`.
            let (y, near, far, weights) = unsafe {
                let index = _mm256_loadu_si256(luma_index.as_ptr().add(i).cast());
                let weight = _mm256_loadu_si256(luma_weight.as_ptr().add(i).cast());
                let y = _mm256_madd_epi16(_mm256_i32gather_epi32::<2>(luma, index), weight);
                // Pixels 0 1 4 5 in one half and 2 3 6 7 in the other, so that the shuffles below need not cross lanes.
                let index = _mm256_loadu_si256(chroma_index.as_ptr().add(i).cast());
                let index = _mm256_permute4x64_epi64::<0b11_01_10_00>(index);
                let near = _mm256_i32gather_epi64::<4>(chroma, _mm256_castsi256_si128(index));
                let far = _mm256_i32gather_epi64::<4>(chroma, _mm256_extracti128_si256::<1>(index));
                let weights = _mm256_loadu_si256(chroma_weight.as_ptr().add(i).cast());
                (y, near, far, weights)
            };
            let near = _mm256_madd_epi16(
                _mm256_shuffle_epi8(near, sort),
                _mm256_permutevar8x32_epi32(weights, outer),
            );
            let far = _mm256_madd_epi16(
                _mm256_shuffle_epi8(far, sort),
                _mm256_permutevar8x32_epi32(weights, inner),
            );
            let (near, far) = (_mm256_cvtepi32_ps(near), _mm256_cvtepi32_ps(far));
            let u = _mm256_shuffle_ps::<0b10_00_10_00>(near, far);
            let v = _mm256_shuffle_ps::<0b11_01_11_01>(near, far);
            let y = _mm256_fmadd_ps(_mm256_cvtepi32_ps(y), luma_factor, black);
            for (channel, out) in out.iter_mut().enumerate() {
                let [from_u, from_v, offset] = factors[channel];
                let colour = _mm256_add_ps(
                    y,
                    _mm256_fmadd_ps(u, from_u, _mm256_fmadd_ps(v, from_v, offset)),
                );
                let colour = _mm256_min_ps(_mm256_max_ps(colour, zero), white);
                let value = _mm256_fmadd_ps(colour, scale[channel], bias[channel]);
                // SAFETY: `i + 8 <= count`, the length of every output.
                unsafe { _mm256_storeu_ps(out.as_mut_ptr().add(i), value) };
            }
        }
        super::convert(row, conversion, out, whole);
    }
}

#[cfg(test)]
mod tests {
    use super::super::colour::Colour;
    use super::*;

    /// The plain and the fast form of one row; they may differ by what fused rounding changes.
    #[test]
    fn the_fast_loops_agree_with_the_plain_ones() {
        let fast = Kernels::detect();
        if fast == Kernels::Plain {
            println!("skipped: this machine has no faster loops to compare");
            return;
        }
        let mut seed = 1_u32;
        let mut byte = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        };
        for (width, count, step) in [(40, 16, 2.4), (300, 416, 0.7), (7, 3, 1.9), (64, 8, 1.0)] {
            let rows: Vec<Vec<u8>> = (0..6)
                .map(|_| (0..width).map(|_| byte()).collect())
                .collect();
            let (mut luma_taps, mut chroma_taps) = (Taps::default(), Taps::default());
            luma_taps.set(0.3, step, count, width);
            chroma_taps.set(-0.2, step / 2.0, count, width);
            let mut results = Vec::new();
            for kernels in [Kernels::Plain, fast] {
                let mut luma = vec![0; width + 1];
                kernels.blend(&rows[0], &rows[1], 77, &mut luma[..width]);
                luma[width] = luma[width - 1];
                let mut chroma = vec![0; 2 * width + 2];
                kernels.blend_pairs(
                    [&rows[2], &rows[4]],
                    [&rows[3], &rows[5]],
                    5,
                    &mut chroma[..2 * width],
                );
                let row = Row {
                    luma: &luma,
                    luma_taps: &luma_taps,
                    chroma: &chroma,
                    chroma_taps: &chroma_taps,
                };
                let conversion = Conversion::new(
                    &Colour::default().coefficients(),
                    false,
                    true,
                    [1.0 / 57.0, 1.0, 0.5],
                    [-2.0, 0.0, 7.0],
                );
                let mut out = [vec![0.0; count], vec![0.0; count], vec![0.0; count]];
                let [a, b, c] = &mut out;
                kernels.convert(&row, &conversion, [a, b, c]);
                results.push((luma, chroma, out));
            }
            assert_eq!(results[0].0, results[1].0);
            assert_eq!(results[0].1, results[1].1);
            for (plain, fast) in results[0]
                .2
                .iter()
                .flatten()
                .zip(results[1].2.iter().flatten())
            {
                assert!((plain - fast).abs() < 1e-3, "{plain} and {fast}");
            }
        }
    }
}

//! The inner loops: in a plain form for any machine, for AVX2 and for NEON, chosen when the program runs.

#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "aarch64")]
mod neon;

use super::colour::Coefficients;
use super::taps::{ROW_UNIT, Taps, UNIT};

/// Samples that have to be there behind those that taps ask for: the fast loops read whole vectors.
pub(super) const SLACK: usize = 32;

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
    /// For 64-bit Arm with NEON.
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Kernels {
    /// The fastest this machine can run.
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma")
        {
            return Self::Avx2;
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            return Self::Neon;
        }
        Self::Plain
    }

    /// `out[i] = upper[i] * (ROW_UNIT - weight) + lower[i] * weight`.
    pub fn blend(self, upper: &[u8], lower: &[u8], weight: i32, out: &mut [i16]) {
        match self {
            // NEON is part of the base instruction set there: the compiler vectorises the plain loop.
            #[cfg(target_arch = "aarch64")]
            Self::Neon => blend(upper, lower, weight as i16, out),
            Self::Plain => blend(upper, lower, weight as i16, out),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `detect` is the only maker of this variant outside tests, which ask for the features themselves.
            Self::Avx2 => unsafe { avx2::blend(upper, lower, weight as i16, out) },
        }
    }

    /// Blends two planes into pairs: `out[2 * i]` from the first, `out[2 * i + 1]` from the second.
    pub fn blend_pairs(self, upper: [&[u8]; 2], lower: [&[u8]; 2], weight: i32, out: &mut [i16]) {
        match self {
            #[cfg(target_arch = "aarch64")]
            Self::Neon => blend_pairs(upper, lower, weight as i16, out),
            Self::Plain => blend_pairs(upper, lower, weight as i16, out),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Self::Avx2 => unsafe { avx2::blend_pairs(upper, lower, weight as i16, out) },
        }
    }

    /// One row of YUV samples to three rows of tensor values.
    pub fn convert(self, row: &Row, conversion: &Conversion, out: [&mut [f32]; 3]) {
        let count = row.check();
        assert!(out.iter().all(|row| row.len() == count));
        match self {
            Self::Plain => convert(row, conversion, out, 0),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above; `check` has passed, and the outputs are as long as the row.
            Self::Avx2 => unsafe { avx2::convert(row, conversion, out) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: as above; `check` has passed, and the outputs are as long as the row.
            Self::Neon => unsafe { neon::convert(row, conversion, out) },
        }
    }

    /// One row of YUV samples to pixels of three bytes.
    pub fn convert_bytes(self, row: &Row, conversion: &Conversion, out: &mut [u8]) {
        let count = row.check();
        assert_eq!(out.len(), 3 * count);
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above; `check` has passed, and the output is as long as the row.
            Self::Avx2 => unsafe { avx2::convert_bytes(row, conversion, out) },
            _ => convert_bytes(row, conversion, out, 0),
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
    /// What the fast loops rely on: both tables are of one length, which is returned, and behind the last sample they
    /// ask for there is room for a vector.
    fn check(&self) -> usize {
        let count = self.luma_taps.index().len();
        assert_eq!(count, self.chroma_taps.index().len());
        assert!(self.luma_taps.samples() + SLACK <= self.luma.len());
        assert!(2 * self.chroma_taps.samples() + SLACK <= self.chroma.len());
        count
    }

    /// Output `i` as luma, u and v, not yet brought to their units.
    #[inline(always)]
    fn sample(&self, i: usize) -> [f32; 3] {
        let (left, a, b) = self.luma_taps.tap(i);
        let y = i32::from(self.luma[left]) * a + i32::from(self.luma[left + 1]) * b;
        let (left, a, b) = self.chroma_taps.tap(i);
        let pairs = &self.chroma[2 * left..2 * left + 4];
        let u = i32::from(pairs[0]) * a + i32::from(pairs[2]) * b;
        let v = i32::from(pairs[1]) * a + i32::from(pairs[3]) * b;
        [y as f32, u as f32, v as f32]
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
        let [y, u, v] = row.sample(i);
        let y = y * conversion.luma + conversion.black;
        first[i] = conversion.value(0, y, u, v);
        second[i] = conversion.value(1, y, u, v);
        third[i] = conversion.value(2, y, u, v);
    }
}

#[inline(always)]
fn convert_bytes(row: &Row, conversion: &Conversion, out: &mut [u8], from: usize) {
    for (i, pixel) in out.chunks_exact_mut(3).enumerate().skip(from) {
        let [y, u, v] = row.sample(i);
        let y = y * conversion.luma + conversion.black;
        for (channel, byte) in pixel.iter_mut().enumerate() {
            // `as` cuts to 0..=255.
            *byte = (conversion.value(channel, y, u, v) + 0.5) as u8;
        }
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
        let cases = [
            (40, 16, 2.4),
            (300, 416, 0.7),
            (7, 3, 1.9),
            (64, 8, 1.0),
            (700, 416, 1.6),
            (800, 415, 1.9),
            (500, 100, 4.9),
        ];
        for (width, count, step) in cases {
            let rows: Vec<Vec<u8>> = (0..6)
                .map(|_| (0..width).map(|_| byte()).collect())
                .collect();
            let (mut luma_taps, mut chroma_taps) = (Taps::default(), Taps::default());
            luma_taps.set(0.3, step, count, width);
            chroma_taps.set(-0.2, step / 2.0, count, width);
            let mut results = Vec::new();
            for kernels in [Kernels::Plain, fast] {
                let mut luma = vec![0; width + 1 + SLACK];
                kernels.blend(&rows[0], &rows[1], 77, &mut luma[..width]);
                luma[width] = luma[width - 1];
                let mut chroma = vec![0; 2 * width + 2 + SLACK];
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
                let mut bytes = vec![0; 3 * count];
                kernels.convert_bytes(&row, &conversion, &mut bytes);
                results.push((luma, chroma, out, bytes));
            }
            assert_eq!(results[0].0, results[1].0);
            assert_eq!(results[0].1, results[1].1);
            for (plain, fast) in results[0].3.iter().zip(&results[1].3) {
                assert!(plain.abs_diff(*fast) <= 1, "{plain} and {fast}");
            }
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

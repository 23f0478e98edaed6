//! The inner loops: in a plain form for any machine, for AVX2, SSE4.1 and NEON, chosen when the program runs.

#![allow(unsafe_code)]

/// The factors of a conversion, each in all places of a vector.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! spread {
    ($conversion:expr, $in_all_places:path) => {{
        // Loops, because what `map` is given does not become part of a function with more features than it has: it would be
        // called eighteen times a row.
        let mut factors = Self {
            luma: [$in_all_places(0.0); 3],
            chroma: [[$in_all_places(0.0); 3]; 3],
            range: [[$in_all_places(0.0); 2]; 3],
        };
        for i in 0..3 {
            factors.luma[i] = $in_all_places($conversion.luma[i]);
            for k in 0..3 {
                factors.chroma[i][k] = $in_all_places($conversion.chroma[i][k]);
            }
            for k in 0..2 {
                factors.range[i][k] = $in_all_places($conversion.range[i][k]);
            }
        }
        factors
    }};
}

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod sse41;

use super::colour::Coefficients;
use super::taps::{ROW_UNIT, Taps, UNIT};

/// Samples that have to be there behind those that taps ask for: the fast loops read whole vectors.
pub(super) const SLACK: usize = 32;

#[cfg(target_arch = "x86_64")]
const CACHE_LINE: usize = 64;

/// From samples (weighted by [`ROW_UNIT`] and [`UNIT`]) to tensor values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Conversion {
    /// Per output channel: factor of y, scale included.
    luma: [f32; 3],
    /// Factor of u, factor of v, and what is added. The first channel and the last depend on one of u and v only.
    chroma: [[f32; 3]; 3],
    /// The values of the darkest and the brightest colour, the lesser first.
    range: [[f32; 2]; 3],
    /// The first channel depends on u, the last on v.
    u_first: bool,
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
        let black = c.black * c.luma;
        Self {
            luma: scale.map(|scale| c.luma * unit * scale),
            chroma: [0, 1, 2].map(|i| {
                let [u, v, offset] = chroma[i].map(|factor| factor * scale[i]);
                [u, v, offset - black * scale[i] + bias[i]]
            }),
            range: [0, 1, 2].map(|i| {
                let (dark, bright) = (bias[i], 255.0 * scale[i] + bias[i]);
                [dark.min(bright), dark.max(bright)]
            }),
            u_first: chroma[0][1] == 0.0,
        }
    }

    /// Channels differ only in what chroma adds to them.
    fn is_uniform(&self) -> bool {
        self.luma == [self.luma[0]; 3] && self.range == [self.range[0]; 3]
    }

    /// Values are the bytes of the colours.
    fn is_bytes(&self) -> bool {
        self.range == [[0.0, 255.0]; 3]
    }

    #[inline(always)]
    fn value(&self, channel: usize, y: f32, u: f32, v: f32) -> f32 {
        let [from_u, from_v, offset] = self.chroma[channel];
        let [low, high] = self.range[channel];
        let value = y * self.luma[channel] + (u * from_u + (v * from_v + offset));
        // Unlike `clamp` this takes any numbers.
        value.max(low).min(high)
    }
}

/// Asks for bytes that will be read soon to be brought near, where the machine can be asked.
#[inline]
pub(crate) fn will_read(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    for line in bytes.chunks(CACHE_LINE) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every x86-64 machine has the instruction, and it reads nothing: any address will do.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = bytes;
}

/// Which form of the loops runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kernels {
    /// For any machine.
    Plain,
    /// For x86-64 with AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// For x86-64 with SSE4.1.
    #[cfg(target_arch = "x86_64")]
    Sse41,
    /// For 64-bit Arm with NEON.
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Kernels {
    /// The fastest this machine can run.
    pub fn detect() -> Self {
        Self::available().next().unwrap_or(Self::Plain)
    }

    /// All that this machine can run, the fastest first.
    fn available() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let fast = {
            use std::arch::is_x86_feature_detected as has;
            [
                (has!("avx2") && has!("fma")).then_some(Self::Avx2),
                has!("sse4.1").then_some(Self::Sse41),
            ]
        };
        #[cfg(target_arch = "aarch64")]
        let fast = [std::arch::is_aarch64_feature_detected!("neon").then_some(Self::Neon)];
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let fast = [];
        fast.into_iter().flatten().chain([Self::Plain])
    }

    /// `out[i] = upper[i] * (ROW_UNIT - weight) + lower[i] * weight`.
    pub fn blend(self, upper: &[u8], lower: &[u8], weight: i32, out: &mut [i16]) {
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: only `available` makes this variant, where the machine has the features.
            Self::Avx2 => unsafe { avx2::blend(upper, lower, weight as i16, out) },
            // The compiler vectorises the plain loop with what every machine of a kind has.
            _ => blend(upper, lower, weight as i16, out),
        }
    }

    /// Blends two planes into pairs: `out[2 * i]` from the first, `out[2 * i + 1]` from the second.
    pub fn blend_pairs(self, upper: [&[u8]; 2], lower: [&[u8]; 2], weight: i32, out: &mut [i16]) {
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Self::Avx2 => unsafe { avx2::blend_pairs(upper, lower, weight as i16, out) },
            _ => blend_pairs(upper, lower, weight as i16, out),
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
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above; `check` has passed, and the outputs are as long as the row.
            Self::Sse41 => unsafe { sse41::convert(row, conversion, out) },
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
            Self::Avx2 if conversion.is_bytes() => unsafe {
                avx2::convert_bytes(row, conversion, out)
            },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above; `check` has passed, and the output is as long as the row.
            Self::Sse41 => unsafe { sse41::convert_bytes(row, conversion, out) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: as above; `check` has passed, and the output is as long as the row.
            Self::Neon => unsafe { neon::convert_bytes(row, conversion, out) },
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
    if weight == 0 {
        for (out, a) in out.iter_mut().zip(upper) {
            *out = i16::from(*a) * ROW_UNIT as i16;
        }
        return;
    }
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
        first[i] = conversion.value(0, y, u, v);
        second[i] = conversion.value(1, y, u, v);
        third[i] = conversion.value(2, y, u, v);
    }
}

#[inline(always)]
fn convert_bytes(row: &Row, conversion: &Conversion, out: &mut [u8], from: usize) {
    for (i, pixel) in out.chunks_exact_mut(3).enumerate().skip(from) {
        let [y, u, v] = row.sample(i);
        for (channel, byte) in pixel.iter_mut().enumerate() {
            // `as` cuts to 0..=255.
            *byte = (conversion.value(channel, y, u, v) + 0.5) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::colour::Colour;
    use super::super::taps::Grain;
    use super::*;

    /// What every form makes of rows of some widths, sizes and starts, and of the same conversion.
    #[test]
    fn the_fast_loops_agree_with_the_plain_ones() {
        let fast: Vec<_> = Kernels::available()
            .filter(|kernels| *kernels != Kernels::Plain)
            .collect();
        if fast.is_empty() {
            println!("skipped: this machine has no faster loops to compare");
        }
        let mut seed = 1_u32;
        let mut byte = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        };
        let sizes = [
            (40, 16, 2.4),
            (300, 416, 0.7),
            (7, 3, 1.9),
            (64, 8, 1.0),
            (420, 413, 1.0),
            (700, 416, 1.6),
            (800, 415, 1.9),
            (500, 100, 4.9),
        ];
        let starts = [(0.3, 77), (2.0, 1), (1.5, 0), (0.0, ROW_UNIT)];
        let cases = starts.iter().flat_map(|s| sizes.map(|c| (*s, c)));
        for ((start, down), (width, count, step)) in cases {
            let rows: Vec<Vec<u8>> = (0..6)
                .map(|_| (0..width).map(|_| byte()).collect())
                .collect();
            let mut luma_taps = Taps::new(Grain::Samples);
            let mut chroma_taps = Taps::new(Grain::Pairs);
            luma_taps.set(start, step, count, width);
            chroma_taps.set(-0.2, step / 2.0, count, width);
            let v_first = count % 2 == 0;
            let made = |kernels: Kernels| {
                let mut luma = vec![0; width + 1 + SLACK];
                kernels.blend(&rows[0], &rows[1], down, &mut luma[..width]);
                luma[width] = luma[width - 1];
                let mut chroma = vec![0; 2 * width + 2 + SLACK];
                kernels.blend_pairs(
                    [&rows[2], &rows[4]],
                    [&rows[3], &rows[5]],
                    ROW_UNIT - down,
                    &mut chroma[..2 * width],
                );
                let row = Row {
                    luma: &luma,
                    luma_taps: &luma_taps,
                    chroma: &chroma,
                    chroma_taps: &chroma_taps,
                };
                let conversion = |scale, bias| {
                    let colour = Colour::default().coefficients();
                    Conversion::new(&colour, v_first, true, scale, bias)
                };
                let mut out = [vec![0.0; count], vec![0.0; count], vec![0.0; count]];
                let scaled = conversion([1.0 / 57.0, 1.0, 0.5], [-2.0, 0.0, 7.0]);
                let rows = out.each_mut().map(|row| &mut row[..]);
                kernels.convert(&row, &scaled, rows);
                let mut bytes = [vec![0; 3 * count], vec![0; 3 * count]];
                kernels.convert_bytes(&row, &conversion([1.0; 3], [0.0; 3]), &mut bytes[0]);
                kernels.convert_bytes(&row, &scaled, &mut bytes[1]);
                (luma, chroma, out, bytes)
            };
            let plain = made(Kernels::Plain);
            for kernels in &fast {
                let fast = made(*kernels);
                assert_eq!((&plain.0, &plain.1), (&fast.0, &fast.1), "{kernels:?}");
                // They may differ by what fused rounding changes.
                for (plain, fast) in plain.2.iter().flatten().zip(fast.2.iter().flatten()) {
                    assert!((plain - fast).abs() < 1e-3, "{kernels:?}: {plain}, {fast}");
                }
                for (plain, fast) in plain.3.iter().flatten().zip(fast.3.iter().flatten()) {
                    assert!(plain.abs_diff(*fast) <= 1, "{kernels:?}: {plain}, {fast}");
                }
            }
        }
    }
}

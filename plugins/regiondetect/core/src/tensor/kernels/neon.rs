//! Four pixels at a time with NEON.
//!
//! The samples of four neighbouring outputs are looked up in a table of two vectors; where they are further apart than
//! that, the plain loop runs.

use std::arch::aarch64::*;

use super::{Conversion, Row};

/// Outputs of one step.
const STEP: usize = 4;

/// # Safety
///
/// `row.check()` has passed, and every output is as long as what it returned.
#[target_feature(enable = "neon")]
pub(super) unsafe fn convert(row: &Row, conversion: &Conversion, mut out: [&mut [f32]; 3]) {
    let whole = whole_steps(row, out[0].len(), STEP);
    let factors = Factors::new(conversion);
    for i in (0..whole).step_by(STEP) {
        // SAFETY: four outputs begin at `i`; `check` has passed, and the spreads were looked at.
        let sample = unsafe { sample(row, i) };
        for (channel, out) in out.iter_mut().enumerate() {
            // SAFETY: `i + 4 <= whole`, and every output is at least that long.
            unsafe { vst1q_f32(out.as_mut_ptr().add(i), factors.value(channel, sample)) };
        }
    }
    super::convert(row, conversion, out, whole);
}

/// # Safety
///
/// `row.check()` has passed, and the output is three times as long as what it returned.
#[target_feature(enable = "neon")]
pub(super) unsafe fn convert_bytes(row: &Row, conversion: &Conversion, out: &mut [u8]) {
    let whole = whole_steps(row, out.len() / 3, 2 * STEP);
    let factors = Factors::new(conversion);
    for i in (0..whole).step_by(2 * STEP) {
        // SAFETY: eight outputs begin at `i`; `check` has passed, and the spreads were looked at.
        let (low, high) = unsafe { (sample(row, i), sample(row, i + STEP)) };
        let (first, second, third) = (
            factors.bytes(0, low, high),
            factors.bytes(1, low, high),
            factors.bytes(2, low, high),
        );
        // SAFETY: `i + 8 <= whole`, and the output is three times as long.
        unsafe {
            vst3_u8(
                out.as_mut_ptr().add(3 * i),
                uint8x8x3_t(first, second, third),
            )
        };
    }
    super::convert_bytes(row, conversion, out, whole);
}

/// How many of so many outputs can be made in steps of this size.
fn whole_steps(row: &Row, count: usize, step: usize) -> usize {
    // Sixteen luma samples are in a table, or eight pairs of chroma; the last one of them is only a right neighbour.
    let near = row.luma_taps.half_spread() <= 14 && row.chroma_taps.half_spread() <= 6;
    if near { count / step * step } else { 0 }
}

/// [`Conversion`], four times each.
struct Factors {
    luma: [float32x4_t; 3],
    chroma: [[float32x4_t; 3]; 3],
    range: [[float32x4_t; 2]; 3],
}

impl Factors {
    #[inline]
    #[target_feature(enable = "neon")]
    fn new(conversion: &Conversion) -> Self {
        spread!(conversion, vdupq_n_f32)
    }

    #[inline]
    #[target_feature(enable = "neon")]
    fn value(&self, channel: usize, [y, u, v]: [float32x4_t; 3]) -> float32x4_t {
        let [from_u, from_v, offset] = self.chroma[channel];
        let [low, high] = self.range[channel];
        let chroma = vfmaq_f32(vfmaq_f32(offset, v, from_v), u, from_u);
        let value = vfmaq_f32(chroma, y, self.luma[channel]);
        vminq_f32(vmaxq_f32(value, low), high)
    }

    /// A channel of eight outputs; narrowing cuts to 0..=255.
    #[inline]
    #[target_feature(enable = "neon")]
    fn bytes(&self, channel: usize, low: [float32x4_t; 3], high: [float32x4_t; 3]) -> uint8x8_t {
        let low = vqmovn_s32(vcvtnq_s32_f32(self.value(channel, low)));
        let high = vqmovn_s32(vcvtnq_s32_f32(self.value(channel, high)));
        vqmovun_s16(vcombine_s16(low, high))
    }
}

/// Luma, u and v of four outputs.
///
/// # Safety
///
/// `row.check()` has passed, `i + 4` is not beyond what it returned, and the taps' spreads are at most 14 and 6.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn sample(row: &Row, i: usize) -> [float32x4_t; 3] {
    // SAFETY: handed on.
    let ([y], [u, v]) = unsafe { (luma_at(row, i), chroma_at(row, i)) };
    [y, u, v]
}

/// Sums of neighbouring products: a sample and its right neighbour, weighed.
#[inline]
#[target_feature(enable = "neon")]
fn weigh(pairs: uint8x16_t, weight: uint32x4_t) -> float32x4_t {
    let (pairs, weight) = (vreinterpretq_s16_u8(pairs), vreinterpretq_s16_u32(weight));
    let low = vmull_s16(vget_low_s16(pairs), vget_low_s16(weight));
    let high = vmull_high_s16(pairs, weight);
    vcvtq_f32_s32(vpaddq_s32(low, high))
}

/// # Safety
///
/// `row.check()` has passed, `i + 4` is not beyond what it returned, and the taps' spread is at most 14.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn luma_at(row: &Row, i: usize) -> [float32x4_t; 1] {
    let (index, weight) = (row.luma_taps.index(), row.luma_taps.weight());
    // SAFETY: the tables have four entries from `i` on, and the row has `SLACK` samples more than the largest index.
    let (relative, weight, table) = unsafe {
        let base = *index.get_unchecked(i);
        let relative = vsubq_s32(vld1q_s32(index.as_ptr().add(i)), vdupq_n_s32(base));
        let samples = row.luma.as_ptr().add(base as usize).cast::<u8>();
        let table = uint8x16x2_t(vld1q_u8(samples), vld1q_u8(samples.add(16)));
        (relative, vld1q_u32(weight.as_ptr().add(i)), table)
    };
    // Bytes 2k, 2k+1 of the sample and 2k+2, 2k+3 of its neighbour.
    let bytes = vmlaq_n_u32(
        vdupq_n_u32(0x0302_0100),
        vreinterpretq_u32_s32(relative),
        0x0202_0202,
    );
    let pairs = vqtbl2q_u8(table, vreinterpretq_u8_u32(bytes));
    [weigh(pairs, weight)]
}

/// # Safety
///
/// As for [`luma_at`], with a spread of at most 6.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn chroma_at(row: &Row, i: usize) -> [float32x4_t; 2] {
    let (index, weight) = (row.chroma_taps.index(), row.chroma_taps.weight());
    // SAFETY: the tables have four entries from `i` on, and the row has `SLACK` samples more than the largest index.
    let (relative, weight, table) = unsafe {
        let base = *index.get_unchecked(i);
        let relative = vsubq_s32(vld1q_s32(index.as_ptr().add(i)), vdupq_n_s32(base));
        let samples = row.chroma.as_ptr().add(2 * base as usize).cast::<u8>();
        let table = uint8x16x2_t(vld1q_u8(samples), vld1q_u8(samples.add(16)));
        (relative, vld1q_u32(weight.as_ptr().add(i)), table)
    };
    // Bytes of u at 4k and of the next u at 4k + 4; v lies two bytes further.
    let relative = vreinterpretq_u32_s32(relative);
    let u = vmlaq_n_u32(vdupq_n_u32(0x0504_0100), relative, 0x0404_0404);
    let v = vaddq_u32(u, vdupq_n_u32(0x0202_0202));
    let u = vqtbl2q_u8(table, vreinterpretq_u8_u32(u));
    let v = vqtbl2q_u8(table, vreinterpretq_u8_u32(v));
    [weigh(u, weight), weigh(v, weight)]
}

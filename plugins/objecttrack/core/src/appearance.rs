//! Does the place of a resting object still look the same? A small crop of the luma plane and normalised correlation; the
//! tracker asks only for resting objects, and only when [`crate::Params::appearance`] is on.

use detection::BBox;

/// Side of a crop in samples.
const SIDE: usize = 24;

/// The luma plane of a frame, in the tracker's pixels.
#[derive(Debug, Clone, Copy)]
pub struct Luma<'a> {
    /// Rows of samples, `stride` bytes apart.
    pub data: &'a [u8],
    /// Bytes from one row to the next.
    pub stride: usize,
    /// Samples per row.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

/// The picture of one object, reduced to a fixed size and freed of brightness and contrast.
#[derive(Debug, Clone, PartialEq)]
pub struct Crop {
    samples: [f32; SIDE * SIDE],
}

impl Crop {
    /// Cuts a box out; `None` where less than half of it is in the picture, it is too small to say anything, or it is flat.
    pub fn cut(luma: &Luma<'_>, bbox: &BBox) -> Option<Self> {
        let inside = bbox.clamped(luma.width as f32, luma.height as f32);
        if inside.width() < 12.0 || inside.height() < 12.0 || inside.area() < 0.5 * bbox.area() {
            return None;
        }
        let mut samples = [0.0f32; SIDE * SIDE];
        let (sx, sy) = (inside.width() / SIDE as f32, inside.height() / SIDE as f32);
        for r in 0..SIDE {
            let y1 = (inside.y1 + r as f32 * sy) as usize;
            let y2 =
                ((inside.y1 + (r + 1) as f32 * sy) as usize).clamp(y1 + 1, luma.height.max(y1 + 1));
            for c in 0..SIDE {
                let x1 = (inside.x1 + c as f32 * sx) as usize;
                let x2 = ((inside.x1 + (c + 1) as f32 * sx) as usize)
                    .clamp(x1 + 1, luma.width.max(x1 + 1));
                // At most 4x4 samples of each cell: enough for a mean, whatever the frame's size.
                let (stepx, stepy) = ((x2 - x1).div_ceil(4), (y2 - y1).div_ceil(4));
                let (mut sum, mut n) = (0u32, 0u32);
                for y in (y1..y2).step_by(stepy) {
                    for x in (x1..x2).step_by(stepx) {
                        sum += u32::from(*luma.data.get(y * luma.stride + x)?);
                        n += 1;
                    }
                }
                samples[r * SIDE + c] = sum as f32 / n.max(1) as f32;
            }
        }
        let count = (SIDE * SIDE) as f32;
        let mean = samples.iter().sum::<f32>() / count;
        let power: f32 = samples.iter().map(|s| (s - mean) * (s - mean)).sum();
        if power / count < 9.0 {
            return None;
        }
        let k = 1.0 / power.sqrt();
        for s in &mut samples {
            *s = (*s - mean) * k;
        }
        Some(Self { samples })
    }

    /// Normalised correlation of two crops, -1..=1; brightness and contrast do not matter.
    pub fn likeness(&self, other: &Self) -> f32 {
        self.samples
            .iter()
            .zip(&other.samples)
            .map(|(a, b)| a * b)
            .sum()
    }

    /// Follows slow changes of light: a little of the new crop is mixed in.
    pub fn blend(&mut self, new: &Self, share: f32) {
        let mut power = 0.0;
        for (a, b) in self.samples.iter_mut().zip(&new.samples) {
            *a += (b - *a) * share;
            power += *a * *a;
        }
        if power > 1e-9 {
            let k = 1.0 / power.sqrt();
            for a in &mut self.samples {
                *a *= k;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(seed: u32, gain: f32, offset: f32) -> Vec<u8> {
        (0..200usize * 100)
            .map(|i| {
                let (x, y) = ((i % 200) as u32 / 9, (i / 200) as u32 / 7);
                let v = (x.wrapping_mul(2_654_435_761)
                    ^ y.wrapping_mul(40_503)
                    ^ seed.wrapping_mul(0x9E37_79B9))
                .wrapping_mul(2_246_822_519)
                    >> 25;
                (v as f32 * gain + offset) as u8
            })
            .collect()
    }

    fn cut(data: &[u8]) -> Option<Crop> {
        let luma = Luma {
            data,
            stride: 200,
            width: 200,
            height: 100,
        };
        Crop::cut(&luma, &BBox::from_xywh(40.0, 20.0, 90.0, 60.0))
    }

    #[test]
    fn darker_light_is_the_same_picture_and_another_picture_is_not() {
        let day = cut(&picture(1, 1.0, 80.0)).unwrap();
        let dusk = cut(&picture(1, 0.4, 20.0)).unwrap();
        let other = cut(&picture(7, 1.0, 80.0)).unwrap();
        assert!(day.likeness(&dusk) > 0.95, "{}", day.likeness(&dusk));
        assert!(day.likeness(&other) < 0.5, "{}", day.likeness(&other));
    }

    #[test]
    fn a_flat_wall_or_a_box_outside_the_picture_says_nothing() {
        assert!(cut(&[128; 200 * 100]).is_none());
        let data = picture(1, 1.0, 0.0);
        let luma = Luma {
            data: &data,
            stride: 200,
            width: 200,
            height: 100,
        };
        assert!(Crop::cut(&luma, &BBox::from_xywh(190.0, 20.0, 90.0, 60.0)).is_none());
        let short = Luma {
            data: &data[..500],
            ..luma
        };
        assert!(Crop::cut(&short, &BBox::from_xywh(40.0, 20.0, 90.0, 60.0)).is_none());
    }
}

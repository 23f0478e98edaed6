//! The picture operations of motion detection, on small planes, bit for bit as NumPy, SciPy and OpenCV compute them.

/// Nearest-neighbour source positions when `from` pixels become `to`.
pub(super) fn nearest(from: usize, to: usize) -> Vec<u32> {
    let scale = 1.0 / (to as f64 / from as f64);
    (0..to)
        .map(|i| ((i as f64 * scale).floor() as usize).min(from - 1) as u32)
        .collect()
}

/// How often each value occurs. Four tables, so that equal neighbours do not wait for each other.
pub(super) fn histogram(plane: &[u8]) -> [u32; 256] {
    let mut tables = [[0u32; 256]; 4];
    let mut chunks = plane.chunks_exact(4);
    for chunk in &mut chunks {
        for (table, value) in tables.iter_mut().zip(chunk) {
            table[usize::from(*value)] += 1;
        }
    }
    for value in chunks.remainder() {
        tables[0][usize::from(*value)] += 1;
    }
    let [mut sum, b, c, d] = tables;
    for (i, n) in sum.iter_mut().enumerate() {
        *n += b[i] + c[i] + d[i];
    }
    sum
}

/// The share-th quantile with linear interpolation, cut to a whole number.
pub(super) fn quantile(histogram: &[u32; 256], share: f64) -> u8 {
    let total: u32 = histogram.iter().sum();
    let at = f64::from(total.saturating_sub(1)) * share;
    let (below, part) = (at.floor(), at.fract());
    let a = value_at(histogram, below as u32);
    let b = value_at(histogram, (below as u32 + 1).min(total.saturating_sub(1)));
    let (a, b) = (f64::from(a), f64::from(b));
    // From the nearer end, as NumPy does: the last bit decides what is cut off.
    let value = if part >= 0.5 {
        b - (b - a) * (1.0 - part)
    } else {
        a + (b - a) * part
    };
    value as u8
}

/// The value at this place in sorted order.
fn value_at(histogram: &[u32; 256], place: u32) -> u8 {
    let mut seen = 0;
    for (value, n) in histogram.iter().enumerate() {
        seen += n;
        if seen > place {
            return value as u8;
        }
    }
    255
}

/// Clips to `low..=high` and stretches that to 0..=255.
pub(super) fn stretch(plane: &mut [u8], low: f64, high: f64) {
    let mut table = [0u8; 256];
    for (value, out) in table.iter_mut().enumerate() {
        let clipped = (value as f64).max(low).min(high);
        *out = ((clipped - low) / (high - low) * 255.0) as u8;
    }
    for pixel in plane {
        *pixel = table[usize::from(*pixel)];
    }
}

/// One tap of the blur, 0.27406862 of the neighbours and 0.45186276 of the middle, cut to a whole number. In 16 bits this
/// gives what double precision gives for every possible input (tested).
#[inline(always)]
fn tap(before: u8, middle: u8, after: u8) -> u8 {
    const NEIGHBOUR: i32 = 17961; // 0.27406862 * 65536
    let difference = i16::from(before) + i16::from(after) - 2 * i16::from(middle);
    let change = ((i32::from(difference) * NEIGHBOUR) >> 16) as i16;
    (i16::from(middle) + change) as u8
}

/// Gaussian of sigma 1 and radius 1 down and then across, edges mirrored, cut to whole numbers after each.
pub(super) fn blur(plane: &mut [u8], width: usize, scratch: &mut [u8]) {
    let rows = plane.len() / width;
    for y in 0..rows {
        let row = |y: usize| &plane[y * width..][..width];
        let (above, middle, below) = (row(y.saturating_sub(1)), row(y), row((y + 1).min(rows - 1)));
        let out = &mut scratch[y * width..][..width];
        for x in 0..width {
            out[x] = tap(above[x], middle[x], below[x]);
        }
    }
    for (row, out) in scratch
        .chunks_exact(width)
        .zip(plane.chunks_exact_mut(width))
    {
        let last = width - 1;
        for ((out, left), (middle, right)) in out[1..]
            .iter_mut()
            .zip(row)
            .zip(row[1..].iter().zip(&row[width.min(2)..]))
        {
            *out = tap(*left, *middle, *right);
        }
        out[0] = tap(row[0], row[0], row[1.min(last)]);
        out[last] = tap(row[last.saturating_sub(1)], row[last], row[last]);
    }
}

/// 1 where the frame is more than `threshold` away from the rounded average, 0 elsewhere.
pub(super) fn changed(frame: &[u8], average: &[f32], threshold: u8, out: &mut [u8]) {
    // Adding 2^23 leaves the value rounded half to even in the low bits.
    const ROUND: f32 = 8_388_608.0;
    for ((out, frame), average) in out.iter_mut().zip(frame).zip(average) {
        let average = (average + ROUND).to_bits() as u8;
        *out = u8::from(frame.abs_diff(average) > threshold);
    }
}

/// Widens what is set by one pixel in all eight directions.
pub(super) fn dilate(plane: &mut [u8], width: usize, scratch: &mut [u8]) {
    for (row, out) in plane
        .chunks_exact(width)
        .zip(scratch.chunks_exact_mut(width))
    {
        out.copy_from_slice(row);
        for (out, left) in out[1..].iter_mut().zip(row) {
            *out |= left;
        }
        for (out, right) in out.iter_mut().zip(&row[1..]) {
            *out |= right;
        }
    }
    let rows = plane.len() / width;
    for y in 0..rows {
        let row = |y: usize| &scratch[y * width..][..width];
        let (above, middle, below) = (row(y.saturating_sub(1)), row(y), row((y + 1).min(rows - 1)));
        let out = &mut plane[y * width..][..width];
        for x in 0..width {
            out[x] = above[x] | middle[x] | below[x];
        }
    }
}

/// Moves the average towards the frame by a share of `alpha`.
pub(super) fn accumulate(average: &mut [f32], frame: &[u8], alpha: f32) {
    let rest = 1.0 - alpha;
    for (average, frame) in average.iter_mut().zip(frame) {
        *average = f32::from(*frame) * alpha + *average * rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_blur_in_integers_is_the_blur_in_double_precision() {
        let outer = (-0.5f64).exp();
        let sum = outer + 1.0 + outer;
        for middle in 0..=255u8 {
            for neighbours in 0..=510u16 {
                let before = (neighbours / 2) as u8;
                let after = (neighbours - u16::from(before)) as u8;
                let exact = f64::from(middle) * (1.0 / sum) + f64::from(neighbours) * (outer / sum);
                assert_eq!(
                    tap(before, middle, after),
                    exact as u8,
                    "{middle} {neighbours}"
                );
            }
        }
    }

    #[test]
    fn quantiles_interpolate_like_numpy() {
        let mut h = [0u32; 256];
        for v in [10, 20, 30, 40, 50] {
            h[v] = 1;
        }
        assert_eq!(quantile(&h, 0.5), 30);
        assert_eq!(quantile(&h, 0.04), 11); // 11.6
        assert_eq!(quantile(&h, 0.96), 48); // 48.4
        assert_eq!(quantile(&[0; 256], 0.5), 255);
    }

    #[test]
    fn narrow_planes_are_filtered_too() {
        for width in 1..4 {
            let mut plane = vec![100u8; width * 3];
            let mut scratch = plane.clone();
            blur(&mut plane, width, &mut scratch);
            assert!(plane.iter().all(|p| *p == 100));
            plane.fill(0);
            plane[width] = 1;
            dilate(&mut plane, width, &mut scratch);
            assert_eq!(plane.iter().filter(|p| **p == 1).count(), 3 * width.min(2));
        }
    }
}

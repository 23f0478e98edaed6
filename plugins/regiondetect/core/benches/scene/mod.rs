//! Pictures to measure with.

#![allow(dead_code)] // each bench uses its part

/// A textured picture with two people-sized bars at a place that depends on `n`.
pub fn frame(width: usize, height: usize, n: usize) -> Vec<u8> {
    let mut plane: Vec<u8> = (0..width * height)
        .map(|i| {
            ((i % width) * 7 / 16 + (i / width) * 3 / 8 + ((i * 2_654_435_761) >> 24) % 16) as u8
                / 2
                + 40
        })
        .collect();
    for person in 0..2 {
        let x = (n * 8 + person * width / 2) % (width - 80);
        for y in height / 3..height / 3 + height / 4 {
            plane[y * width + x..][..60].fill(230);
        }
    }
    plane
}

/// Bytes without any pattern.
pub fn noise(length: usize) -> Vec<u8> {
    let mut seed = 7_u32;
    let mut next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

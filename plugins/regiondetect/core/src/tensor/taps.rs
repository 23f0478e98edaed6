//! Which source samples an output pixel lies between, and how near to each.

/// Sum of the two weights across.
pub(super) const UNIT: i32 = 1 << 14;
/// Sum of the two weights down. Small, so that a weighted byte still fits 16 bits.
pub(super) const ROW_UNIT: i32 = 1 << 7;

/// For a line of outputs: the left one of two neighbouring samples, and the weights of both.
///
/// Invariant, which the kernels' reads rely on: `index[i] + 1 < samples` for every i, both lists are of one length, and the
/// indices of a block of outputs begin with the smallest and span no more than `spread`.
#[derive(Debug)]
pub(super) struct Taps {
    grain: Grain,
    index: Vec<i32>,
    /// Where in its block's vector an output's left sample is; see [`Taps::pick`].
    pick: Vec<i32>,
    /// Both weights as 16-bit halves, the left one low.
    weight: Vec<u32>,
    first: usize,
    samples: usize,
    spread: i32,
    half_spread: i32,
    exact: bool,
    /// What the tables were made for: while nothing moves far, it is the same from frame to frame.
    made_for: Option<(f64, f64, usize, usize)>,
}

/// What a word of 32 bits holds of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grain {
    /// Two neighbouring samples.
    Samples,
    /// A sample of u and one of v.
    Pairs,
}

/// Outputs that are computed together; [`Taps::spread`] is about such blocks.
pub(super) const BLOCK: usize = 8;

impl Taps {
    /// Tables for lines of this kind.
    pub fn new(grain: Grain) -> Self {
        Self {
            grain,
            index: Vec::new(),
            pick: Vec::new(),
            weight: Vec::new(),
            first: 0,
            samples: 0,
            spread: 0,
            half_spread: 0,
            exact: false,
            made_for: None,
        }
    }

    /// Positions `start + i * step` for `count` outputs in a line of `length` samples.
    pub fn set(&mut self, start: f64, step: f64, count: usize, length: usize) {
        let wanted = Some((start, step, count, length));
        if self.made_for == wanted {
            return;
        }
        self.made_for = wanted;
        self.index.clear();
        self.pick.clear();
        self.weight.clear();
        let last = (length.max(1) - 1) as f64;
        let at = |i: usize| (start + i as f64 * step).clamp(0.0, last);
        self.first = at(0) as usize;
        for i in 0..count {
            let position = at(i);
            let left = position as usize;
            let right = ((position - left as f64) * f64::from(UNIT) + 0.5) as i32;
            self.index.push((left - self.first) as i32);
            self.weight
                .push((UNIT - right) as u32 | (right as u32) << 16);
        }
        let spread = |size| {
            let blocks = self.index.chunks(size);
            let spreads = blocks.map(|block: &[i32]| block[block.len() - 1] - block[0]);
            spreads.max().unwrap_or(0)
        };
        (self.spread, self.half_spread) = (spread(BLOCK), spread(BLOCK / 2));
        for block in self.index.chunks(BLOCK) {
            let grain = self.grain;
            self.pick
                .extend(block.iter().map(|left| match left - block[0] {
                    relative if grain == Grain::Pairs => relative,
                    relative => relative.rotate_right(1),
                }));
        }
        let whole = |weight: &u32| *weight == UNIT as u32;
        let in_turn = |pair: &[i32]| pair[1] == pair[0] + 1;
        self.exact = self.weight.iter().all(whole) && self.index.windows(2).all(in_turn);
        let last = self.index.last().map_or(0, |left| *left as usize);
        self.samples = last + 2;
    }

    /// First sample of the line that is read.
    pub fn first(&self) -> usize {
        self.first
    }

    /// Samples that have to be there from the first on; the last may lie one beyond the line's end.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// How far apart the left neighbours within a block of outputs are at most.
    pub fn spread(&self) -> i32 {
        self.spread
    }

    /// The same within half a block.
    pub fn half_spread(&self) -> i32 {
        self.half_spread
    }

    /// Every output is a sample, and the next output the next sample.
    pub fn is_exact(&self) -> bool {
        self.exact
    }

    /// Where outputs' left samples are, counted from the first one of their block: of pairs the place itself; of samples
    /// half the place, and the highest bit says that it was odd.
    pub fn pick(&self) -> &[i32] {
        &self.pick
    }

    /// Left neighbours, counted from the first sample read.
    pub fn index(&self) -> &[i32] {
        &self.index
    }

    /// Packed weights.
    pub fn weight(&self) -> &[u32] {
        &self.weight
    }

    /// Output `i`: its left neighbour and both weights.
    pub fn tap(&self, i: usize) -> (usize, i32, i32) {
        let weight = self.weight[i];
        (
            self.index[i] as usize,
            (weight & 0xffff) as i32,
            (weight >> 16) as i32,
        )
    }
}

/// The two rows an output row lies between, and the weight of the second of [`ROW_UNIT`].
pub(super) fn rows(position: f64, length: usize) -> (usize, usize, i32) {
    let last = length - 1;
    let position = position.clamp(0.0, last as f64);
    let upper = position as usize;
    let weight = ((position - upper as f64) * f64::from(ROW_UNIT) + 0.5) as i32;
    (upper, (upper + 1).min(last), weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tap_lies_inside_the_samples_it_asks_for() {
        let mut taps = Taps::new(Grain::Samples);
        for (start, step, count, length) in [
            (0.0, 1.0, 10, 10),
            (-3.0, 0.5, 40, 8),
            (5.2, 2.6, 416, 1920),
            (1900.0, 2.6, 416, 1920),
            (0.0, 0.0, 5, 1),
            (-0.5, 1e9, 3, 7),
        ] {
            taps.set(start, step, count, length);
            for i in 0..count {
                let (left, a, b) = taps.tap(i);
                assert!(left + 1 < taps.samples());
                assert!(taps.first() + left < length);
                assert_eq!(a + b, UNIT);
            }
            assert!(taps.first() + taps.samples() <= length + 1);
        }
    }
}

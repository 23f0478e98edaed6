//! Chance that is the same on every machine and in every run: numbers drawn from a hash of the seed.

/// A stream of numbers belonging to one seed.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    /// The stream belonging to `seed` and the things named by `parts`; independent of every other combination.
    pub fn new(seed: u64, parts: &[u64]) -> Self {
        let mut dice = Self(mix(seed ^ 0x5EED_0F5C_E9E5));
        for part in parts {
            dice.0 = mix(dice.0 ^ part.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        }
        dice
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// In `0.0..1.0`.
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u64 << 24) as f32
    }

    pub fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    pub fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// One of `choices`, which must not be empty.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[(self.bits() % choices.len() as u64) as usize]
    }
}

/// The finalizer of SplitMix64: every bit of the result depends on every bit of `value`.
pub(super) fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

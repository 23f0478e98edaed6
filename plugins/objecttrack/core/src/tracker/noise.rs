//! What is believed about the detector's noise.

use crate::params::Motion;

/// What is believed about the detector's noise: the same for all objects of a camera, so it is learned from all of them.
#[derive(Debug)]
pub(super) struct Noise {
    centre: f32,
    size: f32,
}

impl Noise {
    pub fn new(m: &Motion) -> Self {
        Self {
            centre: m.noise * m.noise,
            size: m.size_noise * m.size_noise,
        }
    }

    pub fn learn(&mut self, (centre, size): (f32, f32), m: &Motion) {
        self.centre += (centre - self.centre) * m.noise_learning;
        self.size += (size - self.size) * m.noise_learning;
    }

    pub fn apply(&self, m: &Motion) -> Motion {
        let share = |square: f32| {
            square
                .max(0.0)
                .sqrt()
                .clamp(m.noise_floor, m.noise_ceiling.max(m.noise_floor))
        };
        Motion {
            noise: share(self.centre),
            size_noise: share(self.size),
            ..*m
        }
    }
}

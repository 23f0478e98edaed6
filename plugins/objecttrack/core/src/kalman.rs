//! Where a box is and how it moves: four independent constant-velocity filters (centre x, centre y, width, height), each with a
//! closed-form 2x2 covariance. Times are seconds and noises are shares of the box's size, so neither the frame rate nor the size of
//! the picture changes what a parameter means.

use detection::BBox;

use crate::params::Motion;

/// A box as the filter sees it: centre x, centre y, width, height.
pub type Z = [f32; 4];

/// Measured form of a box.
pub fn measured(bbox: &BBox) -> Z {
    let (cx, cy) = bbox.centre();
    [cx, cy, bbox.width(), bbox.height()]
}

/// The box of a measured form.
pub fn to_bbox(z: &Z) -> BBox {
    BBox::from_centre(z[0], z[1], z[2], z[3])
}

/// Mean, velocity and covariance of one box.
#[derive(Debug, Clone, Copy)]
pub struct Kalman {
    /// Position and size now.
    pub x: Z,
    /// Change per second.
    pub v: Z,
    p00: Z,
    p01: Z,
    p11: Z,
    /// How much more (or less) than usual this object changes its speed, from how far its boxes lie from their predictions.
    agility: f32,
}

fn scale(z: &Z) -> f32 {
    (z[2] * z[3]).max(1.0).sqrt()
}

impl Kalman {
    /// A filter that has seen one box and knows nothing about its motion.
    pub fn new(z: &Z, m: &Motion) -> Self {
        let s = scale(z);
        let r = noise(z, m);
        Self {
            x: *z,
            v: [0.0; 4],
            p00: r,
            p01: [0.0; 4],
            p11: [
                square(m.first_speed * s),
                square(m.first_speed * s),
                square(m.first_growth * s),
                square(m.first_growth * s),
            ],
            agility: 1.0,
        }
    }

    /// Moves the state `dt` seconds ahead.
    pub fn predict(&mut self, dt: f32, m: &Motion) {
        let s = scale(&self.x);
        for i in 0..4 {
            let a = if i < 2 {
                m.acceleration * self.agility
            } else {
                m.growth
            };
            let q = square(a * s);
            self.x[i] += self.v[i] * dt;
            self.p00[i] +=
                2.0 * dt * self.p01[i] + dt * dt * self.p11[i] + q * dt * dt * dt * dt / 4.0;
            self.p01[i] += dt * self.p11[i] + q * dt * dt * dt / 2.0;
            self.p11[i] += q * dt * dt;
        }
        self.x[2] = self.x[2].max(1.0);
        self.x[3] = self.x[3].max(1.0);
    }

    /// Takes in a measured box.
    pub fn update(&mut self, z: &Z, m: &Motion) {
        let r = noise(z, m);
        let surprise: f32 = (0..2)
            .map(|i| square(z[i] - self.x[i]) / (self.p00[i] + r[i]))
            .sum();
        let aim = (surprise * m.agility_gain).sqrt().clamp(m.calm, m.agile);
        self.agility += (aim - self.agility)
            * if aim > self.agility {
                m.adapt_up
            } else {
                m.adapt_down
            };
        for i in 0..4 {
            let s = self.p00[i] + r[i];
            let (k0, k1) = (self.p00[i] / s, self.p01[i] / s);
            let y = z[i] - self.x[i];
            self.x[i] += k0 * y;
            self.v[i] += k1 * y;
            self.p11[i] -= k1 * self.p01[i];
            self.p01[i] *= 1.0 - k0;
            self.p00[i] *= 1.0 - k0;
        }
        self.x[2] = self.x[2].max(1.0);
        self.x[3] = self.x[3].max(1.0);
    }

    /// Squared distance of a box from the prediction, in standard deviations, summed over the four coordinates.
    pub fn distance2(&self, z: &Z, m: &Motion) -> f32 {
        let r = noise(&self.x, m);
        let mut d2 = 0.0;
        for i in 0..4 {
            d2 += square(z[i] - self.x[i]) / (self.p00[i] + r[i]);
        }
        d2
    }

    /// What a matched box says about the detector's noise: centre and size, as squared shares of the box.
    pub fn noise_sample(&self, z: &Z) -> (f32, f32) {
        let d = [self.x[2], self.x[3], self.x[2], self.x[3]];
        let one =
            |i: usize| ((square(z[i] - self.x[i]) - self.p00[i]) / square(d[i])).clamp(-0.01, 0.1);
        ((one(0) + one(1)) / 2.0, (one(2) + one(3)) / 2.0)
    }

    /// Forgets the velocity: the thing stands here.
    pub fn halt(&mut self, at: &Z, m: &Motion) {
        *self = Self::new(at, m);
        let s = scale(at);
        for i in 0..4 {
            self.p11[i] = square(m.halted_speed * s);
        }
    }

    /// The same state in a picture scaled by `sx`, `sy`.
    pub fn rescale(&mut self, sx: f32, sy: f32) {
        for i in 0..4 {
            let k = if i % 2 == 0 { sx } else { sy };
            self.x[i] *= k;
            self.v[i] *= k;
            self.p00[i] *= k * k;
            self.p01[i] *= k * k;
            self.p11[i] *= k * k;
        }
    }
}

fn square(v: f32) -> f32 {
    v * v
}

fn noise(z: &Z, m: &Motion) -> Z {
    let (w, h) = (z[2].max(1.0), z[3].max(1.0));
    [
        square(m.noise * w),
        square(m.noise * h),
        square(m.size_noise * w),
        square(m.size_noise * h),
    ]
}

//! One object the tracker knows: its filter, its evidence, and whether it rests.

use detection::{BBox, LabelId, TrackState};

use crate::appearance::Crop;
use crate::kalman::{Kalman, Z, to_bbox};
use crate::params::{LabelParams, Motion};

/// Labels of one object that are remembered for the vote.
const VOTES: usize = 3;

/// The mean place follows its object with this time constant while it is still, in seconds.
const PLACE_SECONDS: f64 = 2.0;

/// ...and with this one once it rests.
const RESTING_PLACE_SECONDS: f64 = 20.0;

/// The internal form of a track.
#[derive(Debug, Clone)]
pub struct Object {
    /// 0 until confirmed.
    pub id: u32,
    pub group: u16,
    pub label: LabelId,
    votes: [(LabelId, f32); VOTES],
    pub score: f32,
    pub kalman: Kalman,
    /// The last detected box.
    pub seen: Z,
    /// The first detected box.
    pub origin: Z,
    pub hits: u32,
    pub born: f64,
    /// Seconds of unsuccessful looks since it was last seen.
    pub missed: f64,
    /// Looks in a row without a detection.
    pub misses: u32,
    /// Seconds since it was last seen.
    pub unseen: f64,
    /// Seconds since the last look.
    pub unlooked: f64,
    pub looked: bool,
    /// In this frame something nearer is in front of it.
    pub hidden: bool,
    /// Index of this frame's detection.
    pub matched: Option<u32>,
    place: Z,
    place_n: f64,
    /// Seconds in one place.
    pub still: f64,
    pub resting: bool,
    pub stationary: bool,
    /// Looks in a row in which the box was not where the object rests.
    shaken: u8,
    /// The last box was further from the place than a resting object's box usually is.
    off_place: bool,
    pub lost: bool,
    pub path: f32,
    path_from: (f32, f32),
    /// In the caller's time.
    pub first_seen: f64,
    /// In the caller's time.
    pub last_seen: f64,
    /// The picture of the resting object.
    pub crop: Option<Box<Crop>>,
}

/// What a matched detection did to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woke {
    No,
    Yes,
}

impl Object {
    pub fn new(
        z: &Z,
        label: LabelId,
        group: u16,
        score: f32,
        m: &Motion,
        now: f64,
        time: f64,
    ) -> Self {
        Self {
            id: 0,
            group,
            label,
            votes: [(label, score), (0, 0.0), (0, 0.0)],
            score,
            kalman: Kalman::new(z, m),
            seen: *z,
            origin: *z,
            hits: 1,
            born: now,
            missed: 0.0,
            misses: 0,
            unseen: 0.0,
            unlooked: 0.0,
            looked: true,
            hidden: false,
            matched: None,
            place: *z,
            place_n: 1.0,
            still: 0.0,
            resting: false,
            stationary: false,
            shaken: 0,
            off_place: false,
            lost: false,
            path: 0.0,
            path_from: (z[0], z[1]),
            first_seen: time,
            last_seen: time,
            crop: None,
        }
    }

    pub fn confirmed(&self) -> bool {
        self.id != 0
    }

    /// Where it is believed to be: its place at rest, otherwise the filter's.
    pub fn at(&self) -> &Z {
        if self.resting {
            &self.place
        } else {
            &self.kalman.x
        }
    }

    pub fn bbox(&self) -> BBox {
        to_bbox(self.at())
    }

    /// Where to show it: as [`Self::bbox`], but a resting object just detected away from its place is where it was detected.
    pub fn shown_at(&self) -> BBox {
        if self.resting && self.off_place && self.matched.is_some() {
            to_bbox(&self.seen)
        } else {
            self.bbox()
        }
    }

    pub fn state(&self) -> TrackState {
        if self.id == 0 {
            TrackState::Tentative
        } else if self.lost {
            TrackState::Lost
        } else if self.stationary {
            TrackState::Stationary
        } else {
            TrackState::Active
        }
    }

    pub fn predict(&mut self, dt: f64, m: &Motion) {
        self.unseen += dt;
        self.unlooked += dt;
        if !self.resting {
            self.kalman.predict(dt as f32, m);
        }
    }

    /// Takes in a detection; says whether it ended a rest.
    #[allow(clippy::too_many_arguments)]
    pub fn update(
        &mut self,
        z: &Z,
        label: LabelId,
        score: f32,
        time: f64,
        m: &Motion,
        p: &LabelParams,
        veto: bool,
    ) -> Woke {
        self.vote(label, score);
        self.score = score;
        self.hits = self.hits.saturating_add(1);
        let gap = self.unseen;
        self.last_seen = time;
        let woke = if self.resting {
            self.update_resting(z, gap, m, p, veto)
        } else {
            self.kalman.update(z, m);
            self.update_place(z, gap, m, p);
            Woke::No
        };
        self.seen = *z;
        self.missed = 0.0;
        self.misses = 0;
        self.unseen = 0.0;
        self.lost = false;
        self.measure_path();
        woke
    }

    fn update_resting(&mut self, z: &Z, gap: f64, m: &Motion, p: &LabelParams, veto: bool) -> Woke {
        let iou = to_bbox(&self.place).iou(&to_bbox(z));
        self.off_place = iou < p.rest_iou && !veto;
        if iou >= p.wake_iou || veto {
            self.shaken = 0;
            self.still += gap;
            if iou >= p.rest_iou {
                self.follow(z, gap, RESTING_PLACE_SECONDS);
            }
            return Woke::No;
        }
        self.shaken += 1;
        if self.shaken < 2 {
            return Woke::No;
        }
        // It has moved: start again from the two boxes that said so.
        self.resting = false;
        self.stationary = false;
        self.shaken = 0;
        self.crop = None;
        self.kalman.halt(&self.seen, m);
        self.kalman.predict(gap.min(1.0) as f32, m);
        self.kalman.update(z, m);
        self.start_place(z);
        Woke::Yes
    }

    /// `other`, not confirmed yet, is this resting object after its first steps.
    pub fn walk_on_as(&mut self, other: &Self) {
        self.resting = false;
        self.stationary = false;
        self.shaken = 0;
        self.off_place = false;
        self.crop = None;
        self.kalman = other.kalman;
        self.seen = other.seen;
        self.place = other.place;
        self.place_n = other.place_n;
        self.still = other.still;
        self.matched = other.matched;
        self.score = other.score;
        self.hits = self.hits.saturating_add(other.hits);
        self.last_seen = other.last_seen;
        self.missed = 0.0;
        self.misses = 0;
        self.unseen = 0.0;
        self.unlooked = 0.0;
        self.lost = false;
        self.measure_path();
    }

    fn update_place(&mut self, z: &Z, gap: f64, m: &Motion, p: &LabelParams) {
        if to_bbox(&self.place).iou(&to_bbox(z)) < p.rest_iou {
            self.start_place(z);
            return;
        }
        self.follow(z, gap, PLACE_SECONDS);
        self.still += gap.min(0.5);
        if self.still >= p.rest_after && self.id != 0 {
            self.resting = true;
            self.off_place = false;
            self.shaken = 0;
            let place = self.place;
            self.kalman.halt(&place, m);
        }
    }

    fn start_place(&mut self, z: &Z) {
        self.place = *z;
        self.place_n = 1.0;
        self.still = 0.0;
    }

    /// Moves the mean place: a plain mean of the first boxes, then an exponential one.
    fn follow(&mut self, z: &Z, gap: f64, seconds: f64) {
        self.place_n += 1.0;
        let share = (1.0 / self.place_n).max(1.0 - (-gap.min(1.0) / seconds).exp()) as f32;
        for (place, z) in self.place.iter_mut().zip(z) {
            *place += (z - *place) * share;
        }
    }

    /// Adds to the path once the object has come a tenth of its size, so that a trembling box has no path.
    fn measure_path(&mut self) {
        let at = *self.at();
        let (dx, dy) = (at[0] - self.path_from.0, at[1] - self.path_from.1);
        let step = dx.hypot(dy);
        if step > 0.1 * (at[2] * at[3]).max(1.0).sqrt() {
            self.path += step;
            self.path_from = (at[0], at[1]);
        }
    }

    fn vote(&mut self, label: LabelId, score: f32) {
        let slot = match self.votes.iter().position(|(l, v)| *l == label && *v > 0.0) {
            Some(i) => i,
            None => {
                let (mut least, mut value) = (0, f32::INFINITY);
                for (i, v) in self.votes.iter().enumerate() {
                    if v.1 < value {
                        (least, value) = (i, v.1);
                    }
                }
                self.votes[least] = (label, 0.0);
                least
            }
        };
        self.votes[slot].1 += score;
        let mut best = 0;
        for i in 1..VOTES {
            if self.votes[i].1 > self.votes[best].1 {
                best = i;
            }
        }
        self.label = self.votes[best].0;
        // Old votes fade, so that a wrong start is corrected within a minute and not within an hour.
        if self.votes[best].1 > 100.0 {
            for v in &mut self.votes {
                v.1 *= 0.5;
            }
        }
    }

    /// How well a box continues its way: 1 straight on, 0 across or standing, -1 back.
    pub fn onward(&self, z: &Z) -> f32 {
        let gap = self.unseen as f32;
        let (ax, ay) = (self.kalman.v[0] * gap, self.kalman.v[1] * gap);
        let (bx, by) = (z[0] - self.seen[0], z[1] - self.seen[1]);
        let (a, b) = (ax.hypot(ay), bx.hypot(by));
        let least = 0.05 * (self.seen[2] * self.seen[3]).sqrt();
        if a <= least || b <= least {
            return 0.0;
        }
        let angle = ((ax * bx + ay * by) / (a * b)).clamp(-1.0, 1.0).acos();
        1.0 - angle / std::f32::consts::FRAC_PI_2
    }

    /// Shift of the lower edge's middle and of the sizes since it was last seen, in its own sizes; `None` where the sizes differ
    /// too much to be one object.
    pub fn relative_shift(&self, z: &Z) -> Option<f32> {
        let last = &self.seen;
        let ratio = |a: f32, b: f32| (a / b).max(b / a);
        let (rw, rh) = (ratio(last[2], z[2]), ratio(last[3], z[3]));
        if rw > 1.5 || rh > 1.5 {
            return None;
        }
        let dx = (z[0] - last[0]) / last[2];
        let dy = (z[1] + z[3] / 2.0 - last[1] - last[3] / 2.0) / last[3];
        Some((dx * dx + dy * dy + (rw - 1.0).powi(2) + (rh - 1.0).powi(2)).sqrt())
    }

    /// How long it may be missed.
    pub fn life(&self, moving: f64, p: &LabelParams) -> f64 {
        if self.resting {
            self.still
                .clamp(p.rest_life, p.rest_life_max.max(p.rest_life))
        } else {
            moving
        }
    }

    /// The last look found its box somewhere else.
    pub fn shaken(&self) -> bool {
        self.shaken > 0
    }

    pub fn rescale(&mut self, sx: f32, sy: f32) {
        self.kalman.rescale(sx, sy);
        for z in [&mut self.seen, &mut self.place] {
            for (i, v) in z.iter_mut().enumerate() {
                *v *= if i % 2 == 0 { sx } else { sy };
            }
        }
        self.path *= (sx * sy).abs().sqrt();
        self.path_from = (self.path_from.0 * sx, self.path_from.1 * sy);
        self.crop = None;
    }
}

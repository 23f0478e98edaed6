//! Which detection is which object: one pass after the other, from the surest pairs to the boldest.

use detection::TrackChange;

use super::{Change, Seen, Tracker, looks_the_same, tracked};
use crate::appearance::Luma;
use crate::assignment::Pair;
use crate::object::{Object, Woke};
use crate::params::{Motion, Params};

impl Tracker {
    pub(super) fn find_candidates(&mut self) {
        let growth = self.params.third_growth.max(self.params.second_growth);
        self.reach.clear();
        self.reach.extend(self.objects.iter().map(|o| {
            if o.resting {
                o.bbox()
            } else {
                o.bbox().grown(growth)
            }
        }));
        self.det_reach.clear();
        self.det_reach
            .extend(self.seen.iter().map(|s| s.bbox.grown(growth)));
        self.candidates.find(&self.reach, &self.det_reach);
    }

    pub(super) fn associate(&mut self, time: f64, picture: Option<&Luma<'_>>) {
        let p = self.params.clone_scalars(&self.motion);
        // Confident detections, where the object is predicted.
        self.pass(time, picture, |o, s| {
            if !o.confirmed() || !s.high {
                return 0.0;
            }
            let iou = o.bbox().iou(&s.bbox);
            let least = if o.resting { p.place_iou } else { p.first_iou };
            if iou < least { 0.0 } else { p.mix(iou, o, s) }
        });
        // What is left, weak detections too, for objects seen in the look before.
        self.pass(time, picture, |o, s| {
            if !o.confirmed() || o.misses > 0 {
                return 0.0;
            }
            if o.resting {
                let iou = o.bbox().iou(&s.bbox);
                return if iou < p.place_iou { 0.0 } else { iou };
            }
            p.mix_grown(p.second_growth, p.second_iou, o, s)
        });
        // Lost and hasty ones, by a wide gate.
        self.pass(time, picture, |o, s| {
            if !o.confirmed() || o.resting || !s.high {
                return 0.0;
            }
            p.mix_grown(p.third_growth, p.third_iou, o, s)
        });
        // Objects not believed yet.
        self.pass(time, picture, |o, s| {
            if o.confirmed() || !s.high {
                return 0.0;
            }
            p.mix_grown(p.third_growth, p.tentative_iou, o, s)
        });
    }

    /// At a few frames per second the first two boxes of a vehicle lie apart. Only a pair that is the best for both is believed.
    pub(super) fn match_fast(&mut self, time: f64, picture: Option<&Luma<'_>>) {
        let limit =
            (self.params.fast_speed * self.timeline.interval as f32).min(self.params.fast_reach);
        // The passes before reach one size by themselves.
        if limit < 1.0 {
            return;
        }
        self.pairs.clear();
        for &(row, col) in &self.candidates.pairs {
            let (o, s) = (&self.objects[row as usize], &self.seen[col as usize]);
            let open = o.matched.is_none() && o.hits < 3 && !o.resting;
            if !open || s.taken || !s.high || o.group != s.group {
                continue;
            }
            if let Some(shift) = o.relative_shift(&s.z).filter(|shift| *shift <= limit) {
                self.pairs.push(Pair {
                    row,
                    col,
                    score: limit - shift,
                });
            }
        }
        self.pairs.sort_unstable_by(|a, b| {
            b.score
                .total_cmp(&a.score)
                .then((a.row, a.col).cmp(&(b.row, b.col)))
        });
        self.met.clear();
        self.met.resize(self.objects.len() + self.seen.len(), false);
        for k in 0..self.pairs.len() {
            let (i, j) = (self.pairs[k].row as usize, self.pairs[k].col as usize);
            let better = self.met[i] || self.met[self.objects.len() + j];
            self.met[i] = true;
            let at = self.objects.len() + j;
            self.met[at] = true;
            if !better {
                self.matched(i, j, time, picture);
            }
        }
    }

    fn pass(&mut self, time: f64, picture: Option<&Luma<'_>>, fit: impl Fn(&Object, &Seen) -> f32) {
        self.pairs.clear();
        for &(i, j) in &self.candidates.pairs {
            let (o, s) = (&self.objects[i as usize], &self.seen[j as usize]);
            if o.matched.is_some() || s.taken || o.group != s.group {
                continue;
            }
            let score = fit(o, s);
            if score > 0.0 {
                self.pairs.push(Pair {
                    row: i,
                    col: j,
                    score,
                });
            }
        }
        self.assignment
            .solve(self.objects.len(), self.seen.len(), &self.pairs);
        for k in 0..self.assignment.result.len() {
            let (i, j) = self.assignment.result[k];
            self.matched(i as usize, j as usize, time, picture);
        }
    }

    fn matched(&mut self, i: usize, j: usize, time: f64, picture: Option<&Luma<'_>>) {
        let s = &mut self.seen[j];
        s.taken = true;
        let o = &mut self.objects[i];
        let p = self.params.label(o.label);
        let veto = o.resting && looks_the_same(o, picture);
        o.matched = Some(s.index);
        let was_stationary = o.stationary;
        if s.high && !o.resting && o.hits > 2 && o.misses == 0 {
            self.noise
                .learn(o.kalman.noise_sample(&s.z), &self.params.motion);
        }
        let woke = o.update(&s.z, s.label, s.score, time, &self.motion, p, veto);
        if woke == Woke::Yes && was_stationary {
            let track = tracked(o, &self.params, self.timeline.interval);
            self.changes.push(Change {
                kind: TrackChange::Moving,
                track,
            });
        }
    }
}

/// The numbers the passes decide by, copied so that a pass may borrow the tracker.
#[derive(Clone, Copy)]
struct Gates {
    first_iou: f32,
    place_iou: f32,
    second_growth: f32,
    second_iou: f32,
    third_growth: f32,
    third_iou: f32,
    tentative_iou: f32,
    motion_weight: f32,
    motion_scale: f32,
    gate: f32,
    direction_weight: f32,
    motion: Motion,
}

impl Gates {
    /// The score of a pair whose boxes, grown by this share, overlap at least so much; 0 for others.
    fn mix_grown(&self, growth: f32, least: f32, o: &Object, s: &Seen) -> f32 {
        let iou = o.bbox().grown(growth).iou(&s.bbox.grown(growth));
        if iou < least {
            0.0
        } else {
            self.mix(iou, o, s)
        }
    }

    fn mix(&self, iou: f32, o: &Object, s: &Seen) -> f32 {
        if o.resting {
            return iou;
        }
        let d2 = o.kalman.distance2(&s.z, &self.motion);
        if d2 > self.gate && o.hits > 2 {
            return 0.0;
        }
        let near = (-d2 / self.motion_scale).exp();
        let mut score = (1.0 - self.motion_weight) * iou + self.motion_weight * near;
        if o.hits > 2 {
            score += self.direction_weight * o.onward(&s.z);
        }
        // A pair that passed its gate stays possible, even backwards.
        score.max(0.001)
    }
}

impl Params {
    fn clone_scalars(&self, motion: &Motion) -> Gates {
        Gates {
            first_iou: self.first_iou,
            place_iou: self.place_iou,
            second_growth: self.second_growth,
            second_iou: self.second_iou,
            third_growth: self.third_growth,
            third_iou: self.third_iou,
            tentative_iou: self.tentative_iou,
            motion_weight: self.motion_weight,
            motion_scale: self.motion_scale,
            gate: self.gate,
            direction_weight: self.direction_weight,
            motion: *motion,
        }
    }
}

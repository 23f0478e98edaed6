//! The tracker: one step per frame.

use detection::{BBox, Detection, LabelId, TrackChange, TrackState};

use crate::appearance::{Crop, Luma};
use crate::assignment::{Assignment, Pair};
use crate::candidates::Candidates;
use crate::duplicates;
use crate::geometry::covered;
use crate::kalman::{Z, measured};
use crate::object::Object;
use crate::params::{Motion, Params};
use crate::timeline::{Passed, Timeline};

mod matching;
mod noise;
mod tracked;

use noise::Noise;
use tracked::tracked;
pub use tracked::{Change, Evidence, Tracked};

/// The parts of the picture the detector ran on in this frame.
#[derive(Debug, Clone, Copy)]
pub enum LookedAt<'a> {
    /// The whole picture.
    Everything,
    /// Only these regions; none at all if empty.
    Regions(&'a [BBox]),
}

/// A detection as the tracker sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub z: Z,
    pub bbox: BBox,
    pub label: LabelId,
    pub group: u16,
    pub score: f32,
    pub high: bool,
    pub new: bool,
    pub index: u32,
    pub taken: bool,
}

/// Tracks the objects of one camera.
#[derive(Debug)]
pub struct Tracker {
    params: Params,
    timeline: Timeline,
    motion: Motion,
    noise: Noise,
    next_id: u32,
    objects: Vec<Object>,
    seen: Vec<Seen>,
    candidates: Candidates,
    assignment: Assignment,
    reach: Vec<BBox>,
    det_reach: Vec<BBox>,
    pairs: Vec<Pair>,
    met: Vec<bool>,
    missed: Vec<u32>,
    tracks: Vec<Tracked>,
    changes: Vec<Change>,
}

impl Tracker {
    /// A tracker that has seen nothing.
    pub fn new(params: Params) -> Self {
        Self {
            next_id: params.first_id.max(1),
            timeline: Timeline::new(),
            motion: params.motion,
            noise: Noise::new(&params.motion),
            params,
            objects: Vec::new(),
            seen: Vec::new(),
            candidates: Candidates::default(),
            assignment: Assignment::default(),
            reach: Vec::new(),
            det_reach: Vec::new(),
            pairs: Vec::new(),
            met: Vec::new(),
            missed: Vec::new(),
            tracks: Vec::new(),
            changes: Vec::new(),
        }
    }

    /// The parameters in use.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Takes new parameters without forgetting anything. `first_id` has no effect any more.
    pub fn set_params(&mut self, params: Params) {
        self.params = params;
    }

    /// Seconds since the first frame on the tracker's own clock, which never goes back.
    pub fn now(&self) -> f64 {
        self.timeline.now
    }

    /// The id the next confirmed object will get.
    pub fn next_id(&self) -> u32 {
        self.next_id
    }

    /// How many objects are known, unconfirmed ones too.
    pub fn object_count(&self) -> usize {
        self.objects.len()
    }

    /// The tracks of the last step.
    pub fn tracks(&self) -> &[Tracked] {
        &self.tracks
    }

    /// What changed in the last step (or [`Self::end_all`]).
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// One frame: its time in seconds, its detections in pixels, and what was looked at. Gives the confirmed tracks.
    ///
    /// Boxes that are not boxes and scores that are not numbers are ignored. Time may stand still or jump; see `docs/design/tracking.md`.
    pub fn step(
        &mut self,
        time: f64,
        detections: &[Detection],
        looked_at: LookedAt<'_>,
    ) -> &[Tracked] {
        self.step_with_picture(time, detections, looked_at, None)
    }

    /// As [`Self::step`], with the frame's luma plane for the appearance check.
    pub fn step_with_picture(
        &mut self,
        time: f64,
        detections: &[Detection],
        looked_at: LookedAt<'_>,
        picture: Option<&Luma<'_>>,
    ) -> &[Tracked] {
        let picture = picture.filter(|_| self.params.appearance);
        self.changes.clear();
        self.tracks.clear();
        let (dt, first, jump) = match self.timeline.advance(time, self.params.life) {
            Passed::First => (0.0, true, false),
            Passed::Seconds(dt) => (dt, false, false),
            Passed::Jump(dt) => (dt, false, true),
        };
        let time = if time.is_finite() {
            time
        } else {
            self.timeline.now
        };
        self.motion = self.noise.apply(&self.params.motion);
        self.take_in(detections);
        duplicates::remove(
            &mut self.seen,
            looked_at,
            self.params.duplicate_iou,
            &mut self.det_reach,
            &mut self.candidates,
        );
        self.predict(dt, looked_at);
        self.find_candidates();
        self.associate(time, picture);
        self.match_fast(time, picture);
        self.find_hidden();
        self.wake_walked_off();
        self.start_new(time);
        self.end_of_step(first, jump, picture);
        &self.tracks
    }

    fn take_in(&mut self, detections: &[Detection]) {
        self.seen.clear();
        for (index, d) in detections.iter().enumerate().take(self.params.max_objects) {
            if !usable(&d.bbox) || d.score.is_nan() || d.score < self.params.low {
                continue;
            }
            let p = self.params.label(d.label);
            self.seen.push(Seen {
                z: measured(&d.bbox),
                bbox: d.bbox,
                label: d.label,
                group: group_of(d.label, p.group),
                score: d.score.min(1.0),
                high: d.score >= p.high,
                new: d.score >= p.new,
                index: index as u32,
                taken: false,
            });
        }
    }

    fn predict(&mut self, dt: f64, looked_at: LookedAt<'_>) {
        let share = self.params.looked_share;
        for o in &mut self.objects {
            o.matched = None;
            o.predict(dt, &self.motion);
            o.looked = match looked_at {
                LookedAt::Everything => true,
                LookedAt::Regions(regions) => covered(&o.bbox(), regions) >= share,
            };
        }
    }

    /// Marks the objects that were looked for in vain while something nearer (its lower edge is lower) was in front of them.
    fn find_hidden(&mut self) {
        if self.params.hidden_rate >= 1.0 {
            return;
        }
        self.missed.clear();
        for (i, o) in self.objects.iter_mut().enumerate() {
            o.hidden = false;
            if o.confirmed() && o.looked && o.matched.is_none() {
                self.missed.push(i as u32);
            }
        }
        if self.missed.is_empty() {
            return;
        }
        let objects = &mut self.objects;
        self.reach.clear();
        self.reach
            .extend(self.missed.iter().map(|&i| objects[i as usize].bbox()));
        self.det_reach.clear();
        self.det_reach.extend(objects.iter().map(Object::bbox));
        self.candidates.find(&self.reach, &self.det_reach);
        for &(k, j) in &self.candidates.pairs {
            let (back, front) = (&self.reach[k as usize], &self.det_reach[j as usize]);
            let n = &objects[j as usize];
            let there = n.confirmed() && (n.matched.is_some() || (n.resting && n.misses == 0));
            let common = back.intersection(front).map_or(0.0, |p| p.area());
            let i = self.missed[k as usize];
            if i != j && there && front.y2 > back.y2 && common > 0.5 * back.area() {
                objects[i as usize].hidden = true;
            }
        }
    }

    /// At a few frames per second somebody who stood and walks off is beside his place in the very next frame. What is about to be
    /// confirmed, began beside a resting object of its size right when that was last seen, and has been there in each look in which
    /// that was not: is that object.
    fn wake_walked_off(&mut self) {
        let mut i = 0;
        while i < self.objects.len() {
            let o = &self.objects[i];
            i += 1;
            if o.confirmed()
                || o.matched.is_none()
                || !old_enough(o, &self.params, self.timeline.now)
            {
                continue;
            }
            let age = self.timeline.now - o.born;
            let from = self
                .objects
                .iter()
                .enumerate()
                .filter(|(_, r)| {
                    let lately = r.unseen > age && r.unseen <= age + self.params.look_cap;
                    r.confirmed()
                        && r.resting
                        && r.matched.is_none()
                        && !r.hidden
                        && r.group == o.group
                        && !in_front(o, r)
                        && r.misses + 1 >= o.hits
                        && lately
                })
                .filter_map(|(k, r)| Some((r.relative_shift(&o.origin)?, k)))
                .filter(|(shift, _)| *shift <= 0.8)
                .min_by(|a, b| a.0.total_cmp(&b.0));
            let Some((_, k)) = from else { continue };
            i -= 1;
            let other = self.objects[i].clone();
            let r = &mut self.objects[k];
            let was_stationary = r.stationary;
            r.walk_on_as(&other);
            if was_stationary {
                let track = tracked(r, &self.params, self.timeline.interval);
                self.changes.push(Change {
                    kind: TrackChange::Moving,
                    track,
                });
            }
            self.objects.remove(i);
        }
    }

    fn start_new(&mut self, time: f64) {
        for s in &mut self.seen {
            if s.taken || !s.new || self.objects.len() >= self.params.max_objects {
                continue;
            }
            let mut o = Object::new(
                &s.z,
                s.label,
                s.group,
                s.score,
                &self.motion,
                self.timeline.now,
                time,
            );
            o.matched = Some(s.index);
            self.objects.push(o);
        }
    }

    fn end_of_step(&mut self, first: bool, jump: bool, picture: Option<&Luma<'_>>) {
        let (now, interval) = (self.timeline.now, self.timeline.interval);
        let Self {
            params,
            objects,
            changes,
            tracks,
            next_id,
            ..
        } = self;
        objects.retain_mut(|o| {
            let p = *params.label(o.label);
            if o.looked || o.matched.is_some() {
                if o.matched.is_none() {
                    if o.resting && looks_the_same(o, picture) {
                        o.misses = 0;
                        o.missed = 0.0;
                    } else {
                        o.misses += 1;
                        let rate = if o.hidden { params.hidden_rate } else { 1.0 };
                        o.missed += rate * o.unlooked.min(params.look_cap);
                    }
                }
                o.unlooked = 0.0;
            }
            if !o.confirmed() {
                if o.misses > 0 || o.unseen > params.blind_life {
                    return false;
                }
                if o.matched.is_some() && (first || old_enough(o, params, now)) {
                    o.id = *next_id;
                    *next_id = next_id.wrapping_add(1) & 0x7fff_ffff;
                    *next_id = (*next_id).max(1);
                    changes.push(Change {
                        kind: TrackChange::Started,
                        track: tracked(o, params, interval),
                    });
                }
            }
            if !o.confirmed() {
                return true;
            }
            let dead = o.missed > o.life(params.life, &p)
                || (!o.resting && (o.unseen > params.blind_life || (jump && o.matched.is_none())))
                || (o.stationary
                    && p.max_stationary
                        .is_some_and(|max| o.still - p.stationary_after > max));
            if dead {
                let mut track = tracked(o, params, interval);
                track.track.state = TrackState::Ended;
                track.shown = false;
                changes.push(Change {
                    kind: TrackChange::Ended,
                    track,
                });
                return false;
            }
            if o.resting && !o.stationary && o.still >= p.stationary_after {
                o.stationary = true;
                changes.push(Change {
                    kind: TrackChange::Stationary,
                    track: tracked(o, params, interval),
                });
            }
            if !o.lost && o.misses > 1 && o.missed >= params.look_cap {
                o.lost = true;
                changes.push(Change {
                    kind: TrackChange::Lost,
                    track: tracked(o, params, interval),
                });
            }
            remember_picture(o, picture);
            tracks.push(tracked(o, params, interval));
            true
        });
    }

    /// Ends every track (end of stream, flush); [`Self::changes`] tells which.
    pub fn end_all(&mut self) -> &[Change] {
        self.changes.clear();
        self.tracks.clear();
        for o in self.objects.drain(..).filter(Object::confirmed) {
            let mut track = tracked(&o, &self.params, self.timeline.interval);
            track.track.state = TrackState::Ended;
            track.shown = false;
            track.detection = None;
            self.changes.push(Change {
                kind: TrackChange::Ended,
                track,
            });
        }
        self.timeline = Timeline::new();
        &self.changes
    }

    /// The picture's size has changed by `sx` across and `sy` down; every box goes with it.
    pub fn rescale(&mut self, sx: f32, sy: f32) {
        if !(sx.is_finite() && sy.is_finite() && sx > 0.0 && sy > 0.0) {
            return;
        }
        for o in &mut self.objects {
            o.rescale(sx, sy);
        }
    }

    /// Where the detector should look next: id (0 for an object not confirmed yet), label, the box as predicted for the next frame, and whether
    /// it rests undisturbed, so that a look now and then is enough.
    pub fn look_next(&self) -> impl Iterator<Item = (u32, LabelId, BBox, bool)> + '_ {
        let dt = self.timeline.interval as f32;
        self.objects.iter().map(move |o| {
            let b = o.bbox();
            if o.resting {
                return (
                    o.id,
                    o.label,
                    b,
                    o.stationary && o.misses == 0 && !o.shaken(),
                );
            }
            let (dx, dy) = (o.kalman.v[0] * dt, o.kalman.v[1] * dt);
            let next = BBox::new(b.x1 + dx, b.y1 + dy, b.x2 + dx, b.y2 + dy);
            (o.id, o.label, next, false)
        })
    }
}

/// Coordinates beyond a million pixels come from a broken detector, and their squares would not be numbers any more.
fn usable(b: &BBox) -> bool {
    b.is_valid() && [b.x1, b.y1, b.x2, b.y2].iter().all(|v| v.abs() <= 1e6)
}

/// A label without a group of its own matches only itself.
fn group_of(label: LabelId, group: u16) -> u16 {
    if group == 0 { label } else { u16::MAX - group }
}

/// `o` could be what hides `r`, so that `r` is missed although it is there.
fn in_front(o: &Object, r: &Object) -> bool {
    let (front, back) = (o.bbox(), r.bbox());
    front.intersection(&back).map_or(0.0, |p| p.area()) > 0.4 * back.area()
}

fn old_enough(o: &Object, params: &Params, now: f64) -> bool {
    o.hits >= params.confirm_hits && now - o.born >= params.confirm_after
}

fn looks_the_same(o: &Object, picture: Option<&Luma<'_>>) -> bool {
    let (Some(picture), Some(crop)) = (picture, &o.crop) else {
        return false;
    };
    Crop::cut(picture, &o.bbox()).is_some_and(|now| now.likeness(crop) >= 0.9)
}

fn remember_picture(o: &mut Object, picture: Option<&Luma<'_>>) {
    let Some(picture) = picture else { return };
    if !o.resting || o.matched.is_none() || o.shaken() {
        return;
    }
    if let Some(new) = Crop::cut(picture, &o.bbox()) {
        match &mut o.crop {
            Some(crop) => crop.blend(&new, 0.05),
            None => o.crop = Some(Box::new(new)),
        }
    }
}

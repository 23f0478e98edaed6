//! What somebody wants to see of a frame, and why: tracks, motion, what waited, learned places, the scan.

use detection::BBox;

use super::{MAX_WANTS, Motion, Planner, SAME, Tag, same};
use crate::grid::RegionGrid;
use crate::regions::cover::{Want, longest};
use crate::regions::{Deferred, Look, PlanSettings, Reason, WatchedTrack};

/// Surroundings shown with an object, as a share of its longer side, on each side: a region of 1.35 times its size.
const OBJECT_MARGIN: f32 = 0.175;
/// The same for motion, which is rarely the whole object.
const MOTION_MARGIN: f32 = 0.25;
/// At the most demanding level an object is shown this many times larger than the settings demand.
const COMFORT: f32 = 2.0;
/// Scan tiles per frame during the first pass, and afterwards.
const SCAN_TILES: (i32, i32) = (2, 1);
/// Motion larger than this many scan tiles is looked at as a whole and in tiles in turn, until something is found.
const LARGE_MOTION: f32 = 1.6;
/// A resting track with motion on it is looked at this often, in nanoseconds: often enough to see it leave.
const STIRRED: u64 = 500_000_000;
/// Motion with this share of it on a resting track is that track's; in the region that a moving track gets in its turn, it waits for that.
const OF_TRACK: f32 = 0.8;
/// A resting track is taken this much larger on each side.
const AROUND_RESTING: f32 = 0.15;
/// What waits for longer than this is no longer news.
const WAIT: u64 = 5_000_000_000;

impl Planner {
    /// Everything but motion.
    pub(super) fn gather(&mut self, look: &Look, grid: &RegionGrid) {
        self.wants.clear();
        self.tags.clear();
        self.motion.clear();
        self.scan_wanted = 0;
        self.tracks.clear();
        self.explained.clear();
        let moving = match look.calibrating {
            true => &[],
            false => look.motion.unwrap_or(&[]),
        };
        let moves = |track: &WatchedTrack| {
            let touches = |b: &BBox| b.intersection(&track.bbox).is_some();
            track.stationary && moving.iter().any(touches)
        };
        self.tracked = look.tracks.is_some();
        if let Some(tracks) = look.tracks {
            self.looked.forget(tracks);
            for track in tracks {
                self.tracks.push(track.bbox);
                let interval = if !track.stationary {
                    self.settings.track_interval
                } else if moves(track) {
                    STIRRED.min(self.settings.stationary_interval)
                } else {
                    self.settings.stationary_interval
                };
                let due = self.looked.is_due(track, look.time, interval);
                if track.stationary {
                    self.explained.push(track.bbox.grown(AROUND_RESTING));
                } else if !due {
                    let want = object_want(&track.bbox, &self.settings);
                    let (x, y) = track.bbox.centre();
                    let side = want.side.max(want.floor);
                    self.explained.push(BBox::from_centre(x, y, side, side));
                }
                if due {
                    let last = self.looked.last(track.id);
                    let reason = if track.stationary {
                        Reason::Stationary
                    } else {
                        Reason::Track
                    };
                    let tag = Tag {
                        reason,
                        since: last.unwrap_or(look.time),
                        waited: false,
                        rank: last.unwrap_or(0),
                        track: Some(track.id),
                    };
                    self.want_object(&track.bbox, tag);
                }
            }
        }
        for i in 0..self.untracked.len() {
            let (bbox, _) = self.untracked[i];
            if !self.tracks.iter().any(|t| same(t, &bbox)) {
                self.want_object(&bbox, now(Reason::Untracked, look.time));
            }
        }
        if !self.started {
            self.started = true;
            self.want_startup(look.time, grid);
        } else if look.motion.is_none() {
            self.want_frame(now(Reason::Scan, look.time));
        }
        if look.calibrating && !self.calibrating {
            self.scan.start();
        }
        self.calibrating = look.calibrating;
        if look.motion.is_some() {
            let first = self.scan.is_first();
            let tiles = match (first, look.calibrating) {
                (true, _) => SCAN_TILES.0.min(self.scan.left()),
                (false, true) => SCAN_TILES.1,
                (false, false) => SCAN_TILES.1.min(self.scan.left()),
            };
            for ahead in 0..tiles {
                let tile = self.scan.peek(ahead).to_bbox();
                let tag = Tag {
                    rank: ahead as u64,
                    ..now(Reason::Scan, look.time)
                };
                self.want_square(&tile, tag);
            }
            self.scan_wanted = tiles;
        }
        self.waiting
            .retain(|w| look.time.saturating_sub(w.since) < WAIT);
        for i in 0..self.waiting.len() {
            let Deferred {
                mut bbox,
                reason,
                since,
                ..
            } = self.waiting[i];
            if reason == Reason::Motion && !look.calibrating {
                // The same motion a frame later: it goes on waiting in its new place.
                let mut motion = look.motion.unwrap_or(&[]).iter();
                bbox = *motion.find(|b| b.iou(&bbox) > SAME).unwrap_or(&bbox);
            }
            let tag = Tag {
                reason,
                since,
                waited: true,
                rank: 0,
                track: None,
            };
            match reason {
                Reason::Motion if longest(&bbox) > self.large_motion() => {
                    self.want_object(&bbox, tag);
                }
                Reason::Motion => self.want_motion(&bbox, tag, grid),
                _ => self.want_square(&bbox, tag),
            }
        }
    }

    /// Motion that what is planned so far does not show.
    pub(super) fn gather_motion(&mut self, time: u64, motion: &[BBox], grid: &RegionGrid) {
        let frame = self.settings.frame;
        let (width, height) = (frame.width as f32, frame.height as f32);
        for b in motion {
            let b = b.clamped(width, height);
            if !b.is_valid() {
                continue;
            }
            let moving = Motion {
                want: motion_want(&b, &self.settings, grid),
                can_wait: self.can_wait(&b, time),
            };
            self.motion.push(moving);
            if moving.can_wait || self.layout.shows(&moving.want, &self.settings) {
                continue;
            }
            if longest(&b) <= self.large_motion() {
                self.push(moving.want, now(Reason::Motion, time));
            } else if self.fruitless.count(frame, &b).is_multiple_of(2) {
                self.want_object(&b, now(Reason::Motion, time));
            } else {
                for ahead in 0..self.scan.tiles() {
                    let tile = self.scan.peek(ahead).to_bbox();
                    if tile.intersection(&b).is_some() {
                        self.want_square(&tile, now(Reason::Motion, time));
                    }
                }
            }
        }
    }

    fn can_wait(&self, b: &BBox, time: u64) -> bool {
        // Without a tracker nobody shows what was found until it is looked at again.
        let interval = match self.tracked {
            true => self.settings.track_interval,
            false => 0,
        };
        self.fruitless
            .pausing(self.settings.frame, b, time, interval)
            || self.explained.iter().any(|r| b.share_in(r) >= OF_TRACK)
    }

    pub(super) fn large_motion(&self) -> f32 {
        self.scan.side() as f32 * LARGE_MOTION
    }

    fn want_object(&mut self, b: &BBox, tag: Tag) {
        self.push(object_want(b, &self.settings), tag);
    }

    fn want_motion(&mut self, b: &BBox, tag: Tag, grid: &RegionGrid) {
        self.push(motion_want(b, &self.settings, grid), tag);
    }

    fn want_square(&mut self, square: &BBox, tag: Tag) {
        self.push(square_want(square, &self.settings), tag);
    }

    fn want_frame(&mut self, tag: Tag) {
        let frame = self.settings.frame;
        let whole = BBox::new(0.0, 0.0, frame.width as f32, frame.height as f32);
        self.want_square(&whole, tag);
    }

    fn want_startup(&mut self, time: u64, grid: &RegionGrid) {
        self.want_frame(now(Reason::Startup, time));
        let regions = grid.startup_regions(self.settings.frame, self.settings.min_region);
        for region in regions {
            self.want_square(&region.to_bbox(), now(Reason::Startup, time));
        }
    }

    fn push(&mut self, want: Want, tag: Tag) {
        if want.bbox.is_valid() && self.wants.len() < MAX_WANTS {
            self.wants.push(want);
            self.tags.push(tag);
        }
    }
}

/// An object of known size.
pub(super) fn object_want(b: &BBox, settings: &PlanSettings) -> Want {
    let b = clamped(b, settings);
    let side = longest(&b);
    let demanded = settings.min_object as f32 * COMFORT;
    Want {
        bbox: b,
        grown: with_margin(&b, side * OBJECT_MARGIN),
        side: side * (1.0 + 2.0 * OBJECT_MARGIN),
        comfort: side * settings.input as f32 / demanded,
        elastic: true,
        floor: settings.min_region as f32,
    }
}

/// A square to be looked at as it is.
pub(super) fn square_want(square: &BBox, settings: &PlanSettings) -> Want {
    let b = clamped(square, settings);
    Want {
        bbox: b,
        grown: b,
        side: longest(square),
        comfort: longest(square),
        elastic: false,
        floor: 0.0,
    }
}

/// Motion of unknown origin: a region of twice its size, or as large as objects usually need here, shown no smaller than
/// it is.
fn motion_want(b: &BBox, settings: &PlanSettings, grid: &RegionGrid) -> Want {
    let b = clamped(b, settings);
    let own = longest(&b);
    let input = settings.input as f32;
    // What is that large is hardly part of something twice as large.
    let twice = (own * 2.0).min((own * (1.0 + 2.0 * OBJECT_MARGIN)).max(input));
    let usual = grid.expected_width(settings.frame, b.centre());
    let side = twice.max(usual.unwrap_or(0.0));
    Want {
        bbox: b,
        grown: with_margin(&b, own * MOTION_MARGIN),
        side,
        comfort: input.max(side).max(own * 3.0),
        elastic: true,
        floor: settings.min_region as f32,
    }
}

fn clamped(b: &BBox, settings: &PlanSettings) -> BBox {
    b.clamped(settings.frame.width as f32, settings.frame.height as f32)
}

fn with_margin(b: &BBox, margin: f32) -> BBox {
    BBox::new(b.x1 - margin, b.y1 - margin, b.x2 + margin, b.y2 + margin)
}

fn now(reason: Reason, time: u64) -> Tag {
    Tag {
        reason,
        since: time,
        waited: false,
        rank: 0,
        track: None,
    }
}

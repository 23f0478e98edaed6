//! The [`Planner`]: which model inputs to make of a frame.

use detection::{BBox, Detection, PixelBox};

use super::cover::{Want, longest};
use super::layout::{Layout, shows};
use super::memory::{Fruitless, Looked};
use super::scan::Scan;
use super::{Deferred, Look, Plan, PlanSettings, Reason, WatchedTrack, clipped};
use crate::grid::RegionGrid;

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
/// A detection without a track is looked at so many frames in a row.
const UNTRACKED_FRAMES: u8 = 3;
/// What waits for longer than this is no longer news.
const WAIT: u64 = 5_000_000_000;
/// More than this is not planned for in one frame; the rest is not even looked at as deferred.
const MAX_WANTS: usize = 256;
/// Scores below this neither make anybody look again nor count as found.
const SURE: f32 = 0.5;
/// Scores below this do not teach the grid.
const TEACHES: f32 = 0.7;
/// Largest frame side that is planned for.
const MAX_FRAME: i32 = 65_536;
/// Boxes that overlap more than this are taken for the same thing.
const SAME: f32 = 0.3;

/// One want with what the planner needs to know of it besides its geometry.
#[derive(Debug, Clone, Copy)]
struct Tag {
    reason: Reason,
    /// Waiting since; wants that wait longest come first.
    since: u64,
    /// It waited for budget in the last frame.
    waited: bool,
    /// Order among wants of one reason.
    rank: u64,
    track: Option<i32>,
}

/// Urgent wants come first: by time of those that waited, reason, rank, and last place: any fixed order will do there, but
/// without one equal wants would make plans flicker.
type Urgency = (u64, u64, u64);

/// A motion box with what is asked about it more than once.
#[derive(Debug, Clone, Copy)]
struct Motion {
    want: Want,
    /// Looking at it has not paid lately, or it is a resting object that stirs and has its own turn.
    can_wait: bool,
}

/// Chooses, frame by frame, the fewest model inputs that show everything worth looking at. Keeps its working memory, so
/// that planning allocates nothing once it has seen its largest frame.
#[derive(Debug)]
pub struct Planner {
    settings: PlanSettings,
    plan: Plan,
    layout: Layout,
    scan: Scan,
    looked: Looked,
    fruitless: Fruitless,
    /// Detections to look at again, and for how many frames that has gone on.
    untracked: Vec<(BBox, u8)>,
    waiting: Vec<Deferred>,
    tracks: Vec<BBox>,
    /// Where tracks explain motion: around those that rest, and in the next region of those that move and wait for their turn.
    explained: Vec<BBox>,
    learned: [BBox; 32],
    learned_next: usize,
    teaches: usize,
    started: bool,
    calibrating: bool,
    /// There is a tracker downstream.
    tracked: bool,
    scan_wanted: i32,
    time: u64,
    tokens: f32,
    /// What somebody wants to see, and beside each want the rest about it; most urgent first once they are sorted.
    wants: Vec<Want>,
    tags: Vec<Tag>,
    order: Vec<(Urgency, u16)>,
    unsorted: (Vec<Want>, Vec<Tag>),
    /// The frame's motion, but for what is not valid.
    motion: Vec<Motion>,
}

impl Planner {
    /// A planner before its first frame.
    pub fn new(settings: PlanSettings) -> Self {
        let settings = checked(settings);
        Self {
            scan: Scan::new(settings.frame, settings.input),
            plan: Plan::default(),
            layout: Layout::default(),
            looked: Looked::default(),
            fruitless: Fruitless::default(),
            untracked: Vec::new(),
            waiting: Vec::new(),
            tracks: Vec::new(),
            explained: Vec::new(),
            learned: [BBox::default(); 32],
            learned_next: 0,
            teaches: 0,
            started: false,
            calibrating: false,
            tracked: false,
            scan_wanted: 0,
            time: 0,
            tokens: 0.0,
            wants: Vec::new(),
            tags: Vec::new(),
            order: Vec::new(),
            unsorted: Default::default(),
            motion: Vec::new(),
            settings,
        }
    }

    /// The settings in use.
    pub fn settings(&self) -> &PlanSettings {
        &self.settings
    }

    /// Other settings from the next frame on. Another frame or input size starts from the beginning.
    pub fn set_settings(&mut self, settings: PlanSettings) {
        let settings = checked(settings);
        let fresh = settings.frame != self.settings.frame || settings.input != self.settings.input;
        self.settings = settings;
        if fresh {
            self.restart();
        }
    }

    /// Forgets what was seen and begins with the start-up scan again: after a seek, or another view.
    pub fn restart(&mut self) {
        self.scan = Scan::new(self.settings.frame, self.settings.input);
        self.looked.clear();
        self.fruitless.clear();
        self.untracked.clear();
        self.waiting.clear();
        self.started = false;
    }

    /// The inputs to make of this frame. Every wanted box lies inside one of their placements or is reported as deferred;
    /// motion larger than a few tiles may be covered by several.
    pub fn plan(&mut self, look: &Look, grid: &RegionGrid) -> &Plan {
        self.plan.clear();
        self.refill(look.time);
        self.gather(look, grid);
        self.arrange();
        if !look.calibrating
            && let Some(motion) = look.motion
        {
            let before = self.wants.len();
            self.gather_motion(look.time, motion, grid);
            self.extend(before);
        }
        let allowed = self.allowed();
        self.layout.keep(allowed, &mut self.plan);
        self.settle(look);
        &self.plan
    }

    /// The plan made last.
    pub fn last(&self) -> &Plan {
        &self.plan
    }

    /// What was found in the inputs of the last plan, in frame pixels: says where to look again, what looking was in vain,
    /// and teaches the grid.
    pub fn report(&mut self, found: &[Detection], grid: &mut RegionGrid) {
        let sure = |d: &&Detection| d.score >= SURE && d.bbox.is_valid();
        for (want, tag) in self.wants.iter().zip(&self.tags) {
            if tag.reason != Reason::Motion {
                continue;
            }
            let region = self.plan.placements.iter().map(|p| p.source.to_bbox());
            let Some(region) = region.into_iter().find(|r| r.contains(&want.bbox)) else {
                continue;
            };
            let hit = found
                .iter()
                .filter(sure)
                .any(|d| d.bbox.intersection(&region).is_some());
            self.fruitless
                .looked(self.settings.frame, &want.bbox, &region, self.time, hit);
        }
        let before = self.untracked.len();
        // One detection per frame may teach the grid: that is enough, and costs the same in a crowd.
        self.teaches = self.teaches.wrapping_add(1);
        let teaches = self.teaches % found.len().max(1);
        for (i, detection) in found.iter().enumerate().filter(|(_, d)| sure(d)) {
            let cut = self.cut_by_region(&detection.bbox);
            let known = || self.tracks.iter().any(|t| same(t, &detection.bbox));
            if cut || !(self.tracks.is_empty() || known()) {
                self.look_again(&detection.bbox, before);
            }
            if i == teaches && !cut && detection.score >= TEACHES {
                self.teach(&detection.bbox, grid);
            }
        }
        self.untracked.drain(..before);
    }

    fn refill(&mut self, time: u64) {
        let elapsed = time.saturating_sub(self.time) as f32 / 1e9;
        self.time = time;
        if let Some(budget) = self.settings.budget {
            self.tokens = if self.started {
                (self.tokens + elapsed * budget).min(budget.max(1.0))
            } else {
                budget.max(1.0)
            };
        }
    }

    fn allowed(&mut self) -> usize {
        let wanted = self.layout.inputs().min(self.settings.max_inputs);
        if self.settings.budget.is_none() {
            return wanted;
        }
        let allowed = wanted.min(self.tokens as usize);
        self.tokens -= allowed as f32;
        allowed
    }

    /// Everything but motion.
    fn gather(&mut self, look: &Look, grid: &RegionGrid) {
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
    fn gather_motion(&mut self, time: u64, motion: &[BBox], grid: &RegionGrid) {
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

    fn large_motion(&self) -> f32 {
        self.scan.side() as f32 * LARGE_MOTION
    }

    /// Sorts the wants by urgency and lays them out.
    fn arrange(&mut self) {
        self.order.clear();
        for (i, (want, tag)) in self.wants.iter().zip(&self.tags).enumerate() {
            self.order.push((urgency(want, tag), i as u16));
        }
        self.order.sort_unstable();
        std::mem::swap(&mut self.wants, &mut self.unsorted.0);
        std::mem::swap(&mut self.tags, &mut self.unsorted.1);
        let (wants, tags) = &self.unsorted;
        let order = || self.order.iter().map(|(_, i)| usize::from(*i));
        self.wants.clear();
        self.wants.extend(order().map(|i| wants[i]));
        self.tags.clear();
        self.tags.extend(order().map(|i| tags[i]));
        let tags = &self.tags;
        self.layout
            .arrange(&self.wants, &self.settings, |i| tags[i].reason);
    }

    /// Lays out the wants from `from` on beside what is laid out already.
    fn extend(&mut self, from: usize) {
        if from == self.wants.len() {
            return;
        }
        let tags = &self.tags;
        self.layout
            .extend(&self.wants, from, &self.settings, |i| tags[i].reason);
    }

    /// After the budget: what was looked at, and what has to wait.
    fn settle(&mut self, look: &Look) {
        self.waiting.clear();
        for (want, tag) in self.wants.iter().zip(&self.tags) {
            if shows(&self.plan, want, &self.settings) {
                if let Some(id) = tag.track {
                    self.looked.set(id, want.bbox, look.time);
                }
                continue;
            }
            let deferred = Deferred {
                bbox: want.bbox,
                reason: tag.reason,
                since: tag.since,
                waits: true,
            };
            self.plan.deferred.push(deferred);
            // Tracks and tiles come again by themselves.
            if matches!(
                tag.reason,
                Reason::Motion | Reason::Untracked | Reason::Startup
            ) && self.waiting.len() < MAX_WANTS
            {
                self.waiting.push(deferred);
            }
        }
        let mut scanned = 0;
        while scanned < self.scan_wanted {
            let tile = square_want(&self.scan.peek(scanned).to_bbox(), &self.settings);
            if !shows(&self.plan, &tile, &self.settings) {
                break;
            }
            scanned += 1;
        }
        self.scan.advance(scanned);
        // Tracks whose turn it was not may have been seen on the way.
        for track in look.tracks.unwrap_or(&[]) {
            if self.looked.last(track.id) == Some(look.time) {
                continue;
            }
            let want = object_want(&track.bbox, &self.settings);
            if shows(&self.plan, &want, &self.settings) {
                self.looked.set(track.id, want.bbox, look.time);
            }
        }
        // Motion that is neither shown nor inside something that is, or waits.
        let wanted = self.plan.deferred.len();
        for Motion { want, can_wait } in &self.motion {
            let b = &want.bbox;
            let large = longest(b) > self.large_motion();
            let waits = || {
                self.plan.deferred[..wanted]
                    .iter()
                    .any(|d| d.bbox.contains(b))
            };
            // What is inside a want that was shown is shown too, so most need not be compared with all of them.
            let shown = || self.plan.holds(b) && self.wants.iter().any(|w| w.bbox.contains(b));
            if large || shows(&self.plan, want, &self.settings) || waits() || shown() {
                continue;
            }
            // Either a pause, or it would have been seen with something that has to wait.
            let deferred = Deferred {
                bbox: *b,
                reason: Reason::Motion,
                since: look.time,
                waits: !can_wait,
            };
            self.plan.deferred.push(deferred);
            if !can_wait && self.waiting.len() < MAX_WANTS {
                self.waiting.push(deferred);
            }
        }
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

    /// A detection that ends where its region ends, inside the frame: most likely cut off.
    fn cut_by_region(&self, b: &BBox) -> bool {
        let (cx, cy) = b.centre();
        let frame = self.settings.frame;
        let b = PixelBox::new(b.x1 as i32, b.y1 as i32, b.x2 as i32, b.y2 as i32);
        let mut regions = self.plan.placements.iter().filter(|p| {
            let s = p.source.to_bbox();
            cx >= s.x1 && cx < s.x2 && cy >= s.y1 && cy < s.y2
        });
        let Some(first) = regions.next() else {
            return false;
        };
        // Whole in one of them is enough.
        clipped(&b, &first.source, frame) && regions.all(|p| clipped(&b, &p.source, frame))
    }

    fn look_again(&mut self, b: &BBox, before: usize) {
        let frames = self.untracked[..before]
            .iter()
            .filter(|(known, _)| known.iou(b) > SAME)
            .map(|(_, frames)| *frames)
            .max()
            .unwrap_or(0);
        let full = self.untracked.len() >= before + MAX_WANTS;
        if frames < UNTRACKED_FRAMES && !full {
            self.untracked.push((*b, frames + 1));
        }
    }

    /// Shows the grid an object, unless it is one of the last ones shown: a parked car is one object, not one per frame.
    fn teach(&mut self, b: &BBox, grid: &mut RegionGrid) {
        if self.learned.iter().any(|known| known.iou(b) > SAME) {
            return;
        }
        self.learned[self.learned_next] = *b;
        self.learned_next = (self.learned_next + 1) % self.learned.len();
        let corners = (
            f64::from(b.x1),
            f64::from(b.y1),
            f64::from(b.x2),
            f64::from(b.y2),
        );
        grid.learn(self.settings.frame, corners, self.settings.min_region);
    }
}

/// An object of known size.
fn object_want(b: &BBox, settings: &PlanSettings) -> Want {
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
fn square_want(square: &BBox, settings: &PlanSettings) -> Want {
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

fn urgency(want: &Want, tag: &Tag) -> Urgency {
    let waiting = if tag.waited { tag.since } else { u64::MAX };
    let kind = (tag.reason as u64) << 61 | tag.rank.min((1 << 61) - 1);
    // Numbers that are not negative have the order of their bits.
    let place = u64::from(want.bbox.x1.to_bits()) << 32 | u64::from(want.bbox.y1.to_bits());
    (waiting, kind, place)
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

/// Both are of the same thing. Most pairs do not even touch.
fn same(a: &BBox, b: &BBox) -> bool {
    a.x1 < b.x2 && b.x1 < a.x2 && a.y1 < b.y2 && b.y1 < a.y2 && a.iou(b) > SAME
}

/// Settings that planning can rely on.
fn checked(mut settings: PlanSettings) -> PlanSettings {
    settings.frame.width = settings.frame.width.clamp(1, MAX_FRAME);
    settings.frame.height = settings.frame.height.clamp(1, MAX_FRAME);
    settings.input = settings.input.clamp(16, 8192);
    settings.min_region = settings.min_region.clamp(4, MAX_FRAME);
    settings.max_region = settings
        .max_region
        .clamp(settings.min_region, 4 * MAX_FRAME);
    settings.min_object = settings.min_object.clamp(1, settings.input);
    settings
}

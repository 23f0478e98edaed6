//! The [`Planner`]: which model inputs to make of a frame.

use detection::BBox;

use super::cover::{Want, longest};
use super::layout::{Layout, shows};
use super::memory::{Fruitless, Looked};
use super::scan::Scan;
use super::{Deferred, Look, Plan, PlanSettings, Reason};
use crate::grid::RegionGrid;

mod report;
mod wants;

use wants::{object_want, square_want};

/// More than this is not planned for in one frame; the rest is not even looked at as deferred.
const MAX_WANTS: usize = 256;
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
}

fn urgency(want: &Want, tag: &Tag) -> Urgency {
    let waiting = if tag.waited { tag.since } else { u64::MAX };
    let kind = (tag.reason as u64) << 61 | tag.rank.min((1 << 61) - 1);
    // Numbers that are not negative have the order of their bits.
    let place = u64::from(want.bbox.x1.to_bits()) << 32 | u64::from(want.bbox.y1.to_bits());
    (waiting, kind, place)
}

/// Both are of the same thing. Most pairs do not even touch.
fn same(a: &BBox, b: &BBox) -> bool {
    a.x1 < b.x2 && b.x1 < a.x2 && a.y1 < b.y2 && b.y1 < a.y2 && a.iou(b) > SAME
}

/// Settings that planning can rely on.
fn checked(mut settings: PlanSettings) -> PlanSettings {
    settings.frame.width = settings.frame.width.clamp(1, MAX_FRAME as u32);
    settings.frame.height = settings.frame.height.clamp(1, MAX_FRAME as u32);
    settings.input = settings.input.clamp(16, 8192);
    settings.min_region = settings.min_region.clamp(4, MAX_FRAME);
    settings.max_region = settings
        .max_region
        .clamp(settings.min_region, 4 * MAX_FRAME);
    settings.min_object = settings.min_object.clamp(1, settings.input);
    settings
}

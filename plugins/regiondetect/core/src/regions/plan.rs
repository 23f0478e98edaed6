//! What goes into a [`super::Planner`] and what comes out of it.

use detection::{BBox, PixelBox};

/// Why something is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// A track that is not resting, where it is expected.
    Track,
    /// A detection of the last frame that belongs to no track yet, or was cut by the edge of its region.
    Untracked,
    /// Motion that no track explains.
    Motion,
    /// A resting track whose turn it is.
    Stationary,
    /// Start-up: the whole frame, and where objects have been before.
    Startup,
    /// The frame tile by tile.
    Scan,
}

/// A track the tracker downstream has announced.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WatchedTrack {
    /// Its id.
    pub id: i32,
    /// Where it is expected, in frame pixels.
    pub bbox: BBox,
    /// It rests.
    pub stationary: bool,
}

/// What is known of a frame before anybody looks at it.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// Time of the frame in nanoseconds.
    pub time: u64,
    /// Motion boxes in frame pixels; `None` where nobody has measured motion: then the whole frame is looked at.
    pub motion: Option<&'a [BBox]>,
    /// The motion boxes say little, because the picture as a whole has just changed.
    pub calibrating: bool,
    /// The newest tracks; `None` without a tracker downstream.
    pub tracks: Option<&'a [WatchedTrack]>,
}

/// A square of the frame and where it goes in the model's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// Square in frame pixels. Begins inside the frame; reaches beyond its right or lower edge only where it is larger
    /// than the frame, and what lies there is padding.
    pub source: PixelBox,
    /// Square in pixels of the model's input.
    pub dest: PixelBox,
}

impl Placement {
    /// A box in the model's input as a box in the frame.
    pub fn to_frame(&self, b: &BBox) -> BBox {
        let scale = self.source.width() as f32 / self.dest.width().max(1) as f32;
        let x = |v: f32| (v - self.dest.x1 as f32) * scale + self.source.x1 as f32;
        let y = |v: f32| (v - self.dest.y1 as f32) * scale + self.source.y1 as f32;
        BBox::new(x(b.x1), y(b.y1), x(b.x2), y(b.y2))
    }
}

/// One model input: a region, or several small ones side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Input {
    /// Its first placement in the plan.
    pub(super) first: usize,
    /// How many it has.
    pub(super) count: usize,
    /// The most urgent reason for it.
    pub reason: Reason,
}

/// Something that should have been looked at and was not, because the budget was used up or because looking there has not
/// paid lately. What the budget kept back comes first next time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Deferred {
    /// Where, in frame pixels.
    pub bbox: BBox,
    /// Why it should have been looked at.
    pub reason: Reason,
    /// Waiting since this time.
    pub since: u64,
    /// It waits for budget.
    pub waits: bool,
}

/// The inputs of one frame.
#[derive(Debug, Default)]
pub struct Plan {
    pub(super) inputs: Vec<Input>,
    pub(super) placements: Vec<Placement>,
    pub(super) deferred: Vec<Deferred>,
}

impl Plan {
    /// The model inputs to fill, most urgent first.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// What goes into an input.
    pub fn placements(&self, input: &Input) -> &[Placement] {
        &self.placements[input.first..input.first + input.count]
    }

    /// All squares that are looked at.
    pub fn all_placements(&self) -> &[Placement] {
        &self.placements
    }

    /// What is not looked at although it should be.
    pub fn deferred(&self) -> &[Deferred] {
        &self.deferred
    }

    /// The placement that a box found in this input belongs to: the one that holds its centre. `None` for a box in the
    /// empty part of a shared input.
    pub fn placement_of(&self, input: &Input, found: &BBox) -> Option<&Placement> {
        let (x, y) = found.centre();
        self.placements(input).iter().find(|p| {
            let d = p.dest.to_bbox();
            x >= d.x1 && x < d.x2 && y >= d.y1 && y < d.y2
        })
    }

    pub(super) fn clear(&mut self) {
        self.inputs.clear();
        self.placements.clear();
        self.deferred.clear();
    }

    /// One placement shows the whole of this box.
    pub fn holds(&self, b: &BBox) -> bool {
        self.shows(b, f32::INFINITY, 1)
    }

    /// One placement shows the whole of this box, and no smaller than a region of side `limit` filling the `input` would.
    pub(super) fn shows(&self, b: &BBox, limit: f32, input: i32) -> bool {
        self.placements.iter().any(|p| {
            let shown = p.source.to_bbox();
            // Sides are rounded up to steps of 4.
            shown.contains(b)
                && shown.width() * input as f32 <= (limit + 8.0) * p.dest.width() as f32
        })
    }
}

//! What the planner remembers between frames: when each track was last looked at, and where looking found nothing.

use detection::BBox;

use super::cover::longest;
use super::{FrameSize, WatchedTrack};

/// When each live track was last looked at.
#[derive(Debug, Default)]
pub(super) struct Looked {
    tracks: Vec<(i32, u64)>,
}

impl Looked {
    /// When the track was last looked at; `None` for one that is new here.
    pub(super) fn last(&self, id: i32) -> Option<u64> {
        let at = self.tracks.binary_search_by_key(&id, |t| t.0).ok()?;
        Some(self.tracks[at].1)
    }

    /// The track was looked at.
    pub(super) fn set(&mut self, id: i32, time: u64) {
        match self.tracks.binary_search_by_key(&id, |t| t.0) {
            Ok(at) => self.tracks[at].1 = time,
            Err(at) => self.tracks.insert(at, (id, time)),
        }
    }

    /// Forgets tracks that are no more, once there are many of them.
    pub(super) fn forget(&mut self, alive: &[WatchedTrack]) {
        if self.tracks.len() > 2 * alive.len() + 16 {
            self.tracks
                .retain(|(id, _)| alive.iter().any(|track| track.id == *id));
        }
    }

    pub(super) fn clear(&mut self) {
        self.tracks.clear();
    }
}

const SIDE: usize = 16;
/// So many looks at the same motion without finding anything before it is looked at less often.
const PATIENCE: u8 = 2;
/// The first pause; each further fruitless look doubles it.
const FIRST_PAUSE: u64 = 200_000_000;
/// The longest pause.
const LONGEST_PAUSE: u64 = 1_000_000_000;
/// A place where nothing moved for so long is met with new patience.
const FORGET: u64 = 10_000_000_000;
/// Motion this many times as large as what was looked at in vain is something else.
const LARGER: f32 = 1.5;

/// One part of the frame.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    count: u8,
    last: u64,
    /// Longer side of the largest motion that was looked at in vain.
    size: f32,
}

/// Where motion was looked at and nothing found: a tree in the wind is not worth an inference in every frame.
#[derive(Debug, Clone)]
pub(super) struct Fruitless {
    places: [Place; SIDE * SIDE],
}

impl Default for Fruitless {
    fn default() -> Self {
        Self {
            places: [Place::default(); SIDE * SIDE],
        }
    }
}

impl Fruitless {
    /// It is too early to look at this motion again.
    pub(super) fn pausing(&self, frame: FrameSize, b: &BBox, time: u64) -> bool {
        let place = &self.places[index(frame, b)];
        let Some(over) = place.count.checked_sub(PATIENCE) else {
            return false;
        };
        let pause = (FIRST_PAUSE << over.min(8)).min(LONGEST_PAUSE);
        // A time before the last look (a seek) ends the pause.
        longest(b) <= place.size * LARGER && time >= place.last && time - place.last < pause
    }

    /// How often in a row nothing was found here.
    pub(super) fn count(&self, frame: FrameSize, b: &BBox) -> u8 {
        self.places[index(frame, b)].count
    }

    /// Motion was looked at in this region, and something was found or not: what holds for it holds for all of the region.
    pub(super) fn looked(
        &mut self,
        frame: FrameSize,
        motion: &BBox,
        region: &BBox,
        time: u64,
        found: bool,
    ) {
        let (left, right) = (cell(region.x1, frame.width), cell(region.x2, frame.width));
        let (top, bottom) = (cell(region.y1, frame.height), cell(region.y2, frame.height));
        for y in top..=bottom {
            for place in &mut self.places[y * SIDE + left..=y * SIDE + right] {
                if found || time.saturating_sub(place.last) > FORGET {
                    *place = Place::default();
                }
                if !found {
                    // Once per frame, however many motion boxes lie in the region.
                    place.count = place.count.saturating_add(u8::from(place.last != time));
                    place.size = place.size.max(longest(motion));
                }
                place.last = time;
            }
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

fn cell(at: f32, dim: i32) -> usize {
    ((at / dim.max(1) as f32 * SIDE as f32) as usize).min(SIDE - 1)
}

fn index(frame: FrameSize, b: &BBox) -> usize {
    let (x, y) = b.centre();
    cell(y, frame.height) * SIDE + cell(x, frame.width)
}

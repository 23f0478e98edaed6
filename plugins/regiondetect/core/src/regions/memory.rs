//! What the planner remembers between frames: when each track was last looked at, and where looking found nothing.

use detection::{BBox, FrameSize};

use super::WatchedTrack;
use super::cover::longest;

/// So many looks at a track that moves come one after the other: the tracker is about to learn how it moves.
const YOUNG: u8 = 4;
/// A track that overlaps less than this with where it was looked at last has moved on.
const MOVED_ON: f32 = 0.5;

/// The last look at a track.
#[derive(Debug, Clone, Copy)]
struct Seen {
    id: i32,
    time: u64,
    /// Where it was expected then.
    bbox: BBox,
    looks: u8,
}

/// When each live track was last looked at.
#[derive(Debug, Default)]
pub(super) struct Looked {
    tracks: Vec<Seen>,
}

impl Looked {
    /// When the track was last looked at; `None` for one that is new here.
    pub(super) fn last(&self, id: i32) -> Option<u64> {
        Some(self.seen(id)?.time)
    }

    /// It is this track's turn: it was looked at an interval ago, or its place now does not follow from what was seen.
    pub(super) fn is_due(&self, track: &WatchedTrack, time: u64, interval: u64) -> bool {
        let Some(seen) = self.seen(track.id) else {
            return true;
        };
        // A time before the last look is a seek.
        let waited = time.checked_sub(seen.time).is_none_or(|w| w >= interval);
        waited || !track.stationary && (seen.looks < YOUNG || seen.bbox.iou(&track.bbox) < MOVED_ON)
    }

    /// The track was looked at.
    pub(super) fn set(&mut self, id: i32, bbox: BBox, time: u64) {
        match self.tracks.binary_search_by_key(&id, |t| t.id) {
            Ok(at) => {
                let seen = &mut self.tracks[at];
                let looks = seen.looks.saturating_add(1);
                *seen = Seen {
                    id,
                    time,
                    bbox,
                    looks,
                };
            }
            Err(at) => {
                let looks = 1;
                self.tracks.insert(
                    at,
                    Seen {
                        id,
                        time,
                        bbox,
                        looks,
                    },
                );
            }
        }
    }

    /// Forgets tracks that are no more, once there are many of them.
    pub(super) fn forget(&mut self, alive: &[WatchedTrack]) {
        if self.tracks.len() > 2 * alive.len() + 16 {
            self.tracks
                .retain(|seen| alive.iter().any(|track| track.id == seen.id));
        }
    }

    pub(super) fn clear(&mut self) {
        self.tracks.clear();
    }

    fn seen(&self, id: i32) -> Option<&Seen> {
        let at = self.tracks.binary_search_by_key(&id, |t| t.id).ok()?;
        Some(&self.tracks[at])
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
    /// Longer side of the largest motion that was looked at since something was found.
    size: f32,
}

/// Where motion was looked at, and how often in a row nothing was found: a tree in the wind is not worth an inference in every frame.
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
    /// It is too early to look at this motion again: what was found there `interval` ago at most is a track by now.
    pub(super) fn pausing(&self, frame: FrameSize, b: &BBox, time: u64, interval: u64) -> bool {
        let place = &self.places[index(frame, b)];
        let pause = match (place.count, place.count.checked_sub(PATIENCE)) {
            (0, _) => interval,
            (_, None) => return false,
            (_, Some(over)) => (FIRST_PAUSE << over.min(8)).min(LONGEST_PAUSE),
        };
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
        let (width, height) = frame.sides();
        let (left, right) = (cell(region.x1, width), cell(region.x2, width));
        let (top, bottom) = (cell(region.y1, height), cell(region.y2, height));
        for y in top..=bottom {
            for place in &mut self.places[y * SIDE + left..=y * SIDE + right] {
                if found || time.saturating_sub(place.last) > FORGET {
                    *place = Place::default();
                }
                if !found {
                    // Once per frame, however many motion boxes lie in the region.
                    place.count = place.count.saturating_add(u8::from(place.last != time));
                }
                place.size = place.size.max(longest(motion));
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
    let (width, height) = frame.sides();
    cell(y, height) * SIDE + cell(x, width)
}

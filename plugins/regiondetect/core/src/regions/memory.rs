//! What the planner remembers between frames: when each track was last looked at, and where looking found nothing.

use detection::BBox;

use super::FrameSize;

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

    /// Forgets the tracks that `alive` does not name.
    pub(super) fn retain(&mut self, alive: impl Fn(i32) -> bool) {
        self.tracks.retain(|(id, _)| alive(*id));
    }

    pub(super) fn clear(&mut self) {
        self.tracks.clear();
    }
}

const SIDE: usize = 16;
/// So many looks at the same motion without finding anything before it is looked at less often.
const PATIENCE: u8 = 3;
/// The first pause; each further fruitless look doubles it.
const FIRST_PAUSE: u64 = 200_000_000;
/// The longest pause.
const LONGEST_PAUSE: u64 = 1_000_000_000;
/// A place where nothing moved for so long is met with new patience.
const FORGET: u64 = 10_000_000_000;

/// Where motion was looked at and nothing found: a tree in the wind is not worth an inference in every frame.
#[derive(Debug, Clone)]
pub(super) struct Fruitless {
    cells: [(u8, u64); SIDE * SIDE],
}

impl Default for Fruitless {
    fn default() -> Self {
        Self {
            cells: [(0, 0); SIDE * SIDE],
        }
    }
}

impl Fruitless {
    /// It is too early to look here again.
    pub(super) fn pausing(&self, frame: FrameSize, b: &BBox, time: u64) -> bool {
        let (count, last) = self.cells[index(frame, b)];
        let Some(over) = count.checked_sub(PATIENCE) else {
            return false;
        };
        let pause = (FIRST_PAUSE << over.min(8)).min(LONGEST_PAUSE);
        // A time before the last look (a seek) ends the pause.
        time >= last && time - last < pause
    }

    /// How often in a row nothing was found here.
    pub(super) fn count(&self, frame: FrameSize, b: &BBox) -> u8 {
        self.cells[index(frame, b)].0
    }

    /// Motion here was looked at, and something was found or not.
    pub(super) fn looked(&mut self, frame: FrameSize, b: &BBox, time: u64, found: bool) {
        let (count, last) = &mut self.cells[index(frame, b)];
        if time.saturating_sub(*last) > FORGET {
            *count = 0;
        }
        *count = if found { 0 } else { count.saturating_add(1) };
        *last = time;
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

fn index(frame: FrameSize, b: &BBox) -> usize {
    let (x, y) = b.centre();
    let cell = |at: f32, dim: i32| ((at / dim.max(1) as f32 * SIDE as f32) as usize).min(SIDE - 1);
    cell(y, frame.height) * SIDE + cell(x, frame.width)
}

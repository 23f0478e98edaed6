//! What the detector found, and what follows from it for the next frames.

use detection::{BBox, Detection, PixelBox};

use super::{MAX_WANTS, Planner, SAME, same};
use crate::grid::RegionGrid;
use crate::regions::{Reason, clipped};

/// A detection without a track is looked at so many frames in a row.
const UNTRACKED_FRAMES: u8 = 3;
/// Scores below this neither make anybody look again nor count as found.
const SURE: f32 = 0.5;
/// Scores below this do not teach the grid.
const TEACHES: f32 = 0.7;

impl Planner {
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

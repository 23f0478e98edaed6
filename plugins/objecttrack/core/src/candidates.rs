//! Which track could be which detection: pairs whose reach boxes touch, found through a grid so that far-away pairs cost nothing.

use detection::BBox;

/// Fewer products than this are simply tried one by one.
const BRUTE_FORCE: usize = 600;
const MAX_CELLS_PER_SIDE: usize = 64;

/// Scratch memory of the grid, kept from frame to frame.
#[derive(Debug, Default)]
pub struct Candidates {
    start: Vec<u32>,
    items: Vec<u32>,
    stamp: Vec<u32>,
    /// Track and detection whose reaches touch, ordered by track.
    pub pairs: Vec<(u32, u32)>,
}

impl Candidates {
    /// Finds all touching pairs of `tracks` and `dets` (already grown by what each may reach).
    pub fn find(&mut self, tracks: &[BBox], dets: &[BBox]) {
        self.pairs.clear();
        if tracks.is_empty() || dets.is_empty() {
            return;
        }
        if tracks.len() * dets.len() <= BRUTE_FORCE {
            for (i, t) in tracks.iter().enumerate() {
                for (j, d) in dets.iter().enumerate() {
                    if touch(t, d) {
                        self.pairs.push((i as u32, j as u32));
                    }
                }
            }
            return;
        }
        let area = dets.iter().skip(1).fold(dets[0], |a, d| a.union(d));
        let side = ((dets.len() as f32).sqrt().ceil() as usize).clamp(1, MAX_CELLS_PER_SIDE);
        let grid = Grid { area, side };
        self.fill(&grid, dets);
        self.stamp.clear();
        self.stamp.resize(dets.len(), u32::MAX);
        for (i, t) in tracks.iter().enumerate() {
            if !touch(t, &area) {
                continue;
            }
            let first = self.pairs.len();
            for cell in grid.cells(t) {
                for &j in &self.items[self.start[cell] as usize..self.start[cell + 1] as usize] {
                    if self.stamp[j as usize] != i as u32 {
                        self.stamp[j as usize] = i as u32;
                        if touch(t, &dets[j as usize]) {
                            self.pairs.push((i as u32, j));
                        }
                    }
                }
            }
            self.pairs[first..].sort_unstable();
        }
    }

    /// Counting sort of the detections into every cell they touch.
    fn fill(&mut self, grid: &Grid, dets: &[BBox]) {
        self.start.clear();
        self.start.resize(grid.side * grid.side + 2, 0);
        for d in dets {
            for cell in grid.cells(d) {
                self.start[cell + 2] += 1;
            }
        }
        for k in 2..self.start.len() {
            self.start[k] += self.start[k - 1];
        }
        self.items.clear();
        self.items
            .resize(self.start[self.start.len() - 1] as usize, 0);
        for (j, d) in dets.iter().enumerate() {
            for cell in grid.cells(d) {
                let at = self.start[cell + 1];
                self.items[at as usize] = j as u32;
                self.start[cell + 1] += 1;
            }
        }
    }
}

fn touch(a: &BBox, b: &BBox) -> bool {
    a.x1 < b.x2 && b.x1 < a.x2 && a.y1 < b.y2 && b.y1 < a.y2
}

struct Grid {
    area: BBox,
    side: usize,
}

impl Grid {
    fn cells(&self, b: &BBox) -> impl Iterator<Item = usize> + use<> {
        let side = self.side;
        let (w, h) = (self.area.width().max(1e-3), self.area.height().max(1e-3));
        let at = |v: f32, from: f32, size: f32| {
            (((v - from) / size * side as f32).max(0.0) as usize).min(side - 1)
        };
        let (x1, x2) = (at(b.x1, self.area.x1, w), at(b.x2, self.area.x1, w));
        let (y1, y2) = (at(b.y1, self.area.y1, h), at(b.y2, self.area.y1, h));
        (y1..=y2).flat_map(move |y| (x1..=x2).map(move |x| y * side + x))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn boxes(n: usize) -> impl Strategy<Value = Vec<BBox>> {
        prop::collection::vec(
            (
                -500.0f32..3000.0,
                -500.0f32..2000.0,
                1.0f32..400.0,
                1.0f32..400.0,
            )
                .prop_map(|(x, y, w, h)| BBox::from_xywh(x, y, w, h)),
            n,
        )
    }

    proptest! {
        #[test]
        fn the_grid_finds_what_trying_all_pairs_finds(tracks in boxes(40), dets in boxes(40)) {
            let mut c = Candidates::default();
            c.find(&tracks, &dets);
            let mut all = Vec::new();
            for (i, t) in tracks.iter().enumerate() {
                for (j, d) in dets.iter().enumerate() {
                    if touch(t, d) {
                        all.push((i as u32, j as u32));
                    }
                }
            }
            prop_assert_eq!(&c.pairs, &all);
        }
    }
}

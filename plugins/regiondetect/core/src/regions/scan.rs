//! Looking through the frame tile by tile, a few tiles per frame: at start-up and while motion says little.

use detection::{FrameSize, PixelBox};

/// Tiles overlap by this share of their side.
const OVERLAP: f32 = 0.2;
/// A tile may be this many times the model's input if that saves tiles.
const STRETCH: f32 = 1.25;

/// The tiles of a frame and which is next.
#[derive(Debug, Clone)]
pub(super) struct Scan {
    frame: FrameSize,
    side: i32,
    columns: i32,
    rows: i32,
    next: i32,
    /// Tiles of the running pass still to be looked at.
    left: i32,
    /// The first pass is under way.
    first: bool,
}

impl Scan {
    /// A scan whose first pass has begun.
    pub(super) fn new(frame: FrameSize, input: i32) -> Self {
        let largest = input as f32 * STRETCH;
        let fit = |dim: i32| {
            let overlap = largest * OVERLAP;
            (((dim as f32 - overlap) / (largest - overlap)).ceil() as i32).max(1)
        };
        let (width, height) = frame.sides();
        let (columns, rows) = (fit(width), fit(height));
        let needed = |dim: i32, n: i32| dim as f32 / (n as f32 - OVERLAP * (n - 1) as f32);
        let side = needed(width, columns).max(needed(height, rows));
        let mut scan = Self {
            frame,
            side: (side.ceil() as i32 + 3) / 4 * 4,
            columns,
            rows,
            next: 0,
            left: 0,
            first: true,
        };
        scan.start();
        scan
    }

    /// Begins a pass over all tiles, unless one is under way.
    pub(super) fn start(&mut self) {
        if self.left == 0 {
            self.left = self.columns * self.rows;
        }
    }

    /// Side of the square tiles in frame pixels.
    pub(super) fn side(&self) -> i32 {
        self.side
    }

    /// Tiles this pass has not come to.
    pub(super) fn left(&self) -> i32 {
        self.left
    }

    /// Tiles that make up the frame.
    pub(super) fn tiles(&self) -> i32 {
        self.columns * self.rows
    }

    /// The first pass is not yet over.
    pub(super) fn is_first(&self) -> bool {
        self.first
    }

    /// The tile `ahead` places on.
    pub(super) fn peek(&self, ahead: i32) -> PixelBox {
        let i = (self.next + ahead) % (self.columns * self.rows);
        self.tile(i % self.columns, i / self.columns)
    }

    /// So many tiles have been looked at.
    pub(super) fn advance(&mut self, tiles: i32) {
        self.next = (self.next + tiles) % (self.columns * self.rows);
        self.left = (self.left - tiles).max(0);
        self.first &= self.left > 0;
    }

    fn tile(&self, column: i32, row: i32) -> PixelBox {
        let at = |i: i32, n: i32, dim: i32| {
            let room = (dim - self.side).max(0);
            if n > 1 { room * i / (n - 1) } else { 0 }
        };
        let (width, height) = self.frame.sides();
        let x = at(column, self.columns, width);
        let y = at(row, self.rows, height);
        PixelBox::new(x, y, x + self.side, y + self.side)
    }
}

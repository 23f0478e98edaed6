//! The region grid: 8x8 cells that learn how large the regions around real objects are in each part of the picture.
//!
//! Each cell keeps count, mean and sum of squared differences (Welford), so memory is constant and two grids can be
//! merged. Sizes are region widths as a share of the frame's width.

use detection::{FrameSize, PixelBox};
use serde::{Deserialize, Serialize};

use crate::regions::calculate_region;

/// Cells across and down.
pub const GRID_SIZE: usize = 8;

/// Region around a tracked object, and so the size that is learned.
const TRACKED: f64 = 1.35;
/// Region around motion.
const MOTION: f64 = 2.0;
/// The most popular cells that are looked at at start-up.
const STARTUP_CELLS: usize = 8;
/// Sizes a grid may hold and be told by an import: a hundredth of the frame's width to several frames.
const SIZES: std::ops::RangeInclusive<f64> = 0.001..=16.0;
/// Beyond this count a cell forgets slowly: new sizes keep the weight they had when it got here, so that a camera which
/// was moved learns its new view within a day or so.
const MAX_COUNT: u64 = 10_000;
const VERSION: u32 = 1;

/// What one cell has learned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// How many sizes.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// Their population standard deviation.
    pub std_dev: f64,
}

impl Cell {
    /// Adds one size.
    fn add(&mut self, size: f64) {
        self.merge(&Cell {
            count: 1,
            mean: size,
            std_dev: 0.0,
        });
    }

    /// What this cell would have learned had it seen the other's sizes too.
    pub fn merge(&mut self, other: &Cell) {
        let (a, b) = (self.count as f64, other.count as f64);
        let n = a + b;
        if n == 0.0 {
            return;
        }
        let delta = other.mean - self.mean;
        let squares =
            self.std_dev.powi(2) * a + other.std_dev.powi(2) * b + delta * delta * a * b / n;
        self.mean += delta * b / n;
        self.std_dev = (squares / n).max(0.0).sqrt();
        self.count = self.count.saturating_add(other.count).min(MAX_COUNT);
    }
}

/// Sizes the learned regions are held within when they are used, as shares of the frame's width.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
}

impl std::str::FromStr for Bounds {
    type Err = GridError;

    /// Reads `MIN,MAX`.
    fn from_str(text: &str) -> Result<Self, GridError> {
        let number = |text: &str| text.trim().parse().ok();
        let bounds = text
            .split_once(',')
            .and_then(|(min, max)| number(min).zip(number(max)))
            .map(|(min, max)| Self { min, max })
            .ok_or_else(|| GridError::BoundsText(text.to_owned()))?;
        check_bounds(bounds)?;
        Ok(bounds)
    }
}

impl std::fmt::Display for Bounds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{},{}", self.min, self.max)
    }
}

/// Why a grid could not be imported.
#[derive(Debug, thiserror::Error)]
pub enum GridError {
    /// Not the JSON of a grid.
    #[error(
        "region grid is not valid JSON of the form {{\"version\":1,\"cells\":[8 columns of 8 {{count, mean, std_dev}}]}}: {0}"
    )]
    Json(#[from] serde_json::Error),
    /// A version this library does not know.
    #[error(
        "region grid has version {0}, this library reads {VERSION}; reset the grid or export it with the same release"
    )]
    Version(u32),
    /// Not 8 columns of 8 cells.
    #[error(
        "region grid has {columns} columns and column {column} has {rows} cells; both must be {GRID_SIZE}"
    )]
    Shape {
        /// Columns found.
        columns: usize,
        /// The first column of another length.
        column: usize,
        /// Its length.
        rows: usize,
    },
    /// Bounds that hold nothing.
    #[error(
        "region grid bounds {min}..{max}: shares of the frame's width from 0.001 to 16 are allowed, the smaller first"
    )]
    Bounds {
        /// Smallest size given.
        min: f64,
        /// Largest size given.
        max: f64,
    },
    /// A text that is no bounds.
    #[error(
        "region grid bounds {0:?}: expected MIN,MAX as shares of the frame's width, such as 0.1,0.6"
    )]
    BoundsText(String),
    /// A cell holds numbers that cannot have been learned.
    #[error("region grid cell x={x}, y={y}: {what} is {value}; {allowed}")]
    Value {
        /// Column.
        x: usize,
        /// Row.
        y: usize,
        /// Which number.
        what: &'static str,
        /// Its value.
        value: f64,
        /// What it may be.
        allowed: &'static str,
    },
}

/// The grid as it is written and read.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    #[serde(default)]
    frozen: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bounds: Option<Bounds>,
    cells: Vec<Vec<Cell>>,
}

/// An 8x8 grid of learned region sizes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RegionGrid {
    /// `cells[x][y]`.
    cells: [[Cell; GRID_SIZE]; GRID_SIZE],
    frozen: bool,
    bounds: Option<Bounds>,
    changes: u64,
}

impl RegionGrid {
    /// An empty grid.
    pub fn new() -> Self {
        Self::default()
    }

    /// The cell in this column and row, both 0..8.
    pub fn cell(&self, x: usize, y: usize) -> Option<&Cell> {
        self.cells.get(x)?.get(y)
    }

    /// Puts a cell in its place, checked as an import is.
    pub fn set_cell(&mut self, x: usize, y: usize, cell: Cell) -> Result<(), GridError> {
        check_cell(x, y, &cell)?;
        if let Some(place) = self.cells.get_mut(x).and_then(|column| column.get_mut(y)) {
            *place = cell;
            self.changes += 1;
        }
        Ok(())
    }

    /// Nothing has been learned.
    pub fn is_empty(&self) -> bool {
        self.cells.iter().flatten().all(|cell| cell.count == 0)
    }

    /// Goes up by one with every change: tells a store when there is something to keep.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// The grid is used but no longer learns.
    pub fn set_frozen(&mut self, frozen: bool) {
        self.frozen = frozen;
    }

    /// The grid no longer learns.
    pub fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// Holds learned sizes within these when they are used.
    pub fn set_bounds(&mut self, bounds: Option<Bounds>) -> Result<(), GridError> {
        if let Some(bounds) = bounds {
            check_bounds(bounds)?;
        }
        self.changes += u64::from(self.bounds != bounds);
        self.bounds = bounds;
        Ok(())
    }

    /// What learned sizes are held within when they are used.
    pub fn bounds(&self) -> Option<Bounds> {
        self.bounds
    }

    /// Forgets everything learned; frozen and bounds stay.
    pub fn reset(&mut self) {
        self.cells = Default::default();
        self.changes += 1;
    }

    /// What this grid would have learned had it seen the other's objects too.
    pub fn merge(&mut self, other: &Self) {
        let pairs = self
            .cells
            .iter_mut()
            .flatten()
            .zip(other.cells.iter().flatten());
        for (mine, theirs) in pairs {
            mine.merge(theirs);
        }
        self.changes += 1;
    }

    /// Learns from a real object's box (frame pixels). `min_region` must be the one that regions are chosen with.
    pub fn learn(&mut self, frame: FrameSize, corners: (f64, f64, f64, f64), min_region: i32) {
        let (x1, y1, x2, y2) = corners;
        let finite = [x1, y1, x2, y2].iter().all(|v| v.is_finite());
        if self.frozen || !finite || frame.width == 0 || frame.height == 0 {
            return;
        }
        let column = cell_index((x1 + x2) / 2.0 / f64::from(frame.width));
        let row = cell_index((y1 + y2) / 2.0 / f64::from(frame.height));
        let region = calculate_region(frame, corners, min_region, TRACKED);
        let size = f64::from(region.width()) / f64::from(frame.width);
        if SIZES.contains(&size) {
            self.cells[column][row].add(size);
            self.changes += 1;
        }
    }

    /// The region for a cluster of motion: twice its size, or more where objects at this place are known to be larger.
    pub fn region_for(&self, frame: FrameSize, cluster: &PixelBox, min_region: i32) -> PixelBox {
        let corners = (
            f64::from(cluster.x1),
            f64::from(cluster.y1),
            f64::from(cluster.x2),
            f64::from(cluster.y2),
        );
        let region = calculate_region(frame, corners, min_region, MOTION);
        let (width, height) = (f64::from(frame.width), f64::from(frame.height));
        // Centre of what can be seen of it.
        let middle = |from: i32, to: i32, dim: i32| {
            f64::from(from) + (f64::from(to.min(dim)) - f64::from(from)) / 2.0
        };
        let (right, bottom) = frame.sides();
        let cx = middle(region.x1, region.x2, right);
        let cy = middle(region.y1, region.y2, bottom);
        let cell = &self.cells[cell_index(cx / width)][cell_index(cy / height)];
        let size = f64::from(region.width()) / width;
        if cell.count == 0 || size >= cell.mean - cell.std_dev {
            return region;
        }
        let half = self.bounded(cell.mean) * width / 2.0;
        let corners = (
            (cx - half).max(0.0),
            (cy - half).max(0.0),
            (cx + half).min(width),
            (cy + half).min(height),
        );
        calculate_region(frame, corners, min_region, MOTION)
    }

    /// Up to 8 regions to look at first: the cells with the most objects. None while nothing has been learned.
    pub fn startup_regions(
        &self,
        frame: FrameSize,
        min_region: i32,
    ) -> impl Iterator<Item = PixelBox> {
        let mut popular = [(0u64, 0usize); GRID_SIZE * GRID_SIZE];
        for (i, cell) in self.cells.iter().flatten().enumerate() {
            popular[i] = (cell.count, i);
        }
        popular.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        let cells = self.cells;
        let bounds = self.bounds;
        popular
            .into_iter()
            .take(STARTUP_CELLS)
            .take_while(|(count, _)| *count > 0)
            .map(move |(_, i)| {
                let (column, row) = (i / GRID_SIZE, i % GRID_SIZE);
                let (width, height) = (f64::from(frame.width), f64::from(frame.height));
                let cx = width / GRID_SIZE as f64 * (0.5 + column as f64);
                let cy = height / GRID_SIZE as f64 * (0.5 + row as f64);
                let half = within(cells[column][row].mean, bounds) * width / 2.0;
                let corners = (cx - half, cy - half, cx + half, cy + half);
                calculate_region(frame, corners, min_region, 1.0)
            })
    }

    /// Mean region width at this place in frame pixels, if anything is known of it.
    pub fn expected_width(&self, frame: FrameSize, (x, y): (f32, f32)) -> Option<f32> {
        let cell = &self.cells[cell_index(f64::from(x) / f64::from(frame.width.max(1)))]
            [cell_index(f64::from(y) / f64::from(frame.height.max(1)))];
        (cell.count > 0).then(|| (self.bounded(cell.mean) * f64::from(frame.width)) as f32)
    }

    /// The grid as JSON: {"version", "frozen", "bounds", "cells": 8 columns of 8 {"count", "mean", "std_dev"}}.
    pub fn to_json(&self) -> String {
        let file = File {
            version: VERSION,
            frozen: self.frozen,
            bounds: self.bounds,
            cells: self.cells.iter().map(|column| column.to_vec()).collect(),
        };
        // A struct of numbers cannot fail to serialise.
        serde_json::to_string(&file).unwrap_or_default()
    }

    /// Reads such JSON, from anywhere: everything is checked.
    pub fn from_json(text: &str) -> Result<Self, GridError> {
        let file: File = serde_json::from_str(text)?;
        if file.version != VERSION {
            return Err(GridError::Version(file.version));
        }
        let odd = file
            .cells
            .iter()
            .position(|column| column.len() != GRID_SIZE);
        if file.cells.len() != GRID_SIZE || odd.is_some() {
            let column = odd.unwrap_or(0);
            return Err(GridError::Shape {
                columns: file.cells.len(),
                column,
                rows: file.cells.get(column).map_or(0, Vec::len),
            });
        }
        if let Some(bounds) = file.bounds {
            check_bounds(bounds)?;
        }
        let mut grid = Self {
            frozen: file.frozen,
            bounds: file.bounds,
            ..Self::default()
        };
        for (x, column) in file.cells.iter().enumerate() {
            for (y, cell) in column.iter().enumerate() {
                check_cell(x, y, cell)?;
                if cell.count > 0 {
                    grid.cells[x][y] = Cell {
                        count: cell.count.min(MAX_COUNT),
                        ..*cell
                    };
                }
            }
        }
        Ok(grid)
    }

    fn bounded(&self, size: f64) -> f64 {
        within(size, self.bounds)
    }
}

fn within(size: f64, bounds: Option<Bounds>) -> f64 {
    bounds.map_or(size, |b| size.max(b.min).min(b.max))
}

/// Column or row of a share 0..1 of the frame; beyond the edges the outermost.
fn cell_index(share: f64) -> usize {
    // `as` takes NaN and everything negative to 0.
    ((share * GRID_SIZE as f64) as usize).min(GRID_SIZE - 1)
}

fn check_cell(x: usize, y: usize, cell: &Cell) -> Result<(), GridError> {
    let wrong = |what, value, allowed| {
        Err(GridError::Value {
            x,
            y,
            what,
            value,
            allowed,
        })
    };
    if cell.count == 0 {
        return Ok(());
    }
    if !SIZES.contains(&cell.mean) {
        return wrong(
            "mean",
            cell.mean,
            "a share of the frame's width from 0.001 to 16 is allowed",
        );
    }
    if !(0.0..=*SIZES.end()).contains(&cell.std_dev) {
        return wrong("std_dev", cell.std_dev, "0 to 16 is allowed");
    }
    Ok(())
}

fn check_bounds(bounds: Bounds) -> Result<(), GridError> {
    let Bounds { min, max } = bounds;
    if SIZES.contains(&min) && SIZES.contains(&max) && min <= max {
        Ok(())
    } else {
        Err(GridError::Bounds { min, max })
    }
}

/// Any bytes are a grid or refused, and a grid that was accepted gives regions that begin in the frame: for the fuzz target
/// and the property tests.
pub fn fuzz(bytes: &[u8]) {
    let Ok(mut grid) = RegionGrid::from_json(&String::from_utf8_lossy(bytes)) else {
        return;
    };
    let frame = FrameSize::new(1280, 720);
    let inside = |r: &PixelBox| {
        assert!(r.x1 >= 0 && r.y1 >= 0 && r.x1 < frame.sides().0 && r.y1 < frame.sides().1);
        assert_eq!(r.width(), r.height());
    };
    grid.startup_regions(frame, 320).for_each(|r| inside(&r));
    for i in 0..8 {
        let b = PixelBox::new(i * 150, i * 80, i * 150 + 100, i * 80 + 100);
        inside(&grid.region_for(frame, &b, 320));
        grid.learn(frame, (f64::from(i), 0.0, f64::from(i * 160), 90.0), 320);
    }
    let copy = grid.clone();
    grid.merge(&copy);
    assert!(RegionGrid::from_json(&grid.to_json()).is_ok());
}

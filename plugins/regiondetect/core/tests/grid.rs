//! The region grid: what it learns, and what it accepts from outside.

use detection::FrameSize;
use proptest::prelude::*;
use regiondetect_core::grid::{Bounds, Cell, RegionGrid};

const FRAME: FrameSize = FrameSize::new(1280, 720);

/// Teaches a square of this side about a place.
fn teach(grid: &mut RegionGrid, (x, y): (f64, f64), side: f64) {
    let half = side / 2.0;
    grid.learn(FRAME, (x - half, y - half, x + half, y + half), 320);
}

#[test]
fn a_cell_knows_mean_and_deviation_of_what_it_was_shown() {
    let mut grid = RegionGrid::new();
    let sides = [300.0, 400.0, 500.0, 350.0];
    for side in sides {
        teach(&mut grid, (200.0, 100.0), side);
    }
    let sizes: Vec<f64> = sides
        .iter()
        .map(|s| ((s * 1.35) / 4.0_f64).floor() * 4.0 / 1280.0)
        .collect();
    let mean = sizes.iter().sum::<f64>() / 4.0;
    let deviation = (sizes.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / 4.0).sqrt();
    let cell = grid.cell(1, 1).unwrap();
    assert_eq!(cell.count, 4);
    assert!((cell.mean - mean).abs() < 1e-12 && (cell.std_dev - deviation).abs() < 1e-12);
    assert_eq!(grid.changes(), 4);
}

#[test]
fn a_frozen_grid_is_used_but_does_not_learn() {
    let mut grid = RegionGrid::new();
    teach(&mut grid, (200.0, 100.0), 400.0);
    let before = grid.clone();
    grid.set_frozen(true);
    teach(&mut grid, (200.0, 100.0), 700.0);
    assert_eq!(grid.cell(1, 1), before.cell(1, 1));
    assert_eq!(grid.startup_regions(FRAME, 320).count(), 1);
    let copy = RegionGrid::from_json(&grid.to_json()).unwrap();
    assert!(copy.is_frozen());
    grid.reset();
    assert!(grid.is_empty() && grid.is_frozen());
}

#[test]
fn bounds_hold_what_was_learned_when_it_is_used() {
    let mut grid = RegionGrid::new();
    // At night something large was learned, and people are not found any more.
    teach(&mut grid, (640.0, 360.0), 700.0);
    let usual = grid.startup_regions(FRAME, 320).next().unwrap().width();
    assert!(usual > 900);
    grid.set_bounds(Some(Bounds { min: 0.2, max: 0.4 }))
        .unwrap();
    assert_eq!(
        grid.startup_regions(FRAME, 320).next().unwrap().width(),
        512
    );
    for (min, max) in [(0.5, 0.4), (0.0, 0.4), (0.1, f64::NAN), (0.1, 99.0)] {
        assert!(
            grid.set_bounds(Some(Bounds { min, max })).is_err(),
            "{min}..{max}"
        );
    }
}

#[test]
fn memory_is_constant_and_a_moved_camera_is_learned_anew() {
    let mut grid = RegionGrid::new();
    for _ in 0..30_000 {
        teach(&mut grid, (640.0, 360.0), 300.0);
    }
    let json = grid.to_json();
    assert!(json.len() < 8000);
    assert_eq!(grid.cell(4, 4).unwrap().count, 10_000);
    for _ in 0..30_000 {
        teach(&mut grid, (640.0, 360.0), 600.0);
    }
    let (old, new) = (404.0 / 1280.0, 808.0 / 1280.0);
    let mean = grid.cell(4, 4).unwrap().mean;
    assert!(mean > old + 0.9 * (new - old) && mean < new, "{mean}");
}

#[test]
fn refused_grids_say_where_and_why() {
    let good = RegionGrid::new().to_json();
    let with = |from: &str, to: &str| {
        RegionGrid::from_json(&good.replacen(from, to, 1))
            .unwrap_err()
            .to_string()
    };
    assert!(with("\"version\":1", "\"version\":7").contains("version 7"));
    assert!(with("[[", "[[{\"count\":0,\"mean\":0,\"std_dev\":0},").contains("column 0 has 9"));
    let first = "{\"count\":0,\"mean\":0.0,\"std_dev\":0.0}";
    let error = with(first, "{\"count\":3,\"mean\":-1.0,\"std_dev\":0.0}");
    assert!(
        error.contains("x=0, y=0") && error.contains("mean is -1"),
        "{error}"
    );
    assert!(with(first, "{\"count\":3,\"mean\":1.0,\"std_dev\":-2}").contains("std_dev is -2"));
    assert!(with("\"frozen\"", "\"molten\"").contains("molten"));
    assert!(RegionGrid::from_json("").is_err());
    assert!(
        RegionGrid::new()
            .set_cell(
                0,
                0,
                Cell {
                    count: 1,
                    mean: f64::NAN,
                    std_dev: 0.0
                }
            )
            .is_err()
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_grids_merged_are_one_that_saw_everything(
        a in prop::collection::vec((0f64..1280.0, 0f64..720.0, 10f64..700.0), 0..40),
        b in prop::collection::vec((0f64..1280.0, 0f64..720.0, 10f64..700.0), 0..40),
    ) {
        let (mut first, mut second, mut all) = (RegionGrid::new(), RegionGrid::new(), RegionGrid::new());
        for (x, y, side) in &a {
            teach(&mut first, (*x, *y), *side);
            teach(&mut all, (*x, *y), *side);
        }
        for (x, y, side) in &b {
            teach(&mut second, (*x, *y), *side);
            teach(&mut all, (*x, *y), *side);
        }
        first.merge(&second);
        for x in 0..8 {
            for y in 0..8 {
                let (one, two) = (first.cell(x, y).unwrap(), all.cell(x, y).unwrap());
                prop_assert_eq!(one.count, two.count);
                prop_assert!((one.mean - two.mean).abs() < 1e-9);
                prop_assert!((one.std_dev - two.std_dev).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn any_text_is_a_grid_or_refused(text in "[\\[\\]{}:,.0-9a-z\"-]{0,120}", cut in 0usize..4000, with in any::<u8>()) {
        regiondetect_core::grid::fuzz(text.as_bytes());
        // A good grid with one byte changed comes nearer to what matters.
        let mut grid = RegionGrid::new();
        teach(&mut grid, (600.0, 300.0), 200.0);
        let mut bytes = grid.to_json().into_bytes();
        let at = cut % bytes.len();
        bytes[at] = with;
        regiondetect_core::grid::fuzz(&bytes);
    }
}

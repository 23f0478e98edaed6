//! Nothing is allocated on the steady path: not for a frame's motion, and not for its plan.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use detection::{BBox, Detection, FrameSize};
use regiondetect_core::grid::RegionGrid;
use regiondetect_core::motion::{Luma, LumaLayout, MotionDetector, MotionSettings};
use regiondetect_core::regions::{Look, PlanSettings, Planner, WatchedTrack};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counting per thread.
struct Counting;

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that is ending has no counter any more.
        let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + 1));
        // SAFETY: the caller keeps to the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller gives what `alloc` above gave.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + 1));
        // SAFETY: the caller gives what `alloc` above gave.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of the second half of the rounds; the first half may grow its memory.
fn allocations(rounds: usize, mut round: impl FnMut(usize)) -> usize {
    (0..rounds / 2).for_each(&mut round);
    let before = ALLOCATIONS.get();
    (rounds / 2..rounds).for_each(round);
    ALLOCATIONS.get() - before
}

#[test]
fn motion_allocates_nothing_once_it_runs() {
    let (width, height) = (640, 360);
    let frames: Vec<Vec<u8>> = (0..20)
        .map(|n| {
            let mut plane = vec![60; width * height];
            for y in 100..200 {
                plane[y * width + n * 20..][..60].fill(200);
            }
            plane
        })
        .collect();
    let size = FrameSize::new(width as u32, height as u32);
    let mut detector = MotionDetector::new(MotionSettings::default(), size).unwrap();
    let mut boxes = 0;
    let count = allocations(200, |n| {
        let luma = Luma::new(&frames[n % 20], width, width, height, LumaLayout::PLANE).unwrap();
        boxes += detector.process(&luma).boxes.len();
    });
    assert!(boxes > 100);
    assert_eq!(count, 0);
}

#[test]
fn planning_allocates_nothing_once_it_has_seen_a_crowd() {
    let frames: Vec<Vec<WatchedTrack>> = (0..20)
        .map(|n| {
            (0..40)
                .map(|i| WatchedTrack {
                    id: i,
                    bbox: BBox::from_xywh(
                        ((i * 389 + n * 6) % 1200) as f32,
                        (i * 211 % 600) as f32,
                        40.0,
                        100.0,
                    ),
                    stationary: i % 5 == 0,
                })
                .collect()
        })
        .collect();
    let motion: Vec<Vec<BBox>> = frames
        .iter()
        .map(|f| f.iter().map(|t| t.bbox.grown(0.2)).collect())
        .collect();
    let found: Vec<Vec<Detection>> = frames
        .iter()
        .map(|f| {
            f.iter()
                .map(|t| Detection {
                    bbox: t.bbox,
                    label: 0,
                    score: 0.8,
                })
                .collect()
        })
        .collect();
    let mut planner = Planner::new(PlanSettings::new(FrameSize::new(1280, 720), 416));
    let mut grid = RegionGrid::new();
    let mut inputs = 0;
    let count = allocations(400, |n| {
        let look = Look {
            time: n as u64 * 200_000_000,
            motion: Some(&motion[n % 20]),
            calibrating: n % 50 == 7,
            tracks: Some(&frames[n % 20]),
        };
        inputs += planner.plan(&look, &grid).inputs().len();
        planner.report(&found[n % 20], &mut grid);
    });
    assert!(inputs > 400);
    assert_eq!(count, 0);
}

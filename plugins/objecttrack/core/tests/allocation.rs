//! Once the scene has been seen at its largest, a step allocates nothing.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use detection::{BBox, Detection};
use objecttrack_core::{LookedAt, Params, Tracker};

struct Counting;

static COUNT: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed to the system's allocator unchanged; counting touches no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_busy_scene_is_tracked_without_allocating() {
    let mut tracker = Tracker::new(Params::default());
    let mut seen = Vec::with_capacity(120);
    let region = [BBox::from_xywh(0.0, 0.0, 1500.0, 2000.0)];
    let mut counted = 0;
    for f in 0..400usize {
        seen.clear();
        for i in 0..120usize {
            // One in twenty is missed, in turn.
            if (i + f) % 20 == 0 && f > 0 {
                continue;
            }
            let (x, y) = ((i % 12) as f32 * 110.0, (i / 12) as f32 * 150.0);
            let sway = ((f + i) as f32 * 0.3).sin() * 25.0;
            seen.push(Detection {
                bbox: BBox::from_xywh(x + sway, y, 60.0, 130.0),
                label: 0,
                score: 0.9,
            });
        }
        let looked = if f % 3 == 0 {
            LookedAt::Regions(&region)
        } else {
            LookedAt::Everything
        };
        let before = COUNT.load(Ordering::Relaxed);
        tracker.step(f as f64 / 5.0, &seen, looked);
        if f >= 200 {
            counted += COUNT.load(Ordering::Relaxed) - before;
        }
    }
    assert_eq!(counted, 0);
}

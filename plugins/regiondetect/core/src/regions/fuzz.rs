//! What every plan promises, for any boxes: called by the fuzz target and the property tests.

use detection::{BBox, Detection, FrameSize};

use super::{Look, Plan, PlanSettings, Planner, WatchedTrack};
use crate::grid::RegionGrid;

/// Makes settings and a few frames of boxes of the bytes, and checks each plan. Panics where one breaks a promise.
pub fn fuzz(bytes: &[u8]) {
    let mut bytes = bytes.iter().copied();
    let mut next = || bytes.next();
    let Some(choice) = next() else { return };
    let (width, height) =
        [(1280, 720), (720, 1280), (320, 240), (3840, 2160)][usize::from(choice % 4)];
    let settings = PlanSettings {
        pack: choice & 4 == 0,
        budget: (choice & 8 == 0).then(|| f32::from(choice >> 4)),
        max_inputs: usize::from(choice >> 5) + 1,
        track_interval: u64::from(choice >> 6) * 60_000_000,
        ..PlanSettings::new(
            FrameSize::new(width, height),
            [192, 320, 416, 640][usize::from(choice / 4 % 4)],
        )
    };
    let mut planner = Planner::new(settings.clone());
    let mut grid = RegionGrid::new();
    let mut time = 0u64;
    loop {
        let Some(kind) = next() else { return };
        let mut boxes = Vec::new();
        for _ in 0..kind % 48 {
            let mut number = || Some(f32::from(next()?) / 200.0);
            let (Some(x), Some(y), Some(w), Some(h)) = (number(), number(), number(), number())
            else {
                return;
            };
            boxes.push(BBox::from_xywh(
                (x - 0.1) * width as f32,
                (y - 0.1) * height as f32,
                w * w * width as f32,
                h * h * height as f32,
            ));
        }
        time = time.wrapping_add(u64::from(kind) * 10_000_000);
        let half = boxes.len() / 2;
        let track = |(i, b): (usize, &BBox)| WatchedTrack {
            id: i as i32,
            bbox: *b,
            stationary: i % 3 == 2,
        };
        let tracks: Vec<_> = boxes[..half].iter().enumerate().map(track).collect();
        let look = Look {
            time,
            motion: (kind & 64 == 0).then_some(&boxes[half..]),
            calibrating: kind & 128 != 0,
            tracks: Some(&tracks),
        };
        let plan = planner.plan(&look, &grid);
        check(plan, &look, &settings);
        let found: Vec<_> = boxes
            .iter()
            .step_by(2)
            .map(|b| Detection {
                bbox: *b,
                label: 0,
                score: 0.9,
            })
            .collect();
        planner.report(&found, &mut grid);
    }
}

/// Checks one plan against what it was made of.
fn check(plan: &Plan, look: &Look, settings: &PlanSettings) {
    let (width, height) = settings.frame.sides();
    assert!(plan.inputs().len() <= settings.max_inputs);
    for input in plan.inputs() {
        let placements = plan.placements(input);
        assert!(!placements.is_empty());
        for (i, p) in placements.iter().enumerate() {
            let (s, d) = (p.source, p.dest);
            assert!(s.width() == s.height() && s.width() > 0, "square: {s:?}");
            assert!(d.width() == d.height() && d.width() > 0, "square: {d:?}");
            assert!(s.x1 >= 0 && s.y1 >= 0 && s.x1 < width && s.y1 < height);
            assert!(s.x2 <= width || s.x1 == 0, "beyond the right edge: {s:?}");
            assert!(s.y2 <= height || s.y1 == 0, "beyond the lower edge: {s:?}");
            assert!(d.x1 >= 0 && d.y1 >= 0 && d.x2 <= settings.input && d.y2 <= settings.input);
            for other in &placements[..i] {
                let overlap = d.to_bbox().intersection(&other.dest.to_bbox());
                assert!(overlap.is_none_or(|o| o.area() == 0.0), "places overlap");
            }
        }
    }
    let told = |b: &BBox| {
        let b = b.clamped(width as f32, height as f32);
        !b.is_valid() || plan.holds(&b) || plan.deferred().iter().any(|d| d.bbox.contains(&b))
    };
    let every_frame = settings.track_interval == 0;
    let tracks = look.tracks.unwrap_or(&[]).iter();
    for track in tracks.filter(|t| every_frame && !t.stationary) {
        assert!(told(&track.bbox), "neither shown nor deferred: {track:?}");
    }
    if !look.calibrating {
        for b in look.motion.unwrap_or(&[]) {
            // Larger motion may be covered by several squares.
            let small = b.width().max(b.height()) < settings.input as f32;
            assert!(!small || told(b), "neither shown nor deferred: {b:?}");
        }
    }
}

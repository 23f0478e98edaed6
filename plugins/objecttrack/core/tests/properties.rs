//! What holds for any input.

use std::collections::HashSet;

use detection::{BBox, Detection, TrackChange};
use objecttrack_core::{LookedAt, Params, Tracker};
use proptest::prelude::*;

fn number() -> impl Strategy<Value = f32> {
    prop_oneof![
        20 => -200.0f32..2000.0,
        1 => Just(f32::NAN),
        1 => Just(f32::INFINITY),
        1 => Just(-1e30f32),
        1 => Just(0.0f32),
    ]
}

fn detections() -> impl Strategy<Value = Vec<Detection>> {
    let one = (
        number(),
        number(),
        number(),
        number(),
        prop_oneof![9 => 0.0f32..1.2, 1 => Just(f32::NAN)],
        0u16..4,
    )
        .prop_map(|(x, y, w, h, score, label)| Detection {
            bbox: BBox::new(x, y, x + w, y + h),
            label,
            score,
        });
    prop::collection::vec(one, 0..12)
}

type Frames = Vec<(f64, Vec<Detection>, Option<Vec<(f32, f32, f32, f32)>>)>;

fn frames() -> impl Strategy<Value = Frames> {
    let time = prop_oneof![8 => 0.0f64..1.0, 1 => -100.0f64..100.0, 1 => Just(f64::NAN)];
    let regions = prop::option::of(prop::collection::vec(
        (number(), number(), number(), number()),
        0..4,
    ));
    prop::collection::vec((time, detections(), regions), 1..40)
}

fn run(frames: &Frames) -> Vec<(u32, [f32; 4])> {
    let mut tracker = Tracker::new(Params::default());
    let mut time = 0.0;
    let mut out = Vec::new();
    let (mut live, mut ended) = (HashSet::new(), HashSet::new());
    for (dt, seen, regions) in frames {
        time += dt;
        let boxes: Option<Vec<BBox>> = regions.as_ref().map(|r| {
            r.iter()
                .map(|&(x, y, w, h)| BBox::from_xywh(x, y, w, h))
                .collect()
        });
        let at = boxes
            .as_deref()
            .map_or(LookedAt::Everything, LookedAt::Regions);
        let tracks = tracker.step(time, seen, at);
        let mut ids = HashSet::new();
        let mut used = HashSet::new();
        for t in tracks {
            assert!(ids.insert(t.track.id), "two tracks with id {}", t.track.id);
            assert!(
                !ended.contains(&t.track.id),
                "id {} came back after its end",
                t.track.id
            );
            let b = t.track.bbox;
            assert!(b.is_valid(), "{b:?}");
            if let Some(i) = t.detection {
                assert!(
                    i < seen.len() && used.insert(i),
                    "detection {i} used twice or not there"
                );
            }
            out.push((t.track.id, [b.x1, b.y1, b.x2, b.y2]));
        }
        for c in tracker.changes() {
            match c.kind {
                TrackChange::Started => assert!(live.insert(c.track.track.id)),
                TrackChange::Ended => {
                    assert!(live.remove(&c.track.track.id));
                    ended.insert(c.track.track.id);
                }
                _ => assert!(live.contains(&c.track.track.id)),
            }
        }
        assert_eq!(ids, live);
    }
    for c in tracker.end_all() {
        assert!(live.remove(&c.track.track.id));
    }
    assert!(live.is_empty());
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_track_has_one_life_one_box_and_one_detection(frames in frames()) {
        run(&frames);
    }

    #[test]
    fn the_same_input_gives_the_same_output(frames in frames()) {
        prop_assert_eq!(format!("{:?}", run(&frames)), format!("{:?}", run(&frames)));
    }
}

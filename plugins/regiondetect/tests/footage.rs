//! The element with a real model on real footage.

mod support;

use gst::prelude::*;

use support::{run, shared, stats};

#[test]
fn people_of_the_walking_clip_are_found() {
    let (Some(model), Some(clip)) = (
        shared("models/yolox_nano.onnx"),
        shared("media/one-by-one-person-detection.mp4"),
    ) else {
        return;
    };
    // One frame a second: enough to see everyone.
    let line = format!(
        "filesrc location={} ! decodebin ! videorate drop-only=true ! video/x-raw,framerate=1/1 ! videoconvert \
         ! video/x-raw,format=I420 ! regiondetect name=detect model={} classes=person ! appsink name=sink",
        clip.display(),
        model.display()
    );
    let (mut frames, mut with_person) = (0, 0);
    let pipeline = run(&line, |_, seen| {
        frames += 1;
        let regions = seen.regions.expect("every buffer says what was looked at");
        assert!(
            !regions.is_empty(),
            "without motion metas the whole frame is looked at"
        );
        for (label, score, bbox) in &seen.detections {
            assert_eq!(label, "person");
            assert!((0.4..=1.0).contains(score));
            assert!(bbox.x1 >= 0.0 && bbox.y1 >= 0.0 && bbox.x2 <= 1.0 && bbox.y2 <= 1.0);
        }
        with_person += usize::from(!seen.detections.is_empty());
    });
    println!(
        "{frames} frames, {with_person} with a person: {}",
        stats(&pipeline)
    );
    assert!(frames > 100, "{frames}");
    assert!(with_person * 4 > frames, "{with_person} of {frames}");
    assert_eq!(stats(&pipeline).get::<u64>("frames"), Ok(frames as u64));
    pipeline.set_state(gst::State::Null).unwrap();
}

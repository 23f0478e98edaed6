//! The demo model through the element, on test scenes its training never saw.

mod support;

use std::path::Path;
use std::time::Duration;

use detection::BBox;
use gst::prelude::*;
use gsttestscene::scene::{Scene, Script, Truth};
use gsttestscene::source::{self, Speed};

const SIZE: (u32, u32) = (640, 360);
/// Pictures per scene, one a second.
const PICTURES: u32 = 40;

#[derive(Debug, Default)]
struct Count {
    wanted: usize,
    found: usize,
    sure: usize,
    false_alarms: usize,
}

/// Looks at whole frames of `spec` and compares with what is really there.
fn look(spec: &str, label: &str, count: &mut Count) {
    support::init();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines/demo-model/demo.onnx");
    let script: Script = spec.parse().unwrap();
    let scene = Scene::new(&script, SIZE.0, SIZE.1);
    let rate = gst::Fraction::new(1, 1);
    let source = source::make_from(script, SIZE.0, SIZE.1, rate, Speed::Unlimited).unwrap();
    source.set_property("num-buffers", PICTURES as i32);
    let detect = gst::ElementFactory::make("regiondetect")
        .property("model", model.to_str().unwrap())
        .build()
        .unwrap();
    let sink = gst_app::AppSink::builder().sync(false).build();
    let pipeline = gst::Pipeline::new();
    pipeline
        .add_many([
            source.upcast_ref(),
            &detect,
            sink.upcast_ref::<gst::Element>(),
        ])
        .unwrap();
    gst::Element::link_many([source.upcast_ref(), &detect, sink.upcast_ref()]).unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();

    let frame = detection::FrameSize {
        width: SIZE.0,
        height: SIZE.1,
    };
    let mut truths = Vec::new();
    for _ in 0..PICTURES {
        let Some(sample) = sink.try_pull_sample(gst::ClockTime::from_seconds(60)) else {
            let bus = pipeline.bus().unwrap();
            panic!(
                "no frame: {:?}",
                bus.pop_filtered(&[gst::MessageType::Error])
            );
        };
        let buffer = sample.buffer().unwrap();
        scene.truth(Duration::from(buffer.pts().unwrap()), &mut truths);
        let found: Vec<(&str, f64, BBox)> = detection_meta::detections(buffer, frame)
            .filter(|detection| detection.confidence >= 0.5)
            .map(|detection| {
                (
                    detection.label,
                    detection.confidence,
                    in_pixels(detection.bbox),
                )
            })
            .collect();
        compare(&truths, &found, label, count);
    }
    pipeline.set_state(gst::State::Null).unwrap();
}

fn in_pixels(b: BBox) -> BBox {
    let (width, height) = (SIZE.0 as f32, SIZE.1 as f32);
    BBox::new(b.x1 * width, b.y1 * height, b.x2 * width, b.y2 * height)
}

fn compare(truths: &[Truth], found: &[(&str, f64, BBox)], label: &str, count: &mut Count) {
    for truth in truths
        .iter()
        .filter(|truth| truth.label == label && truth.visible >= 0.7)
    {
        let best = found
            .iter()
            .filter(|(label, _, bbox)| *label == truth.label && bbox.iou(&truth.bbox) >= 0.5)
            .map(|(_, score, _)| *score)
            .fold(0.0, f64::max);
        count.wanted += 1;
        count.found += usize::from(best > 0.0);
        count.sure += usize::from(best >= 0.7);
    }
    count.false_alarms += found
        .iter()
        .filter(|(_, _, bbox)| truths.iter().all(|truth| truth.bbox.iou(bbox) < 0.3))
        .count();
}

fn check(spec: &str, label: &str) {
    let mut count = Count::default();
    for seed in [2_000_001, 2_000_002] {
        look(&format!("{spec},seed={seed}"), label, &mut count);
    }
    println!("{spec}, {label}: {count:?}");
    assert!(count.wanted > 40, "{count:?}");
    assert!(count.found * 100 >= count.wanted * 82, "{spec}: {count:?}");
    assert!(count.sure * 100 >= count.wanted * 80, "{spec}: {count:?}");
    assert!(
        count.false_alarms * 100 <= count.wanted * 5,
        "{spec}: {count:?}"
    );
}

#[test]
fn demo_model_finds_the_people_of_walkers() {
    check("walkers", "person");
}

#[test]
fn demo_model_finds_the_cars_of_parking() {
    check("parking", "car");
}

#[test]
fn demo_model_finds_nobody_in_an_empty_street() {
    let mut count = Count::default();
    look("empty,seed=2000003", "person", &mut count);
    assert_eq!(count.false_alarms, 0, "{count:?}");
}

//! The element by itself: what it looks at, and what can be said to it while it runs.

mod support;

use std::path::PathBuf;

use detection::{BBox, FrameSize};
use detection_meta::{TrackHint, TracksEvent};
use gst::prelude::*;
use gst_check::Harness;
use support::onnx::{Dim, yolox};
use support::{init, run, stats};

const FRAME: FrameSize = FrameSize {
    width: 640,
    height: 360,
};

/// A harness around the element with a made-up model; the directory holds the model's file.
struct Bench {
    harness: Harness,
    frames: u64,
    _directory: tempfile::TempDir,
}

impl Bench {
    fn new(properties: &[(&str, &dyn ToValue)]) -> Self {
        init();
        let directory = tempfile::tempdir().unwrap();
        let model: PathBuf = yolox(Dim::Is(1)).write(directory.path(), "model.onnx");
        let element = gst::ElementFactory::make("regiondetect")
            .property("model", model.to_str().unwrap())
            .build()
            .unwrap();
        for (name, value) in properties {
            element.set_property_from_value(name, &value.to_value());
        }
        let mut harness = Harness::with_element(&element, Some("sink"), Some("src"));
        harness.set_src_caps_str("video/x-raw,format=I420,width=640,height=360,framerate=5/1");
        Self {
            harness,
            frames: 0,
            _directory: directory,
        }
    }

    fn element(&self) -> gst::Element {
        self.harness.element().unwrap()
    }

    /// Pushes a grey frame that has been through a motion detector, with these motion boxes; gives what came out.
    fn push(&mut self, motion: Option<&[BBox]>) -> gst::Buffer {
        let size = (FRAME.width * FRAME.height * 3 / 2) as usize;
        let mut buffer = gst::Buffer::from_mut_slice(vec![128_u8; size]);
        {
            let buffer = buffer.get_mut().unwrap();
            buffer.set_pts(gst::ClockTime::from_mseconds(200) * self.frames);
            self.frames += 1;
            if let Some(boxes) = motion {
                for bbox in boxes {
                    detection_meta::add_motion(buffer, FRAME, bbox);
                }
                let name = "watchpost-motion-state";
                let mut meta = gst::meta::CustomMeta::add(buffer, name).unwrap();
                meta.mut_structure().set("calibrating", false);
            }
        }
        self.harness.push_and_pull(buffer).unwrap()
    }

    /// Frames without motion until nothing is looked at any more: the start-up scan is over.
    fn settle(&mut self) {
        for _ in 0..200 {
            let out = self.push(Some(&[]));
            if regions(&out).is_empty() {
                return;
            }
        }
        panic!("the start-up scan does not end");
    }
}

fn regions(buffer: &gst::BufferRef) -> Vec<BBox> {
    detection_meta::looked_at(buffer).expect("every buffer says what was looked at")
}

fn shown(regions: &[BBox], bbox: &BBox) -> bool {
    regions.iter().any(|region| region.contains(bbox))
}

#[test]
fn where_nothing_moves_nothing_is_inferred() {
    // A model that finds nothing new: its one object scores below what is reported.
    let mut bench = Bench::new(&[("min-score", &0.9_f64)]);
    bench.settle();
    let before = bench.element().property::<gst::Structure>("stats");
    for _ in 0..20 {
        assert_eq!(regions(&bench.push(Some(&[]))), []);
    }
    let after = bench.element().property::<gst::Structure>("stats");
    assert_eq!(
        after.get::<u64>("inferences"),
        before.get::<u64>("inferences")
    );
}

#[test]
fn motion_is_looked_at() {
    let mut bench = Bench::new(&[("min-score", &0.9_f64)]);
    bench.settle();
    let moving = BBox::from_xywh(0.7, 0.6, 0.05, 0.2);
    let out = bench.push(Some(&[moving]));
    assert!(shown(&regions(&out), &moving), "{:?}", regions(&out));
}

#[test]
fn without_a_motion_detector_the_whole_frame_is_looked_at() {
    let mut bench = Bench::new(&[]);
    for _ in 0..5 {
        let out = bench.push(None);
        let regions = regions(&out);
        for x in 0..10 {
            for y in 0..10 {
                let point =
                    BBox::from_xywh(x as f32 / 10.0 + 0.05, y as f32 / 10.0 + 0.05, 0.001, 0.001);
                assert!(shown(&regions, &point), "{point:?} in {regions:?}");
            }
        }
    }
}

#[test]
fn tracks_announced_from_downstream_are_looked_at_and_resting_ones_in_their_turn() {
    let mut bench = Bench::new(&[("min-score", &0.9_f64)]);
    bench.settle();
    let walking = BBox::from_xywh(0.1, 0.3, 0.05, 0.2);
    let parked = BBox::from_xywh(0.7, 0.5, 0.1, 0.1);
    let event = TracksEvent {
        pts: None,
        tracks: [(1, walking, false), (2, parked, true)]
            .map(|(id, bbox, stationary)| TrackHint {
                id,
                label: "fox".into(),
                bbox,
                stationary,
            })
            .into(),
    };
    assert!(bench.harness.push_upstream_event(event.to_event()));
    let mut parked_looks = 0;
    // 60 s at 5 frames per second; the default interval is 10 s.
    for _ in 0..300 {
        let out = bench.push(Some(&[]));
        let regions = regions(&out);
        assert!(shown(&regions, &walking), "{regions:?}");
        parked_looks += usize::from(shown(&regions, &parked));
    }
    assert!(
        (6..=8).contains(&parked_looks),
        "{parked_looks} looks in 60 s"
    );
}

#[test]
fn a_budget_is_kept_and_what_waits_is_told() {
    let mut bench = Bench::new(&[("max-inferences", &2.0_f64), ("pack", &false)]);
    let boxes: Vec<BBox> = (0..6)
        .map(|i| BBox::from_xywh(0.16 * i as f32, 0.1 * i as f32, 0.04, 0.1))
        .collect();
    // 20 s at 5 frames per second.
    for _ in 0..100 {
        bench.push(Some(&boxes));
    }
    let stats = bench.element().property::<gst::Structure>("stats");
    let inferences = stats.get::<u64>("inferences").unwrap();
    assert!((20..=44).contains(&inferences), "{inferences} in 20 s");
    assert!(stats.get::<u64>("deferred").unwrap() > 0);
}

#[test]
fn the_grid_learns_freezes_travels_and_resets() {
    let mut bench = Bench::new(&[]);
    let element = bench.element();
    let changes = |element: &gst::Element| element.property::<u64>("region-grid-changes");
    assert_eq!(changes(&element), 0);
    bench.push(None);
    let learned = changes(&element);
    assert!(learned > 0, "an object of 0.81 teaches");

    element.set_property("freeze-grid", true);
    bench.push(None);
    assert_eq!(changes(&element), learned);

    let json = element.emit_by_name::<String>("export-region-grid", &[]);
    assert_eq!(element.property::<String>("region-grid"), json);
    element.emit_by_name::<()>("reset-region-grid", &[]);
    assert_ne!(element.property::<String>("region-grid"), json);
    assert!(element.emit_by_name::<bool>("import-region-grid", &[&json]));
    assert_eq!(element.property::<String>("region-grid"), json);

    for nonsense in ["", "{}", "[1,2]", "{\"version\":1,\"cells\":[]}"] {
        assert!(!element.emit_by_name::<bool>("import-region-grid", &[&nonsense]));
        element.set_property("region-grid", nonsense);
        assert_eq!(
            element.property::<String>("region-grid"),
            json,
            "{nonsense} changed nothing"
        );
    }
}

#[test]
fn every_number_may_be_at_the_ends_of_its_range() {
    init();
    fn ends<T: ToValue>(minimum: T, maximum: T) -> Vec<gst::glib::Value> {
        vec![minimum.to_value(), maximum.to_value()]
    }
    for name in ["motiondetect", "regiondetect"] {
        let element = gst::ElementFactory::make(name).build().unwrap();
        for spec in element.list_properties() {
            use gst::glib::{ParamSpecDouble, ParamSpecUInt, ParamSpecUInt64};
            let values = if let Some(spec) = spec.downcast_ref::<ParamSpecUInt64>() {
                ends(spec.minimum(), spec.maximum())
            } else if let Some(spec) = spec.downcast_ref::<ParamSpecUInt>() {
                ends(spec.minimum(), spec.maximum())
            } else if let Some(spec) = spec.downcast_ref::<ParamSpecDouble>() {
                ends(spec.minimum(), spec.maximum())
            } else {
                continue;
            };
            if !spec.flags().contains(gst::glib::ParamFlags::WRITABLE) {
                continue;
            }
            for value in values {
                element.set_property_from_value(spec.name(), &value);
                let text = |value: &gst::glib::Value| format!("{value:?}");
                let got = element.property_value(spec.name());
                assert_eq!(text(&got), text(&value), "{name} {}", spec.name());
            }
        }
    }
}

#[test]
fn the_grid_has_bounds_that_travel_with_it() {
    let bench = Bench::new(&[]);
    let element = bench.element();
    let bounds = || element.property::<String>("grid-bounds");
    let changes = element.property::<u64>("region-grid-changes");
    assert_eq!(bounds(), "");
    element.set_property("grid-bounds", "0.1, 0.6");
    assert_eq!(bounds(), "0.1,0.6");
    assert!(element.property::<u64>("region-grid-changes") > changes);
    let json = element.property::<String>("region-grid");
    for nonsense in ["0.6,0.1", "0.1", "a,b", "0,1", "0.1,NaN", "0.1,0.2,0.3"] {
        element.set_property("grid-bounds", nonsense);
        assert_eq!(bounds(), "0.1,0.6", "{nonsense} changed nothing");
    }
    element.emit_by_name::<()>("reset-region-grid", &[]);
    assert_eq!(bounds(), "0.1,0.6", "bounds stay");
    element.set_property("grid-bounds", "");
    assert_eq!(bounds(), "");
    assert!(element.emit_by_name::<bool>("import-region-grid", &[&json]));
    assert_eq!(bounds(), "0.1,0.6");
}

#[test]
fn another_library_than_the_loaded_one_is_a_warning_that_names_both() {
    let bench = Bench::new(&[]);
    let model = bench.element().property::<String>("model");
    let run = |library: &str| {
        let line = format!(
            "videotestsrc num-buffers=1 ! regiondetect model={model} onnxruntime={library} ! fakesink"
        );
        let pipeline = gst::parse::launch(&line).unwrap();
        let bus = pipeline.bus().unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let message = bus.timed_pop_filtered(
            gst::ClockTime::from_seconds(60),
            &[
                gst::MessageType::Warning,
                gst::MessageType::Error,
                gst::MessageType::Eos,
            ],
        );
        pipeline.set_state(gst::State::Null).unwrap();
        match message.unwrap().view() {
            gst::MessageView::Warning(warning) => Some(warning.error().message().to_owned()),
            gst::MessageView::Eos(_) => None,
            other => panic!("{other:?}"),
        }
    };
    let warning = run("/nowhere/libother.so").expect("a warning");
    assert!(warning.contains("/nowhere/libother.so"), "{warning}");
    let loaded = warning.split_once("has loaded ").unwrap().1;
    let loaded = loaded.split_once(" already").unwrap().0;
    assert!(std::path::Path::new(loaded).exists(), "{warning}");
    assert_eq!(run(loaded), None, "the same one is fine");
}

/// Whether upstream is told that it may send frames with strides of their own.
fn strides_are_taken(harness: &Harness) -> bool {
    let pad = harness.srcpad().unwrap();
    let mut query = gst::query::Allocation::new(pad.current_caps().as_ref(), false);
    let _ = pad.peer_query(&mut query);
    let meta = query.find_allocation_meta::<gst_video::VideoMeta>();
    meta.is_some()
}

#[test]
fn upstream_hears_what_downstream_takes() {
    let bench = Bench::new(&[]);
    let mut motion = Harness::new("motiondetect");
    motion.set_src_caps_str("video/x-raw,format=I420,width=640,height=360,framerate=5/1");
    for mut harness in [bench.harness, motion] {
        assert!(!strides_are_taken(&harness), "nobody does downstream");
        harness.add_propose_allocation_meta(gst_video::VideoMeta::meta_api(), None);
        assert!(strides_are_taken(&harness));
    }
}

#[test]
fn settings_can_be_changed_while_frames_flow() {
    let mut bench = Bench::new(&[]);
    let count = |buffer: &gst::BufferRef| detection_meta::detections(buffer, FRAME).count();
    assert!(count(&bench.push(None)) > 0);
    let element = bench.element();
    element.set_property("min-score", 0.95_f64);
    assert_eq!(count(&bench.push(None)), 0);
    element.set_property("min-score", 0.4_f64);
    assert!(count(&bench.push(None)) > 0);
    element.set_property("classes", "cat");
    assert_eq!(count(&bench.push(None)), 0);
    element.set_property("classes", "");
    element.set_property("enabled", false);
    let out = bench.push(None);
    assert_eq!((count(&out), regions(&out)), (0, vec![]));
    element.set_property("enabled", true);
    assert!(count(&bench.push(None)) > 0);
}

#[test]
fn every_format_of_the_template_goes_through() {
    let directory = tempfile::tempdir().unwrap();
    let model = yolox(Dim::Is(1)).write(directory.path(), "model.onnx");
    for format in [
        "I420", "NV12", "YV12", "NV21", "YUY2", "UYVY", "GRAY8", "RGB", "BGR", "RGBx", "BGRx",
        "RGBA", "BGRA",
    ] {
        let line = format!(
            "videotestsrc num-buffers=2 ! video/x-raw,format={format},width=319,height=201 \
             ! regiondetect name=detect model={} ! appsink name=sink",
            model.display()
        );
        let mut found = 0;
        let pipeline = run(&line, |_, seen| found += seen.detections.len());
        assert!(found >= 2, "{format}: {found}");
        assert_eq!(stats(&pipeline).get::<u64>("dropped-unreadable"), Ok(0));
        pipeline.set_state(gst::State::Null).unwrap();
    }
}

#[test]
fn frames_of_another_size_and_seeks_go_on() {
    let mut bench = Bench::new(&[]);
    bench.push(None);
    bench
        .harness
        .set_src_caps_str("video/x-raw,format=GRAY8,width=64,height=48,framerate=5/1");
    let mut buffer = gst::Buffer::from_mut_slice(vec![0_u8; 64 * 48]);
    buffer.get_mut().unwrap().set_pts(gst::ClockTime::ZERO);
    let out = bench.harness.push_and_pull(buffer).unwrap();
    assert!(!regions(&out).is_empty());
    // A buffer that is smaller than its caps say is let through, and counted.
    let mut buffer = gst::Buffer::from_mut_slice(vec![0_u8; 100]);
    buffer.get_mut().unwrap().set_pts(gst::ClockTime::ZERO);
    let out = bench.harness.push_and_pull(buffer).unwrap();
    assert_eq!(regions(&out), []);
    let stats = bench.element().property::<gst::Structure>("stats");
    assert_eq!(stats.get::<u64>("dropped-unreadable"), Ok(1));
}

//! The element in a pipeline of its own: metadata in, metadata, messages and events out.

use std::sync::Once;

use detection::{BBox, FrameSize, TrackChange};
use detection_meta::{DetectionRoi, TrackMessage, TracksEvent};
use gst::prelude::*;
use gst_video::VideoRegionOfInterestMeta;

const FRAME: FrameSize = FrameSize {
    width: 640,
    height: 360,
};

fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        gst::init().expect("GStreamer starts");
        gstobjecttrack::plugin_register_static().expect("the plugin registers");
    });
}

/// An element between two pads, with a bus.
struct Bench {
    harness: gst_check::Harness,
    bus: gst::Bus,
    frame: FrameSize,
}

impl Bench {
    fn new(settings: &[(&str, &str)]) -> Self {
        init();
        let element = gst::ElementFactory::make("objecttrack")
            .build()
            .expect("the element exists");
        for (name, value) in settings {
            element.set_property_from_str(name, value);
        }
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        let mut harness = gst_check::Harness::with_element(&element, Some("sink"), Some("src"));
        harness.play();
        let mut bench = Self {
            harness,
            bus,
            frame: FRAME,
        };
        bench.set_size(FRAME);
        bench
    }

    fn set_size(&mut self, frame: FrameSize) {
        self.frame = frame;
        self.harness.set_src_caps(
            gst::Caps::builder("video/x-raw")
                .field("format", "GRAY8")
                .field("width", frame.width as i32)
                .field("height", frame.height as i32)
                .field("framerate", gst::Fraction::new(5, 1))
                .build(),
        );
    }

    fn element(&self) -> gst::Element {
        self.harness
            .element()
            .expect("the harness holds the element")
    }

    fn buffer(&self, ms: u64, seen: &[(&str, f64, BBox)]) -> gst::Buffer {
        let mut buffer = gst::Buffer::with_size((self.frame.width * self.frame.height) as usize)
            .expect("memory");
        let b = buffer.get_mut().expect("a new buffer is writable");
        b.set_pts(gst::ClockTime::from_mseconds(ms));
        for (label, confidence, bbox) in seen {
            let roi = DetectionRoi {
                label,
                label_id: 3,
                confidence: *confidence,
                bbox: *bbox,
                object_id: None,
            };
            detection_meta::add_detection(b, self.frame, &roi);
        }
        buffer
    }

    fn push(&mut self, ms: u64, seen: &[(&str, f64, BBox)]) -> gst::Buffer {
        let buffer = self.buffer(ms, seen);
        self.harness
            .push_and_pull(buffer)
            .expect("a buffer comes out")
    }

    /// As `push`, and only `regions` were looked at.
    fn push_looked(
        &mut self,
        ms: u64,
        seen: &[(&str, f64, BBox)],
        regions: &[BBox],
    ) -> gst::Buffer {
        let mut buffer = self.buffer(ms, seen);
        detection_meta::set_looked_at(
            buffer.get_mut().expect("a new buffer is writable"),
            regions.iter().copied(),
        );
        self.harness
            .push_and_pull(buffer)
            .expect("a buffer comes out")
    }

    /// As `push`, with a picture: a pattern at the place of `CAR` that `kind` decides.
    fn push_picture(&mut self, ms: u64, seen: &[(&str, f64, BBox)], kind: u32) {
        let mut buffer = self.buffer(ms, seen);
        let (width, height) = (self.frame.width, self.frame.height);
        {
            let b = buffer.get_mut().expect("a new buffer is writable");
            let mut map = b.map_writable().expect("memory can be written");
            for (i, sample) in (0..width * height).zip(map.iter_mut()) {
                let (x, y) = (i % width / 12, i / width / 9);
                let v = x.wrapping_mul(2_654_435_761)
                    ^ y.wrapping_mul(40_503)
                    ^ kind.wrapping_mul(0x9E37_79B9);
                *sample = (v.wrapping_mul(2_246_822_519) >> 24) as u8;
            }
        }
        self.harness
            .push_and_pull(buffer)
            .expect("a buffer comes out");
    }

    fn messages(&self) -> Vec<TrackMessage> {
        let mut all = Vec::new();
        while let Some(m) = self.bus.pop_filtered(&[gst::MessageType::Element]) {
            all.extend(m.structure().and_then(TrackMessage::parse));
        }
        all
    }

    fn ids(&self, buffer: &gst::Buffer) -> Vec<Option<i32>> {
        detection_meta::detections(buffer, self.frame)
            .map(|d| d.object_id)
            .collect()
    }
}

fn walker(i: u64) -> BBox {
    BBox::from_xywh(0.1 + 0.02 * i as f32, 0.3, 0.06, 0.3)
}

const CAR: BBox = BBox::new(0.5, 0.5, 0.7, 0.65);

#[test]
fn a_walker_gets_one_id_on_every_buffer_once_believed() {
    let mut bench = Bench::new(&[]);
    let mut seen = Vec::new();
    for i in 0..20 {
        let out = bench.push(i * 200, &[("person", 0.9, walker(i))]);
        seen.push(bench.ids(&out)[0]);
    }
    assert_eq!(
        seen.iter().flatten().count(),
        18 + usize::from(seen[0].is_some()) + usize::from(seen[1].is_some())
    );
    assert!(seen.iter().flatten().all(|id| *id == 1), "{seen:?}");
    let messages = bench.messages();
    assert_eq!(messages[0].change, TrackChange::Started);
    assert_eq!((messages[0].id, messages[0].label.as_str()), (1, "person"));
    assert_eq!(messages[0].first_seen, Some(gst::ClockTime::ZERO));
    let updates = messages
        .iter()
        .filter(|m| m.change == TrackChange::Updated)
        .count();
    assert!((2..=4).contains(&updates), "{updates} updates in 4 s");
    let last = messages.last().expect("messages");
    assert!(last.path_length > 0.15 && last.bbox.x1 > 0.3, "{last:?}");
}

#[test]
fn ids_are_on_the_roi_and_say_why_the_object_is_there() {
    let mut bench = Bench::new(&[]);
    let mut out = bench.push(0, &[("person", 0.9, walker(0))]);
    for i in 1..5 {
        out = bench.push(i * 200, &[("person", 0.9, walker(i))]);
    }
    let roi = out
        .iter_meta::<VideoRegionOfInterestMeta>()
        .next()
        .expect("the detection is still there");
    #[cfg(not(feature = "v1_24"))]
    assert_eq!(roi.id(), 1);
    let track = roi.param("track").expect("the structure `track`");
    assert_eq!(
        (track.get::<&str>("state"), track.get::<&str>("evidence")),
        (Ok("active"), Ok("observed"))
    );
    assert_eq!(
        roi.param("detection").map(|d| d.get::<i32>("label_id")),
        Some(Ok(3))
    );
}

#[test]
fn a_parked_car_stays_on_buffers_that_were_not_looked_at() {
    let mut bench = Bench::new(&[]);
    for i in 0..60 {
        bench.push(i * 200, &[("car", 0.9, CAR)]);
    }
    let out = bench.push_looked(12_000, &[], &[]);
    let found: Vec<_> = detection_meta::detections(&out, FRAME).collect();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].label, found[0].object_id), ("car", Some(1)));
    assert!(found[0].bbox.iou(&CAR) > 0.9);
    let roi = out
        .iter_meta::<VideoRegionOfInterestMeta>()
        .next()
        .expect("a ROI");
    let track = roi.param("track").expect("the structure `track`");
    assert_eq!(
        (track.get::<&str>("state"), track.get::<&str>("evidence")),
        (Ok("stationary"), Ok("resting"))
    );
    let changes: Vec<_> = bench
        .messages()
        .iter()
        .map(|m| m.change)
        .filter(|c| *c != TrackChange::Updated)
        .collect();
    assert_eq!(changes, [TrackChange::Started, TrackChange::Stationary]);
}

#[test]
fn the_detector_upstream_hears_where_to_look() {
    let mut bench = Bench::new(&[]);
    for i in 0..5 {
        bench.push(i * 200, &[("person", 0.9, walker(i))]);
    }
    let mut events = Vec::new();
    while let Some(event) = bench.harness.try_pull_upstream_event() {
        events.extend(TracksEvent::parse(&event));
    }
    assert_eq!(events.len(), 5);
    let last = events.last().expect("events");
    assert_eq!(last.pts, Some(gst::ClockTime::from_mseconds(800)));
    assert_eq!(
        (
            last.tracks[0].id,
            last.tracks[0].label.as_str(),
            last.tracks[0].stationary
        ),
        (1, "person", false)
    );
    assert!(
        last.tracks[0].bbox.x1 > walker(4).x1 + 0.005,
        "not ahead of it: {:?}",
        last.tracks[0].bbox
    );
    assert_eq!(
        events[0].tracks.len(),
        1,
        "an object not confirmed yet must be looked at too"
    );
}

#[test]
fn filters_masks_and_classes_decide_what_is_tracked() {
    let filters = r#"{"person": {"min_area": 0.01, "threshold": 0.5}, "dog": {"min_score": 0.95}}"#;
    let mut bench = Bench::new(&[
        ("classes", "person,dog"),
        ("filters", filters),
        ("mask", "0.8,0,1,0,1,1,0.8,1"),
    ]);
    let small = BBox::from_xywh(0.5, 0.1, 0.02, 0.05);
    let masked = BBox::from_xywh(0.85, 0.4, 0.06, 0.3);
    let mut out = bench.push(0, &[]);
    for i in 0..10 {
        out = bench.push(
            200 + i * 200,
            &[
                ("person", 0.9, walker(i)),
                ("person", 0.9, small),
                ("person", 0.9, masked),
                ("cat", 0.9, CAR),
                ("dog", 0.9, CAR),
            ],
        );
    }
    assert_eq!(bench.ids(&out), [Some(1), None, None, None, None]);
    let stats = bench.element().property::<gst::Structure>("stats");
    assert_eq!(stats.get::<u64>("filtered"), Ok(30));
    assert_eq!(stats.get::<u64>("started"), Ok(1));
}

#[test]
fn an_object_below_the_threshold_is_never_told_of() {
    let mut bench = Bench::new(&[("filters", r#"{"*": {"min_score": 0.3, "threshold": 0.7}}"#)]);
    for i in 0..20 {
        let score = if i % 5 == 0 { 0.9 } else { 0.6 };
        let out = bench.push(i * 200, &[("person", score, walker(i))]);
        assert_eq!(bench.ids(&out), [None]);
    }
    assert!(bench.messages().is_empty());
}

#[test]
fn zones_follow_inertia_and_loitering_time_and_can_change_while_playing() {
    let zones = r#"{"right": {"coordinates": "320,0,640,0,640,360,320,360", "inertia": 2},
                    "slow": {"coordinates": "0.5,0,1,0,1,1,0.5,1", "loitering_time": 2, "objects": ["person"]},
                    "cars": {"coordinates": "0,0,1,0,1,1,0,1", "objects": "car"}}"#;
    let mut bench = Bench::new(&[("zones", zones)]);
    let mut entered = Vec::new();
    for i in 0..40 {
        let ms = i * 200;
        bench.push(ms, &[("person", 0.9, walker(i))]);
        for m in bench.messages() {
            entered.extend(m.entered.iter().map(|z| (z.clone(), ms)));
        }
    }
    // The middle of the box crosses 0.5 with frame 19 (3.8 s); told with the next update.
    let [(a, t1), (b, t2)] = &entered[..] else {
        panic!("{entered:?}")
    };
    assert_eq!((a.as_str(), b.as_str()), ("right", "slow"));
    assert!((3800..=5000).contains(t1), "{t1}");
    assert!((5800..=7400).contains(t2), "{t2}");
    bench.element().set_property("zones", "");
    for i in 40..42 {
        bench.push(i * 200, &[("person", 0.9, walker(i))]);
    }
    bench.harness.push_event(gst::event::Eos::new());
    assert!(bench.messages().last().expect("an end").zones.is_empty());
}

#[test]
fn a_bad_text_is_refused_with_a_warning_and_the_old_one_stays() {
    let bench = Bench::new(&[("zones", r#"{"a": {"coordinates": "0,0,1,0,1,1"}}"#)]);
    let before: String = bench.element().property("zones");
    bench
        .element()
        .set_property("zones", r#"{"a": {"coordinates": "0,0"}}"#);
    assert_eq!(bench.element().property::<String>("zones"), before);
    let warning = bench
        .bus
        .pop_filtered(&[gst::MessageType::Warning])
        .expect("a warning");
    let gst::MessageView::Warning(w) = warning.view() else {
        panic!()
    };
    assert!(w.error().message().contains("zone a: 1 corners"), "{w:?}");
}

#[test]
fn a_text_that_is_bad_from_the_start_is_told_of_when_the_element_starts() {
    init();
    let line = "videotestsrc num-buffers=1 ! objecttrack filters=nonsense ! fakesink";
    let pipeline = gst::parse::launch(line).expect("a launch line");
    let bus = pipeline.bus().expect("a bus");
    pipeline.set_state(gst::State::Playing).expect("it plays");
    let limit = gst::ClockTime::from_seconds(30);
    let types = [gst::MessageType::Warning, gst::MessageType::Eos];
    let message = bus.timed_pop_filtered(limit, &types).expect("a message");
    pipeline.set_state(gst::State::Null).expect("it stops");
    let gst::MessageView::Warning(w) = message.view() else {
        panic!("{message:?}")
    };
    assert!(w.error().message().contains("property filters"), "{w:?}");
}

#[test]
fn frames_with_strides_of_their_own_pass_where_downstream_takes_them() {
    init();
    let mut harness = gst_check::Harness::new("objecttrack");
    harness.set_src_caps_str("video/x-raw,format=I420,width=640,height=360,framerate=5/1");
    harness.add_propose_allocation_meta(gst_video::VideoMeta::meta_api(), None);
    let pad = harness.srcpad().expect("a pad");
    let mut query = gst::query::Allocation::new(pad.current_caps().as_ref(), false);
    assert!(pad.peer_query(&mut query));
    assert!(
        query
            .find_allocation_meta::<gst_video::VideoMeta>()
            .is_some()
    );
}

#[test]
fn eos_and_flush_end_every_object_and_ids_go_on() {
    let mut bench = Bench::new(&[("first-id", "1000")]);
    for i in 0..5 {
        bench.push(i * 200, &[("person", 0.9, walker(i)), ("car", 0.9, CAR)]);
    }
    bench.messages();
    bench.harness.push_event(gst::event::FlushStart::new());
    bench
        .harness
        .push_event(gst::event::FlushStop::builder(true).build());
    let ended: Vec<_> = bench.messages().iter().map(|m| (m.change, m.id)).collect();
    assert_eq!(
        ended,
        [(TrackChange::Ended, 1000), (TrackChange::Ended, 1001)]
    );
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    bench.harness.push_event(gst::event::Segment::new(&segment));
    for i in 0..5 {
        bench.push(i * 200, &[("car", 0.9, CAR)]);
    }
    assert_eq!(bench.messages()[0].id, 1002);
    bench.harness.push_event(gst::event::Eos::new());
    assert_eq!(
        bench
            .messages()
            .iter()
            .map(|m| (m.change, m.id))
            .collect::<Vec<_>>(),
        [(TrackChange::Ended, 1002)]
    );
    assert_eq!(bench.element().property::<u32>("next-id"), 1003);
}

#[test]
fn ids_are_unique_over_a_stop_and_a_start() {
    init();
    let element = gst::ElementFactory::make("objecttrack")
        .build()
        .expect("the element exists");
    for round in 0..2u32 {
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        let mut bench = {
            let mut harness = gst_check::Harness::with_element(&element, Some("sink"), Some("src"));
            harness.play();
            Bench {
                harness,
                bus,
                frame: FRAME,
            }
        };
        bench.set_size(FRAME);
        for i in 0..4 {
            bench.push(i * 200, &[("car", 0.9, CAR)]);
        }
        assert_eq!(bench.messages()[0].id, round as i32 + 1);
        drop(bench);
        element.set_state(gst::State::Null).expect("it stops");
    }
}

#[test]
fn objects_stay_themselves_when_the_stream_changes_size_or_time() {
    let mut bench = Bench::new(&[]);
    for i in 0..10 {
        bench.push(i * 200, &[("person", 0.9, walker(i)), ("car", 0.9, CAR)]);
    }
    bench.set_size(FrameSize {
        width: 320,
        height: 180,
    });
    for i in 10..20 {
        bench.push(i * 200, &[("person", 0.9, walker(i)), ("car", 0.9, CAR)]);
    }
    // The clock goes back by two seconds, and later a second of video is missing.
    let mut out = None;
    for i in 20..35 {
        let dropped = if i < 28 { 0 } else { 5 };
        let seen = [("person", 0.9, walker(i + dropped)), ("car", 0.9, CAR)];
        out = Some(bench.push((i + dropped) * 200 - 2000, &seen));
    }
    assert_eq!(bench.ids(&out.expect("a buffer")), [Some(1), Some(2)]);
    assert_eq!(bench.element().property::<u32>("next-id"), 3);
}

#[test]
fn a_shared_buffer_is_annotated_without_copying_its_memory() {
    let mut bench = Bench::new(&[]);
    for i in 0..4 {
        let buffer = bench.buffer(i * 200, &[("car", 0.9, CAR)]);
        let kept = buffer.clone();
        let out = bench
            .harness
            .push_and_pull(buffer)
            .expect("a buffer comes out");
        assert_eq!(kept.peek_memory(0).as_ptr(), out.peek_memory(0).as_ptr());
        assert_eq!(bench.ids(&kept), [None]);
    }
}

/// Parks a car for 15 s, then has it missed for more than two minutes while the picture is that of `later`; whether it ended.
fn car_ends(appearance: &str, later: u32) -> bool {
    let mut bench = Bench::new(&[("appearance", appearance)]);
    for i in 0..(75 + 5 * 140) {
        let parked = i < 75;
        let seen: &[_] = if parked { &[("car", 0.9, CAR)] } else { &[] };
        bench.push_picture(i * 200, seen, if parked { 1 } else { later });
    }
    bench
        .messages()
        .iter()
        .any(|m| m.change == TrackChange::Ended)
}

#[test]
fn a_missed_car_whose_picture_is_unchanged_is_kept_only_with_the_appearance_check() {
    assert!(!car_ends("true", 1), "the same picture, and it ended");
    assert!(car_ends("true", 7), "another picture kept it");
    assert!(car_ends("false", 1), "looked at although the check is off");
}

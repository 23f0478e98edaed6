//! Elements of GStreamer between detector, tracker and reader: detections survive them, or their loss is reported.

use detection::{BBox, FrameSize};
use detection_meta::DetectionRoi;
use gst::prelude::*;

const FRAME: FrameSize = FrameSize::new(640, 360);
const FRAMES: u64 = 8;

fn walker(i: u64) -> BBox {
    BBox::from_xywh(0.1 + 0.02 * i as f32, 0.25, 0.0625, 0.25)
}

/// Pushes a walker through `line`, as a detector would write it, and gives the last buffer with its frame's size.
fn last_of(line: &str) -> (gst::Buffer, FrameSize, gst_check::Harness) {
    gst::init().expect("GStreamer starts");
    gstobjecttrack::plugin_register_static().expect("the plugin registers");
    let mut harness = gst_check::Harness::new_parse(line);
    let caps =
        gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, FRAME.width, FRAME.height)
            .fps(gst::Fraction::new(5, 1))
            .build()
            .expect("usual caps");
    harness.set_src_caps(caps.to_caps().expect("usual caps"));
    let mut last = None;
    for i in 0..FRAMES {
        let mut buffer = gst::Buffer::with_size(caps.size()).expect("memory");
        let b = buffer.get_mut().expect("a new buffer is writable");
        b.set_pts(gst::ClockTime::from_mseconds(200 * i));
        b.set_duration(gst::ClockTime::from_mseconds(200));
        let person = DetectionRoi {
            label: "person",
            label_id: 0,
            confidence: 0.9,
            bbox: walker(i),
            object_id: None,
        };
        detection_meta::add_motion(b, FRAME, &walker(i));
        detection_meta::add_detection(b, FRAME, &person);
        detection_meta::keep_detections(b, FRAME);
        last = Some(harness.push_and_pull(buffer).expect("a buffer comes out"));
    }
    let caps = harness
        .sinkpad()
        .expect("a pad")
        .current_caps()
        .expect("caps");
    let info = gst_video::VideoInfo::from_caps(&caps).expect("video");
    (
        last.expect("a buffer"),
        detection_meta::frame_size(&info),
        harness,
    )
}

fn stat(harness: &gst_check::Harness, name: &str) -> u64 {
    let bin = harness.element().expect("an element");
    let track = match bin.downcast_ref::<gst::Bin>() {
        Some(bin) => bin.by_name("track").expect("the tracker"),
        None => bin,
    };
    let stats = track.property::<gst::Structure>("stats");
    stats.get(name).expect("a counter")
}

#[test]
fn conversion_and_scaling_before_the_tracker_keep_ids_and_boxes() {
    for line in [
        "queue ! objecttrack name=track",
        "videoconvert ! video/x-raw,format=RGB ! objecttrack name=track",
        "videoscale ! video/x-raw,width=320,height=180 ! objecttrack name=track",
        "videoscale ! video/x-raw,width=320,height=320 ! objecttrack name=track",
        "videoconvert ! videoscale ! video/x-raw,format=NV12,width=1280,height=720 ! objecttrack name=track",
    ] {
        let (buffer, frame, harness) = last_of(line);
        let found: Vec<_> = detection_meta::detections(&buffer, frame).collect();
        assert_eq!(found.len(), 1, "{line}: {found:?}");
        let person = &found[0];
        assert_eq!(
            (person.label, person.object_id),
            ("person", Some(1)),
            "{line}"
        );
        let expected = walker(FRAMES - 1);
        assert!(
            person.bbox.iou(&expected) > 0.9,
            "{line}: {person:?}, expected {expected:?}"
        );
        assert_eq!(stat(&harness, "detections"), FRAMES, "{line}");
        assert_eq!(stat(&harness, "lost"), 0, "{line}");
    }
}

#[test]
fn a_reader_behind_a_conversion_restores_ids() {
    for line in [
        "objecttrack name=track ! videoconvert ! video/x-raw,format=RGB ! identity",
        "objecttrack name=track ! videoscale ! video/x-raw,width=320,height=180 ! identity",
    ] {
        let (mut buffer, frame, _harness) = last_of(line);
        detection_meta::restore_detections(buffer.make_mut(), frame);
        let found: Vec<_> = detection_meta::detections(&buffer, frame).collect();
        assert_eq!(found.len(), 1, "{line}: {found:?}");
        assert_eq!(found[0].object_id, Some(1), "{line}");
        assert!(
            found[0].bbox.iou(&walker(FRAMES - 1)) > 0.9,
            "{line}: {found:?}"
        );
    }
}

#[test]
fn boxes_of_a_cropped_picture_are_not_taken_from_the_whole_one() {
    let (buffer, frame, harness) = last_of("videocrop left=320 ! objecttrack name=track");
    assert_eq!(detection_meta::detections(&buffer, frame).count(), 0);
    assert_eq!(stat(&harness, "started"), 0);
    assert_eq!(stat(&harness, "restored"), 0);
}

#[test]
fn lost_detections_are_counted_and_reported_once() {
    gst::init().expect("GStreamer starts");
    gstobjecttrack::plugin_register_static().expect("the plugin registers");
    let element = gst::ElementFactory::make("objecttrack")
        .build()
        .expect("the element");
    let bus = gst::Bus::new();
    element.set_bus(Some(&bus));
    let mut harness = gst_check::Harness::with_element(&element, Some("sink"), Some("src"));
    harness.play();
    harness.set_src_caps_str("video/x-raw,format=GRAY8,width=64,height=36,framerate=5/1");
    for i in 0..3u64 {
        let mut buffer = gst::Buffer::with_size(64 * 36).expect("memory");
        let b = buffer.get_mut().expect("a new buffer is writable");
        b.set_pts(gst::ClockTime::from_mseconds(200 * i));
        // What videoconvert leaves of a detection of which no copy was kept.
        gst_video::VideoRegionOfInterestMeta::add(b, "person", (8, 8, 16, 16));
        detection_meta::add_motion(b, FrameSize::new(64, 36), &walker(i));
        harness.push_and_pull(buffer).expect("a buffer comes out");
    }
    let warnings: Vec<String> =
        std::iter::from_fn(|| bus.pop_filtered(&[gst::MessageType::Warning]))
            .map(|message| match message.view() {
                gst::MessageView::Warning(warning) => warning.error().message().to_owned(),
                _ => String::new(),
            })
            .collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("before the detector"), "{warnings:?}");
    assert_eq!(stat(&harness, "lost"), 3);
}

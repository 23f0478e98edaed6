//! `motiondetect` in real pipelines: what it finds, what it leaves on buffers, what it posts, what can be changed live.

mod support;

use gst::prelude::*;

use support::{init, shared, warnings_of};

/// A ball that moves through the picture.
const BALL: &str =
    "videotestsrc pattern=ball num-buffers=60 ! video/x-raw,framerate=10/1,width=640,height=360";

struct Run {
    /// Motion boxes per frame, and whether it was calibrating; `None` without the state meta.
    frames: Vec<(Vec<detection::BBox>, Option<bool>)>,
    messages: Vec<detection_meta::MotionMessage>,
    stats: gst::Structure,
}

/// Runs `SOURCE ! motiondetect PROPERTIES` to its end; `each` may change the element at every frame.
fn run_with(source: &str, properties: &str, mut each: impl FnMut(usize, &gst::Element)) -> Run {
    init();
    let line = format!(
        "{source} ! motiondetect name=motion {properties} ! appsink name=sink sync=false max-buffers=1"
    );
    let pipeline = gst::parse::launch(&line)
        .unwrap_or_else(|error| panic!("{line}: {error}"))
        .downcast::<gst::Pipeline>()
        .unwrap();
    let motion = pipeline.by_name("motion").unwrap();
    let sink = pipeline
        .by_name("sink")
        .and_downcast::<gst_app::AppSink>()
        .unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let mut frames = Vec::new();
    while let Some(sample) = sink.try_pull_sample(gst::ClockTime::from_seconds(30)) {
        let buffer = sample.buffer().unwrap();
        let info = gst_video::VideoInfo::from_caps(sample.caps().unwrap()).unwrap();
        let size = detection::FrameSize {
            width: info.width(),
            height: info.height(),
        };
        let state = gst::meta::CustomMeta::from_buffer(buffer, "watchpost-motion-state")
            .ok()
            .map(|meta| meta.structure().get::<bool>("calibrating").unwrap());
        frames.push((detection_meta::motion_boxes(buffer, size).collect(), state));
        each(frames.len(), &motion);
    }
    let stats = motion.property::<gst::Structure>("stats");
    let bus = pipeline.bus().unwrap();
    let mut messages = Vec::new();
    while let Some(message) = bus.pop() {
        if let gst::MessageView::Error(error) = message.view() {
            panic!("{line}: {} {:?}", error.error(), error.debug());
        }
        messages.extend(
            message
                .structure()
                .and_then(detection_meta::MotionMessage::parse),
        );
    }
    pipeline.set_state(gst::State::Null).unwrap();
    Run {
        frames,
        messages,
        stats,
    }
}

fn run(source: &str, properties: &str) -> Run {
    run_with(source, properties, |_, _| {})
}

fn with_motion(run: &Run) -> usize {
    run.frames
        .iter()
        .filter(|(boxes, _)| !boxes.is_empty())
        .count()
}

#[test]
fn half_a_frame_is_passed_over_and_the_stream_goes_on() {
    let run = run_with(BALL, "", |frames, motion| {
        if frames == 1 {
            let pad = motion.static_pad("sink").unwrap();
            let passed = std::sync::atomic::AtomicU32::new(0);
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
                let number = passed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if number == 5
                    && let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data
                {
                    let half = buffer.size() / 2;
                    buffer.make_mut().set_size(half);
                }
                gst::PadProbeReturn::Ok
            });
        }
    });
    assert_eq!(run.frames.len(), 60);
    let without = run.frames.iter().filter(|(_, state)| state.is_none());
    assert_eq!(without.count(), 1, "only the broken one says nothing");
}

#[test]
fn a_moving_ball_is_found_in_every_format_and_stands_still_for_none() {
    for format in [
        "I420", "NV12", "YV12", "NV21", "YUY2", "UYVY", "GRAY8", "RGB", "BGR", "RGBx", "BGRA",
    ] {
        let run = run(&format!("{BALL},format={format}"), "");
        assert_eq!(run.frames.len(), 60);
        assert!(run.frames.iter().all(|(_, state)| state.is_some()));
        assert!(with_motion(&run) > 50, "{format}: {}", with_motion(&run));
        for b in run.frames.iter().flat_map(|(boxes, _)| boxes) {
            assert!(b.x1 >= 0.0 && b.y1 >= 0.0 && b.x2 <= 1.0 && b.y2 <= 1.0);
        }
    }
    let still = run(
        "videotestsrc pattern=smpte100 num-buffers=30 ! video/x-raw,width=640,height=360",
        "",
    );
    assert_eq!(with_motion(&still), 0);
    assert!(still.messages.is_empty());
}

#[test]
fn odd_sizes_and_strides_are_read_row_by_row() {
    for size in [
        "width=321,height=181",
        "width=2,height=2",
        "width=1366,height=766",
        "width=90,height=160",
    ] {
        for format in ["I420", "NV12", "YUY2", "GRAY8", "RGB"] {
            let run = run(
                &format!(
                    "videotestsrc pattern=ball num-buffers=5 ! video/x-raw,{size},format={format}"
                ),
                "",
            );
            assert_eq!(run.frames.len(), 5, "{size} {format}");
        }
    }
}

#[test]
fn motion_is_announced_once_and_its_end_too() {
    let run = run(BALL, "");
    let active: Vec<bool> = run.messages.iter().map(|m| m.active).collect();
    assert_eq!(active, [true, false], "begins, and ends with the stream");
    let began = run.messages[0].pts.unwrap();
    assert!(began > gst::ClockTime::ZERO && began < gst::ClockTime::from_mseconds(500));
    let frames = run.stats.get::<u64>("frames").unwrap();
    let moving = run.stats.get::<u64>("frames-with-motion").unwrap();
    assert_eq!((frames, moving), (60, with_motion(&run) as u64));
    assert!(run.stats.get::<u64>("processing-time").unwrap() > 0);
}

#[test]
fn masks_hide_motion_in_fractions_and_in_pixels() {
    for mask in [
        "0,0,1,0,1,1,0,1",
        "0,0,640,0,640,360,0,360",
        "0,0,1,0,1,.5,0,.5;0,180,640,180,640,360,0,360",
        r#"{\"all\": {\"coordinates\": \"0,0,1,0,1,1,0,1\"}}"#,
    ] {
        assert_eq!(
            with_motion(&run(BALL, &format!("mask=\"{mask}\""))),
            0,
            "{mask}"
        );
    }
    let half = run(BALL, "mask=0,0,0.5,0,0.5,1,0,1");
    assert!((1..60).contains(&with_motion(&half)));
    for b in half.frames.iter().flat_map(|(boxes, _)| boxes) {
        // The box is widened by the blur and by one shrunk pixel.
        assert!(b.x1 > 0.48, "{b:?}");
    }
}

#[test]
fn a_mask_that_cannot_be_read_is_refused_with_a_warning_and_the_old_one_stays() {
    init();
    let element = gst::ElementFactory::make("motiondetect").build().unwrap();
    let bus = gst::Bus::new();
    element.set_bus(Some(&bus));
    element.set_property("mask", "0,0,1,0,1,1");
    element.set_property("mask", "0,0,1,zero");
    let warning = bus.pop_filtered(&[gst::MessageType::Warning]).unwrap();
    let gst::MessageView::Warning(warning) = warning.view() else {
        panic!("{warning:?}");
    };
    assert!(
        warning
            .error()
            .message()
            .contains("`zero` is not a number (coordinate 4)"),
        "{}",
        warning.error()
    );
    assert_eq!(element.property::<String>("mask"), "0,0,1,0,1,1");
}

#[test]
fn a_mask_that_is_wrong_from_the_start_is_told_of_when_the_element_starts() {
    let warnings =
        warnings_of("videotestsrc num-buffers=1 ! motiondetect mask=0,0,1,zero ! fakesink");
    assert!(
        matches!(&warnings[..], [text] if text.contains("`zero` is not a number (coordinate 4)")),
        "{warnings:?}"
    );
}

#[test]
fn everything_can_be_changed_while_playing() {
    let run = run_with(BALL, "", |n, motion| match n {
        10 => motion.set_property("mask", "0,0,1,0,1,1,0,1"),
        20 => motion.set_property("mask", ""),
        30 => motion.set_property("enabled", false),
        40 => {
            motion.set_property("enabled", true);
            motion.set_property("frame-height", 50u32);
        }
        50 => motion.set_property("motion-metas", false),
        _ => {}
    });
    // A few frames are under way when a property is set.
    let moving = |range: std::ops::Range<usize>| {
        run.frames[range]
            .iter()
            .filter(|(boxes, _)| !boxes.is_empty())
            .count()
    };
    assert!(moving(2..10) >= 6);
    assert_eq!(moving(14..20), 0, "masked");
    assert!(moving(24..30) >= 4);
    assert!(
        run.frames[34..40]
            .iter()
            .all(|(boxes, state)| boxes.is_empty() && state.is_none())
    );
    assert!(moving(45..50) >= 3, "enabled again, with another height");
    assert!(
        run.frames[54..]
            .iter()
            .all(|(boxes, state)| boxes.is_empty() && state.is_none())
    );
}

#[test]
fn a_moving_ptz_camera_is_one_box_and_its_rest_none() {
    let run = run_with(BALL, "ptz-moving=true", |n, motion| {
        if n == 30 {
            motion.set_property("ptz-moving", false);
        }
    });
    for (boxes, state) in &run.frames[..30] {
        assert_eq!(boxes.len(), 1);
        assert!((boxes[0].x1 - 0.1).abs() < 0.01 && (boxes[0].y2 - 0.9).abs() < 0.01);
        assert_eq!(*state, Some(true));
    }
    assert!(
        run.frames
            .iter()
            .any(|(boxes, state)| boxes.is_empty() && *state == Some(false))
    );
}

#[test]
fn a_changed_scene_is_over_soon_whether_skipped_or_not() {
    for skip in [-1.0, 0.3] {
        // From one picture to another after 3 s.
        let run = run(
            "videotestsrc pattern=black num-buffers=30 ! video/x-raw,framerate=10/1,width=640,height=360 ! c. \
             videotestsrc pattern=snow num-buffers=1 ! video/x-raw,framerate=10/1,width=640,height=360 ! imagefreeze num-buffers=100 ! c. \
             concat name=c",
            &format!("skip-motion-threshold={skip}"),
        );
        assert_eq!(run.frames.len(), 130);
        assert_eq!(run.frames[30].1, Some(true), "the change is noticed");
        let last = run
            .frames
            .iter()
            .rposition(|(boxes, state)| !boxes.is_empty() || *state == Some(true));
        assert!(last.unwrap() < 100, "skip={skip}: until {last:?}");
        if skip > 0.0 {
            assert!(run.stats.get::<u64>("frames-skipped").unwrap() > 0);
            assert!(run.frames[30].0.is_empty(), "skipped frames have no motion");
        }
    }
}

#[test]
fn snow_does_not_calibrate_for_ever() {
    let run = run(
        "videotestsrc pattern=snow num-buffers=150 ! video/x-raw,width=320,height=180",
        "contour-area=1 threshold=5",
    );
    assert!(with_motion(&run) > 100);
    let calibrating = run.frames[100..]
        .iter()
        .filter(|(_, state)| *state == Some(true))
        .count();
    assert_eq!(calibrating, 0);
}

#[test]
fn people_and_cars_move() {
    for (clip, least) in [
        ("media/one-by-one-person-detection.mp4", 500),
        ("media/car-detection.mp4", 250),
    ] {
        let Some(clip) = shared(clip) else { return };
        let source = format!(
            "filesrc location={} ! decodebin ! videoconvert",
            clip.display()
        );
        let run = run(&source, "");
        let moving = with_motion(&run);
        println!(
            "{}: motion in {moving} of {} frames",
            clip.display(),
            run.frames.len()
        );
        assert!(moving >= least && moving < run.frames.len());
        // Headlights and shadows change the whole road more than once, but each time only for a while.
        let longest = run
            .frames
            .split(|(_, state)| *state != Some(true))
            .map(<[_]>::len)
            .max();
        assert!(longest <= Some(50), "{longest:?}");
    }
}

#[test]
fn caps_may_change_while_playing() {
    init();
    let mut harness = gst_check::Harness::new("motiondetect");
    for (format, width, height) in [
        ("I420", 640, 360),
        ("NV12", 640, 360),
        ("RGB", 320, 240),
        ("YUY2", 1280, 720),
    ] {
        let info = gst_video::VideoInfo::builder(format.parse().unwrap(), width, height)
            .build()
            .unwrap();
        harness.set_src_caps(info.to_caps().unwrap());
        for n in 0..3u8 {
            let mut buffer = gst::Buffer::with_size(info.size()).unwrap();
            {
                let buffer = buffer.get_mut().unwrap();
                buffer.map_writable().unwrap().fill(40 * n);
                buffer.set_pts(gst::ClockTime::from_mseconds(u64::from(n) * 100));
            }
            let out = harness.push_and_pull(buffer).unwrap();
            assert!(gst::meta::CustomMeta::from_buffer(&out, "watchpost-motion-state").is_ok());
            assert_eq!(
                out.map_readable().unwrap()[0],
                40 * n,
                "pixels are only read"
            );
        }
    }
}

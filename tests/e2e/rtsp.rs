//! The main job on real input: an RTSP camera, a real model, tracked people.

use crate::support::{Watchpost, onnxruntime, shared};
use detection::FrameSize;
use detection_meta::detections;
use gst::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};
use testkit::rtsp::Camera;

const USER: &str = "viewer";
const PASSWORD: &str = "s3cret-pass";

/// A frame as it lay in the ring.
struct Frame {
    captured: f64,
    buffer: gst::Buffer,
    caps: gst::Caps,
}

fn wall() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap().as_secs_f64()
}

/// Keeps copies of all frames of a ring, as any other program could.
fn keep_frames(socket: &Path) -> (gst::Pipeline, Arc<Mutex<Vec<Frame>>>) {
    gstshmring::plugin_register_static().unwrap();
    let pipeline = gst::parse::launch(&format!(
        "shmringsrc socket-path={} ! appsink name=sink sync=false",
        socket.display()
    ))
    .unwrap()
    .downcast::<gst::Pipeline>()
    .unwrap();
    let sink = pipeline.by_name("sink").unwrap();
    let sink = sink.downcast::<gst_app::AppSink>().unwrap();
    let frames = Arc::new(Mutex::new(Vec::new()));
    let (kept, weak) = (frames.clone(), pipeline.downgrade());
    let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        let buffer = sample.buffer().expect("a sample has a buffer");
        let segment = sample.segment().unwrap();
        let segment = segment.downcast_ref::<gst::ClockTime>().unwrap();
        let running = segment.to_running_time(buffer.pts()).unwrap();
        let now = weak.upgrade().unwrap().current_running_time().unwrap();
        kept.lock().unwrap().push(Frame {
            captured: wall() - now.seconds_f64() + running.seconds_f64(),
            buffer: buffer.copy_deep().unwrap(),
            caps: sample.caps_owned().unwrap(),
        });
        Ok(gst::FlowSuccess::Ok)
    });
    sink.set_callbacks(callbacks.build());
    pipeline.set_state(gst::State::Playing).unwrap();
    (pipeline, frames)
}

/// People that ONNX Runtime finds with 0.5 or more in each whole frame, as fractions of it.
fn people(model: &Path, library: &Path, frames: &[Frame]) -> Vec<Vec<detection::BBox>> {
    gstregiondetect::plugin_register_static().unwrap();
    let pipeline = gst::parse::launch(&format!(
        "appsrc name=src format=time ! regiondetect model={} onnxruntime={} min-score=0.5 pack=false ! appsink name=sink sync=false",
        model.display(),
        library.display()
    ))
    .unwrap()
    .downcast::<gst::Pipeline>()
    .unwrap();
    let src = pipeline
        .by_name("src")
        .unwrap()
        .downcast::<gst_app::AppSrc>()
        .unwrap();
    let sink = pipeline
        .by_name("sink")
        .unwrap()
        .downcast::<gst_app::AppSink>()
        .unwrap();
    src.set_caps(Some(&frames[0].caps));
    pipeline.set_state(gst::State::Playing).unwrap();
    let mut found = Vec::new();
    for (number, frame) in frames.iter().enumerate() {
        // Nothing but pixels and a timestamp: what came with the frame is not to help.
        let mut buffer = frame
            .buffer
            .copy_region(gst::BufferCopyFlags::MEMORY, ..)
            .unwrap();
        let pts = gst::ClockTime::from_mseconds(200 * number as u64);
        buffer.get_mut().unwrap().set_pts(pts);
        src.push_buffer(buffer).unwrap();
        let sample = sink.pull_sample().unwrap_or_else(|_| {
            panic!(
                "no frame: {:?}",
                pipeline
                    .bus()
                    .unwrap()
                    .pop_filtered(&[gst::MessageType::Error])
            )
        });
        let structure = sample.caps().unwrap().structure(0).unwrap().to_owned();
        let side = |name| structure.get::<i32>(name).unwrap() as u32;
        let size = FrameSize {
            width: side("width"),
            height: side("height"),
        };
        found.push(
            detections(sample.buffer().unwrap(), size)
                .filter(|d| d.label == "person" && d.confidence >= 0.5)
                .map(|d| d.bbox)
                .collect(),
        );
    }
    pipeline.set_state(gst::State::Null).unwrap();
    found
}

#[test]
fn people_before_an_rtsp_camera_are_tracked() {
    let (Some(clip), Some(model), Some(library)) = (
        shared("media/one-by-one-person-detection.mp4"),
        shared("models/yolox_nano.onnx"),
        onnxruntime(),
    ) else {
        return;
    };
    let camera = Camera::builder().file("/main", &clip).start();
    let watchpost = Watchpost::start(&format!(
        "model: {{path: {}, type: yolox}}\ncameras:\n  front:\n    source: {{rtsp: \"{}\"}}\n    detect: {{width: 640, height: 360, fps: 5}}\n",
        model.display(),
        camera.url("/main")
    ));
    watchpost.wait_streaming("front");
    let (reader, frames) = keep_frames(&watchpost.socket("front"));

    // What the API says after each analysed frame. Boxes are in pixels of the detect stream.
    let mut told: Vec<(f64, Vec<detection::BBox>)> = Vec::new();
    let mut ids = std::collections::BTreeSet::new();
    let until = Instant::now() + Duration::from_secs(25);
    while Instant::now() < until {
        let now = watchpost.camera("front");
        if let Some(at) = now["detection_frame"].as_f64()
            && told.last().is_none_or(|(last, _)| at > *last)
        {
            let objects = now["objects"].as_array().unwrap();
            let people = objects.iter().filter(|o| o["label"] == "person");
            let boxes = people.map(|o| {
                ids.insert(o["id"].as_i64().unwrap());
                let side = |i: usize, by: f64| (o["box"][i].as_f64().unwrap() / by) as f32;
                detection::BBox::new(
                    side(0, 640.0),
                    side(1, 360.0),
                    side(2, 640.0),
                    side(3, 360.0),
                )
            });
            told.push((at, boxes.collect()));
        }
        std::thread::sleep(Duration::from_millis(25));
    }
    reader.set_state(gst::State::Null).unwrap();
    let frames = std::mem::take(&mut *frames.lock().unwrap());
    let model_people = people(&model, &library, &frames);

    let (mut with_person, mut tracked) = (0, 0);
    // People count from their third frame in a row on: an object is confirmed by its second detection.
    let mut before: [&[detection::BBox]; 2] = [&[], &[]];
    for (frame, people) in frames.iter().zip(&model_people) {
        // The frame as the analysis saw it; frames are 200 ms apart.
        let Some((_, tracks)) = told
            .iter()
            .find(|(at, _)| (at - frame.captured).abs() < 0.05)
        else {
            continue;
        };
        let there = |p: &&detection::BBox| {
            let was_there = |people: &[detection::BBox]| people.iter().any(|q| q.iou(p) >= 0.2);
            before.iter().all(|people| was_there(people))
        };
        let known: Vec<_> = people.iter().filter(there).collect();
        before = [before[1], people];
        if known.is_empty() {
            continue;
        }
        with_person += 1;
        let untracked = |p: &&&detection::BBox| !tracks.iter().any(|t| t.iou(p) >= 0.5);
        match known.iter().find(untracked) {
            None => tracked += 1,
            Some(person) => println!("{:.1}: {person:?} is none of {tracks:?}", frame.captured),
        }
    }
    let figures = format!(
        "{tracked} of {with_person} frames with people are tracked; {} frames in the ring, {} analysed, ids {ids:?}",
        frames.len(),
        told.len()
    );
    println!("{figures}");
    assert!(
        with_person >= 40,
        "too few frames to judge: {figures}\n{}",
        watchpost.log()
    );
    assert!(
        tracked * 10 >= with_person * 9,
        "{figures}\n{}",
        watchpost.log()
    );
    assert!(ids.len() <= 12, "identities do not last: {figures}");
}

#[test]
fn refused_credentials_are_not_tried_again_for_minutes() {
    let Some(clip) = shared("media/one-by-one-person-detection.mp4") else {
        return;
    };
    let camera = Camera::builder()
        .file("/main", &clip)
        .credentials(USER, PASSWORD)
        .start();
    let source = |password: &str| camera.url_with(USER, password, "/main");
    let watchpost = Watchpost::start(&format!(
        "cameras:\n  right:\n    source: {{rtsp: \"{}\"}}\n  wrong:\n    source: {{rtsp: \"{}\"}}\n",
        source(PASSWORD),
        source("wr0ng-pass")
    ));
    let wrong = watchpost.wait_for("wrong", "is refused", |c| c["state"] == "auth-failed");
    assert!(
        wrong["reason"].as_str().unwrap().contains("127.0.0.1"),
        "{wrong}"
    );
    let right = watchpost.wait_streaming("right");
    assert_eq!(right["decoder"], "avdec_h264");
    let wrong = watchpost.camera("wrong");
    assert_eq!(wrong["state"], "auth-failed", "still waiting: {wrong}");
    assert_eq!(wrong["reconnects_last_hour"], 0);

    // Neither password is anywhere to be seen.
    let mut seen = watchpost.get("/api/status").to_string() + &watchpost.log();
    for pid in crate::support::children(watchpost.pid()) {
        seen += &std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        seen += &std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap_or_default();
    }
    assert!(
        !seen.contains(PASSWORD) && !seen.contains("wr0ng-pass"),
        "{seen}"
    );
}

#[test]
fn a_camera_that_ends_its_stream_is_connected_again() {
    let ends = "( videotestsrc is-live=true num-buffers=20 ! video/x-raw,width=160,height=120,framerate=10/1 ! \
                x264enc tune=zerolatency ! rtph264pay name=pay0 pt=96 )";
    let camera = Camera::builder().stream("/main", ends).start();
    let watchpost = Watchpost::start(&format!(
        "cameras:\n  rtsp:\n    source: {{rtsp: \"{}\"}}\n  line:\n    source: {{launch: \"videotestsrc num-buffers=10 ! \
         video/x-raw,width=160,height=120,framerate=10/1\"}}\n",
        camera.url("/main")
    ));
    for name in ["rtsp", "line"] {
        let again = watchpost.wait_for(name, "ends and is connected again", |c| {
            assert_ne!(c["state"], "disabled", "{c}");
            c["reconnects_last_hour"].as_u64() > Some(0) && c["state"] == "streaming"
        });
        assert_eq!(again["enabled"], true);
    }
    assert!(
        watchpost.log().contains("the stream has ended"),
        "{}",
        watchpost.log()
    );
}

/// Ten seconds of MPEG-4 part 2, as old cameras send it.
fn mpeg4(folder: &Path) -> PathBuf {
    let path = folder.join("film.avi");
    let line = format!(
        "videotestsrc num-buffers=100 ! video/x-raw,format=I420,width=160,height=120,framerate=10/1 ! avenc_mpeg4 ! avimux ! \
         filesink location={}",
        path.display()
    );
    let pipeline = gst::parse::launch(&line).unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let bus = pipeline.bus().unwrap();
    let ends = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = bus.timed_pop_filtered(gst::ClockTime::from_seconds(30), &ends);
    assert_eq!(end.unwrap().type_(), gst::MessageType::Eos);
    pipeline.set_state(gst::State::Null).unwrap();
    path
}

#[test]
fn other_codecs_than_h264_are_decoded() {
    gst::init().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let raw =
        "videotestsrc is-live=true ! video/x-raw,format=I420,width=160,height=120,framerate=10/1";
    let mut lines = Vec::new();
    for (path, encoder, payloader) in [
        ("/jpeg", "jpegenc", "rtpjpegpay pt=26"),
        (
            "/h265",
            "x265enc tune=zerolatency speed-preset=ultrafast",
            "rtph265pay pt=96 config-interval=-1",
        ),
        ("/vp8", "vp8enc deadline=1", "rtpvp8pay pt=96"),
        ("/mpeg4", "avenc_mpeg4", "rtpmp4vpay pt=96"),
    ] {
        let factory = encoder.split(' ').next().unwrap();
        if gst::ElementFactory::find(factory).is_none() {
            println!("skipped: {path}, since {factory} is not installed");
            continue;
        }
        let line = match path {
            // What this encoder gives has no usable timestamps in GStreamer 1.22, live or in a file: they are made from bytes.
            "/mpeg4" => format!(
                "filesrc location={} ! avidemux ! mpeg4videoparse ! identity datarate=2000",
                mpeg4(folder.path()).display()
            ),
            _ => format!("{raw} ! {encoder}"),
        };
        lines.push((path, format!("( {line} ! {payloader} name=pay0 )")));
    }
    let camera = lines
        .iter()
        .fold(Camera::builder(), |camera, (path, line)| {
            camera.stream(path, line)
        })
        .start();
    let cameras = lines.iter().map(|(path, _)| {
        format!(
            "  {}:\n    source: {{rtsp: \"{}\"}}\n",
            &path[1..],
            camera.url(path)
        )
    });
    let watchpost = Watchpost::start(&format!("cameras:\n{}", cameras.collect::<String>()));
    for (path, _) in &lines {
        let there = watchpost.wait_streaming(&path[1..]);
        assert_eq!(there["ring"]["width"], 160, "{path}: {there}");
        assert_eq!(there["ring"]["height"], 120, "{path}: {there}");
    }
}

#[test]
fn a_camera_that_sends_nothing_usable_says_so_and_is_tried_again() {
    let sound = "( audiotestsrc is-live=true ! alawenc ! rtppcmapay name=pay0 pt=8 )";
    let other = "( videotestsrc is-live=true ! video/x-raw,width=160,height=120,framerate=10/1 ! rtpvrawpay name=pay0 pt=96 )";
    let camera = Camera::builder()
        .stream("/sound", sound)
        .stream("/other", other)
        .start();
    let watchpost = Watchpost::start(&format!(
        "cameras:\n  sound:\n    source: {{rtsp: \"{}\"}}\n  other:\n    source: {{rtsp: \"{}\"}}\n",
        camera.url("/sound"),
        camera.url("/other")
    ));
    for (name, reason) in [
        (
            "sound",
            "the camera offers no video, or none over the transport in use",
        ),
        ("other", "the source sends RAW, expected one of H.264"),
    ] {
        watchpost.wait_for(name, "says why and is tried again", |c| {
            assert_ne!(c["state"], "failed", "{c}");
            c["reconnects_last_hour"].as_u64() > Some(0)
                && c["reason"].as_str().is_some_and(|r| r.contains(reason))
        });
    }
}

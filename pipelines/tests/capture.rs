//! Capture pipelines on real sources, with an appsink where the ring would be.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gst::prelude::*;
use watchpost_pipelines::camera::{CameraConfig, Decoder, FileSource, Source};
use watchpost_pipelines::capture::{self, Capture, CaptureEvent};
use watchpost_pipelines::fault::{Fault, FaultKind};

use testkit::PATIENCE;

struct Picture {
    width: i32,
    height: i32,
    framerate: gst::Fraction,
    running_time: gst::ClockTime,
    colorimetry: String,
    /// Brightness of the first pixel.
    luma: u8,
}

struct Running {
    capture: Capture,
    sink: gst_app::AppSink,
}

impl Running {
    fn start(camera: &CameraConfig) -> Result<Self, Fault> {
        Self::start_without(camera, &[])
    }

    fn start_without(camera: &CameraConfig, failed: &[String]) -> Result<Self, Fault> {
        gst::init().unwrap();
        let sink = gst_app::AppSink::builder()
            .sync(false)
            .async_(false)
            .max_buffers(4)
            .build();
        let capture = capture::build_into(camera, failed, sink.clone().upcast())?;
        capture.start()?;
        Ok(Self { capture, sink })
    }

    /// The next picture, or how the capture ended instead.
    fn next(&self) -> Result<Picture, CaptureEvent> {
        let bus = self.capture.pipeline().bus().unwrap();
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            while let Some(message) = bus.pop() {
                match self.capture.handle(&message) {
                    None | Some(CaptureEvent::Warning(_)) => {}
                    Some(event) => return Err(event),
                }
            }
            let Some(sample) = self
                .sink
                .try_pull_sample(gst::ClockTime::from_mseconds(100))
            else {
                continue;
            };
            let caps = sample.caps().unwrap().structure(0).unwrap();
            assert_eq!(caps.get::<&str>("format").unwrap(), "I420");
            let segment = sample
                .segment()
                .unwrap()
                .downcast_ref::<gst::ClockTime>()
                .unwrap();
            return Ok(Picture {
                width: caps.get("width").unwrap(),
                height: caps.get("height").unwrap(),
                framerate: caps.get("framerate").unwrap(),
                colorimetry: caps.get("colorimetry").unwrap_or_default(),
                luma: sample.buffer().unwrap().map_readable().unwrap()[0],
                running_time: segment
                    .to_running_time(sample.buffer().unwrap().pts())
                    .unwrap(),
            });
        }
        panic!("no picture and no end within {PATIENCE:?}");
    }
}

fn launch(line: &str) -> CameraConfig {
    CameraConfig::from_source(Source::Launch(line.to_owned()))
}

/// A second of H.264 with sound, in MP4.
fn film(folder: &Path) -> PathBuf {
    gst::init().unwrap();
    let path = folder.join("film.mp4");
    let line = format!(
        "mp4mux name=mux ! filesink location={} \
         videotestsrc num-buffers=30 ! video/x-raw,format=I420,width=320,height=240,framerate=30/1 ! x264enc tune=zerolatency key-int-max=10 ! mux. \
         audiotestsrc num-buffers=43 ! audio/x-raw,rate=44100 ! avenc_aac ! mux.",
        path.display()
    );
    let pipeline = gst::parse::launch(&line).unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let end = pipeline
        .bus()
        .unwrap()
        .timed_pop_filtered(
            gst::ClockTime::from_seconds(30),
            &[gst::MessageType::Eos, gst::MessageType::Error],
        )
        .expect("the film is written");
    assert_eq!(end.type_(), gst::MessageType::Eos, "{end:?}");
    pipeline.set_state(gst::State::Null).unwrap();
    path
}

fn file(path: PathBuf, repeat: bool, realtime: bool) -> CameraConfig {
    let mut camera = CameraConfig::from_source(Source::File(FileSource {
        path,
        repeat,
        realtime,
    }));
    camera.detect.fps = 10.0;
    camera.decoder = Decoder::Software;
    camera
}

#[test]
fn frames_come_in_detect_size_and_rate() {
    let mut camera = launch(
        "videotestsrc num-buffers=60 ! video/x-raw,format=NV12,width=320,height=240,framerate=30/1",
    );
    camera.detect.width = Some(160);
    camera.detect.height = Some(90);
    let running = Running::start(&camera).unwrap();
    let mut pictures = Vec::new();
    let end = loop {
        match running.next() {
            Ok(picture) => pictures.push(picture),
            Err(end) => break end,
        }
    };
    assert_eq!(end, CaptureEvent::Ended);
    // What was still in the sink at the end is not pulled; the counters know all.
    let frames = running.capture.frames();
    assert_eq!((frames.received, frames.passed), (60, 10));
    for picture in &pictures {
        assert_eq!((picture.width, picture.height), (160, 90));
        assert_eq!(picture.framerate, gst::Fraction::new(5, 1));
    }
    for pair in pictures.windows(2) {
        let step = pair[1].running_time - pair[0].running_time;
        assert!(step.mseconds().abs_diff(200) <= 1, "{step}");
    }
    assert_eq!(running.capture.decoder(), None);
}

/// Pure red has the brightness 63 in BT.709 and 82 in BT.601.
#[test]
fn a_picture_without_a_description_of_its_colours_is_scaled_and_not_converted() {
    let size = "video/x-raw,format=I420,width=1280,height=720,framerate=5/1";
    let mut camera = launch(&format!(
        "videotestsrc pattern=red ! {size},colorimetry=bt709 ! capssetter replace=true caps={size}"
    ));
    camera.detect.width = Some(640);
    camera.detect.height = Some(360);
    let picture = Running::start(&camera).unwrap().next().unwrap();
    assert_eq!((picture.width, picture.height), (640, 360));
    assert_eq!(picture.luma, 63);
    assert_eq!(picture.colorimetry, "bt709");
}

#[test]
fn without_a_detect_size_the_sources_own_is_kept() {
    let camera =
        launch("videotestsrc ! video/x-raw,format=I420,width=322,height=242,framerate=4/1");
    let picture = Running::start(&camera).unwrap().next().unwrap();
    assert_eq!((picture.width, picture.height), (322, 242));
    assert_eq!(
        picture.framerate,
        gst::Fraction::new(4, 1),
        "a slower source keeps its rate"
    );
}

#[test]
fn a_file_with_sound_plays_to_its_end_once() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(&file(film(folder.path()), false, false)).unwrap();
    let end = loop {
        if let Err(end) = running.next() {
            break end;
        }
    };
    assert_eq!(end, CaptureEvent::Ended);
    let frames = running.capture.frames();
    assert_eq!((frames.received, frames.passed), (30, 10));
    assert_eq!(running.capture.decoder().as_deref(), Some("avdec_h264"));
}

#[test]
fn a_repeated_file_goes_on_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(&file(film(folder.path()), true, false)).unwrap();
    let times: Vec<_> = (0..35)
        .map(|_| running.next().unwrap().running_time)
        .collect();
    for pair in times.windows(2) {
        assert!(pair[1] > pair[0], "time went back: {times:?}");
    }
    assert!(times[34] > gst::ClockTime::from_mseconds(2500), "{times:?}");
}

#[test]
fn a_repeated_stream_without_an_index_goes_on_too() {
    let folder = tempfile::tempdir().unwrap();
    gst::init().unwrap();
    let path = folder.path().join("film.h264");
    let line = format!(
        "videotestsrc num-buffers=30 ! video/x-raw,format=I420,width=320,height=240,framerate=30/1 ! x264enc ! \
         video/x-h264,stream-format=byte-stream ! filesink location={}",
        path.display()
    );
    let pipeline = gst::parse::launch(&line).unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let bus = pipeline.bus().unwrap();
    bus.timed_pop_filtered(gst::ClockTime::from_seconds(30), &[gst::MessageType::Eos])
        .expect("the film is written");
    pipeline.set_state(gst::State::Null).unwrap();
    let running = Running::start(&file(path, true, false)).unwrap();
    for _ in 0..35 {
        running.next().unwrap();
    }
}

#[test]
fn realtime_files_keep_their_own_speed() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(&file(film(folder.path()), false, true)).unwrap();
    let start = Instant::now();
    while running.next().is_ok() {}
    assert!(
        start.elapsed() > Duration::from_millis(800),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn a_launch_line_that_is_not_live_keeps_its_own_speed_and_a_live_one_is_let_be() {
    let clocksync = |capture: &Capture| {
        let mut elements = capture.pipeline().iterate_elements().into_iter().flatten();
        let factory = |element: &gst::Element| element.factory().map(|f| f.name());
        elements
            .find(|element| factory(element).is_some_and(|name| name == "clocksync"))
            .expect("a clocksync")
            .property::<bool>("sync")
    };
    let start = Instant::now();
    let line = "num-buffers=30 ! video/x-raw,width=64,height=64,framerate=30/1";
    let running = Running::start(&launch(&format!("videotestsrc {line}"))).unwrap();
    running.next().unwrap();
    assert!(clocksync(&running.capture));
    while running.next().is_ok() {}
    assert!(
        start.elapsed() > Duration::from_millis(800),
        "{:?}",
        start.elapsed()
    );
    let live = Running::start(&launch(&format!("videotestsrc is-live=true {line}"))).unwrap();
    live.next().unwrap();
    assert!(!clocksync(&live.capture));
}

#[test]
fn the_next_decoder_takes_over_from_one_that_failed() {
    let folder = tempfile::tempdir().unwrap();
    let camera = file(film(folder.path()), false, false);
    let running = Running::start_without(&camera, &["avdec_h264".to_owned()]).unwrap();
    running.next().unwrap();
    assert_ne!(running.capture.decoder().unwrap(), "avdec_h264");
}

#[test]
fn faults_name_their_cause() {
    gst::init().unwrap();
    let missing = Running::start(&file("/nowhere/film.mp4".into(), false, true))
        .err()
        .unwrap();
    assert_eq!(missing.kind, FaultKind::Source);
    assert_eq!(missing.reason, "file /nowhere/film.mp4 does not exist");

    let broken = launch(
        "videotestsrc ! video/x-raw,width=64,height=64,framerate=100/1 ! identity error-after=5",
    );
    let running = Running::start(&broken).unwrap();
    let fault = loop {
        match running.next() {
            Ok(_) => {}
            Err(CaptureEvent::Failed(fault)) => break fault,
            Err(other) => panic!("{other:?}"),
        }
    };
    assert_eq!(fault.kind, FaultKind::Source);
    assert!(
        fault
            .reason
            .contains("Failed after iterations as requested"),
        "{fault}"
    );

    for (source, said) in [
        (
            r#"{"rtsp": {"url": "rtsp://u:geheim@127.0.0.1:1/main", "timeout": 2}}"#,
            "Failed to connect to 127.0.0.1:1: Connection refused",
        ),
        // A name that no resolver may know (RFC 6761).
        (
            r#"{"rtsp": "rtsp://u:geheim@camera.invalid/main"}"#,
            "Failed to connect: the name camera.invalid leads to no address",
        ),
    ] {
        let source: Source = serde_json::from_str(source).unwrap();
        let running = Running::start(&CameraConfig::from_source(source)).unwrap();
        let CaptureEvent::Failed(fault) = running.next().err().unwrap() else {
            panic!("no fault");
        };
        assert_eq!(fault.kind, FaultKind::Source);
        assert!(!fault.reason.contains("geheim"), "{fault}");
        assert!(fault.reason.starts_with(said), "{fault}");
    }

    // A demuxer's pads come with the stream.
    let late = launch(
        "videotestsrc is-live=true ! video/x-raw,format=I420,width=322,height=242 ! jpegenc ! multipartmux ! multipartdemux",
    );
    let picture = Running::start(&late).unwrap().next().unwrap();
    assert_eq!((picture.width, picture.height), (322, 242));

    let codec = launch("videotestsrc num-buffers=5 ! avenc_flv");
    let CaptureEvent::Failed(fault) = Running::start(&codec).unwrap().next().err().unwrap() else {
        panic!("no fault");
    };
    assert_eq!(fault.kind, FaultKind::Permanent);
    assert!(
        fault
            .reason
            .contains("video/x-flash-video, expected one of H.264"),
        "{fault}"
    );
}

//! The live picture through its ring, and tasks beside each other.

mod task_camera;

use std::path::Path;
use std::time::Duration;

use gst::prelude::*;
use task_camera::{Camera, Log, PATIENCE, decode, folder};
use watchpost_pipelines::camera::LiveConfig;
use watchpost_pipelines::capture::StreamId;
use watchpost_pipelines::encode::{EncodedStream, EncoderSetup, Start};
use watchpost_pipelines::tasks::task::{SeriesKind, SeriesParameters, VideoParameters};
use watchpost_pipelines::tasks::{
    LiveSetup, LiveTask, PhotoSetup, PhotoTask, RawSetup, SeriesSetup, SeriesTask, Size, Stream,
    Transform, VideoSetup, VideoTask,
};

fn camera(pattern: &str) -> Camera {
    Camera::start(&format!(
        "videotestsrc is-live=true pattern={pattern} ! \
         video/x-raw,format=I420,width=320,height=240,framerate=30/1"
    ))
}

fn live(root: &Path) -> LiveSetup {
    gst::init().unwrap();
    gstshmring::plugin_register_static().unwrap();
    LiveSetup {
        socket: root.join("live.sock"),
        stream: Stream::Lores,
        size: Some(Size {
            width: 160,
            height: 120,
        }),
        config: LiveConfig::default(),
    }
}

/// Somebody who looks.
struct Viewer {
    pipeline: gst::Pipeline,
    sink: gst_app::AppSink,
}

/// A colour in the corner and the darkest value in the middle row.
#[derive(Debug)]
struct Seen {
    corner: [u8; 3],
    darkest: u8,
}

impl Viewer {
    fn connect(socket: &Path) -> Self {
        let line = format!(
            "shmringsrc socket-path={} ! jpegdec ! videoconvert ! \
             video/x-raw,format=RGB,width=160,height=120 ! appsink name=sink sync=false max-buffers=4",
            socket.display()
        );
        let pipeline = gst::parse::launch(&line)
            .unwrap()
            .downcast::<gst::Pipeline>()
            .unwrap();
        let sink = pipeline.by_name("sink").unwrap().downcast().unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        Self { pipeline, sink }
    }

    fn next(&self) -> Seen {
        let patience = gst::ClockTime::from_seconds(PATIENCE.as_secs());
        let sample = self.sink.try_pull_sample(patience).unwrap_or_else(|| {
            let message = self
                .pipeline
                .bus()
                .unwrap()
                .pop_filtered(&[gst::MessageType::Error]);
            panic!("the viewer's stream ended: {message:?}")
        });
        let map = sample.buffer().unwrap().map_readable().unwrap();
        let row = &map[60 * 480..61 * 480];
        Seen {
            corner: map[..3].try_into().unwrap(),
            darkest: row
                .as_chunks::<3>()
                .0
                .iter()
                .map(|rgb| *rgb.iter().max().unwrap())
                .min()
                .unwrap(),
        }
    }

    fn until(&self, what: &str, is_it: impl Fn(&Seen) -> bool) {
        for _ in 0..300 {
            if is_it(&self.next()) {
                return;
            }
        }
        panic!("{what} was not among 300 pictures");
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

fn is_red(seen: &Seen) -> bool {
    seen.corner[0] > 200 && seen.corner[2] < 60 && seen.darkest > 200
}

fn is_blue(seen: &Seen) -> bool {
    seen.corner[2] > 200 && seen.corner[0] < 60 && seen.darkest > 200
}

#[test]
fn viewers_stay_connected_while_the_camera_is_away_and_see_a_notice() {
    let root = tempfile::tempdir().unwrap();
    let setup = live(root.path());
    let red = camera("red");
    let log = Log::new();
    let task = LiveTask::start(setup.clone(), Some(&red.taps()), log.events()).unwrap();
    let viewer = Viewer::connect(&setup.socket);
    viewer.until("the live picture", is_red);
    task.show_notice("the camera takes a photo");
    // The last picture, with something dark and a text across it.
    let is_notice = |seen: &Seen| seen.corner[0] > 200 && seen.darkest < 150;
    viewer.until("the notice", is_notice);
    drop(red);
    for _ in 0..2 {
        let seen = viewer.next();
        assert!(is_notice(&seen), "it goes on: {seen:?}");
    }
    let blue = camera("blue");
    task.attach(&blue.taps());
    viewer.until("the live picture of the camera that is back", is_blue);
    assert!(is_blue(&viewer.next()), "the notice is gone");
    assert!(task.stop());
    log.ended();
    assert_eq!(log.warnings(), [""; 0]);
    assert!(!setup.socket.exists());
}

#[test]
fn a_live_picture_that_has_seen_nothing_yet_shows_a_notice_too() {
    let root = tempfile::tempdir().unwrap();
    let setup = live(root.path());
    let log = Log::new();
    let task = LiveTask::start(setup.clone(), None, log.events()).unwrap();
    task.show_notice("the camera is away");
    let viewer = Viewer::connect(&setup.socket);
    let seen = viewer.next();
    assert!(seen.corner.iter().all(|value| *value < 60), "{seen:?}");
    drop(task);
    log.ended();
}

#[test]
fn a_slow_task_and_a_failing_one_leave_the_others_alone() {
    let camera = camera("ball");
    let taps = camera.taps();
    let connect = |line: &str, frames| {
        let pipeline = gst::parse::launch(line)
            .unwrap()
            .downcast::<gst::Pipeline>()
            .unwrap();
        let source = pipeline
            .by_name("src")
            .unwrap()
            .downcast::<gst_app::AppSrc>()
            .unwrap();
        let link = taps
            .get(StreamId::Main)
            .unwrap()
            .connect(&pipeline, &source, frames)
            .unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        (pipeline, link)
    };
    let (slow, slow_link) = connect(
        "appsrc name=src ! identity sleep-time=400000 ! fakesink async=false",
        1,
    );
    let (failing, _failing_link) = connect(
        "appsrc name=src ! identity error-after=3 ! fakesink async=false",
        1,
    );
    let (good, _link) = connect(
        "appsrc name=src ! appsink name=sink sync=false async=false",
        60,
    );
    let sink = good
        .by_name("sink")
        .unwrap()
        .downcast::<gst_app::AppSink>()
        .unwrap();
    let patience = gst::ClockTime::from_seconds(PATIENCE.as_secs());
    let mut last: Option<u64> = None;
    for _ in 0..45 {
        let sample = sink.try_pull_sample(patience).expect("frames go on");
        let offset = sample.buffer().unwrap().offset();
        if let Some(last) = last {
            assert_eq!(offset, last + 1, "no frame is lost");
        }
        last = Some(offset);
    }
    let failed = failing
        .bus()
        .unwrap()
        .timed_pop_filtered(patience, &[gst::MessageType::Error]);
    assert!(failed.is_some());
    assert!(slow_link.dropped() > 0, "the slow one was too slow");
    assert!(camera.trouble().is_none());
    for pipeline in [slow, failing, good] {
        pipeline.set_state(gst::State::Null).unwrap();
    }
}

#[test]
fn all_tasks_run_beside_each_other_on_one_camera() {
    let root = tempfile::tempdir().unwrap();
    let live_setup = live(root.path());
    let camera = camera("ball");
    let taps = camera.taps();
    let photo = PhotoSetup {
        folder: folder(root.path()),
        stream: Stream::Main,
        size: None,
        quality: 90,
        patience: Duration::from_secs(10),
    };
    let raw = RawSetup {
        folder: folder(root.path()),
        make: String::new(),
        model: "test".into(),
        transform: Transform::default(),
        patience: Duration::from_secs(10),
    };
    let logs = [(); 4].map(|()| Log::new());
    let [live_log, video_log, series_log, photo_log] = &logs;
    let live = LiveTask::start(live_setup.clone(), Some(&taps), live_log.events()).unwrap();
    let viewer = Viewer::connect(&live_setup.socket);
    let stream =
        EncodedStream::start(&taps, &EncoderSetup::default(), &video_log.events()).unwrap();
    let video = VideoSetup {
        folder: folder(root.path()),
        fragment: Duration::from_secs(1),
        start: Start::Next,
        description: serde_json::Value::Null,
    };
    let parameters = VideoParameters {
        duration: Some(2.0),
        ..VideoParameters::default()
    };
    let _video = VideoTask::start(stream, video, &parameters, video_log.events()).unwrap();
    let series = SeriesParameters {
        name: None,
        kind: SeriesKind::Jpg,
        interval: 0.25,
        count: Some(4),
        start: None,
        end: None,
        continue_on_start: false,
        position: None,
    };
    let setup = SeriesSetup {
        photo: photo.clone(),
        raw,
    };
    let _series =
        SeriesTask::start(Some(&taps), setup, &series, None, series_log.events()).unwrap();
    let _photo = PhotoTask::start(&taps, photo, photo_log.events()).unwrap();
    for _ in 0..10 {
        viewer.next();
    }
    let mut files = series_log.files(4);
    files.push(photo_log.file());
    for log in &logs[1..] {
        log.ended();
    }
    for file in &files {
        let path = folder(root.path()).path().join(&file.name);
        assert_eq!(decode(&path).size, (320, 240), "{file:?}");
    }
    let film = video_log.file();
    let film = decode(&folder(root.path()).path().join(&film.name));
    film.is_continuous(30);
    assert!((45..=61).contains(&film.times.len()), "{film:?}");
    assert!(live.stop());
    live_log.ended();
}

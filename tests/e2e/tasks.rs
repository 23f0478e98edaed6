//! Camera tasks: all at once on one camera, one at a time with the camera to itself, and what goes wrong on the way. The
//! camera is the stand-in for libcamera's plugin.

use crate::support::{PATIENCE, Watchpost, eventually, kill, watchpost};
use gst::prelude::*;
use serde_json::{Value, json};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use testkit::find_within;
use testkit::libcamera::Environment;
use testkit::rtsp::Camera;

const JSON: &str = "Content-Type: application/json\r\n";

/// A camera `pi`: on a stand-in of libcamera, or of another kind.
pub struct Pi {
    pub environment: Environment,
    pub watchpost: Watchpost,
}

impl Pi {
    fn start(script: &str, camera: &str) -> Self {
        let source = "    source: {libcamera: {camera: imx708, width: 1280, height: 720}}\n";
        Self::start_with(script, &format!("{source}{camera}"))
    }

    pub fn start_with(script: &str, camera: &str) -> Self {
        let environment = Environment::new(script);
        let mut command = watchpost();
        environment.apply(&mut command);
        let config = format!("cameras:\n  pi:\n{camera}");
        let watchpost = Watchpost::start_by(command, &config);
        watchpost.wait_streaming("pi");
        Self {
            environment,
            watchpost,
        }
    }

    pub fn task(&self, method: &str, task: &str, body: &str) -> (u16, Value) {
        let path = format!("/api/cameras/pi/tasks/{task}");
        let (code, body) = self.watchpost.request(method, &path, JSON, body);
        (code, serde_json::from_str(&body).expect("JSON"))
    }

    #[track_caller]
    pub fn begin(&self, task: &str, body: &str) -> Value {
        let (code, status) = self.task("POST", task, body);
        assert_eq!(code, 200, "{task}: {status}\n{}", self.watchpost.log());
        status
    }

    pub fn status(&self, task: &str) -> Value {
        let all = self.watchpost.get("/api/cameras/pi/tasks");
        let mut all = all.as_array().expect("a list").iter();
        all.find(|status| status["id"] == task)
            .expect("a task")
            .clone()
    }

    #[track_caller]
    pub fn wait(&self, task: &str, state: &str) -> Value {
        let mut last = Value::Null;
        let found = find_within(PATIENCE, || {
            last = self.status(task);
            (last["state"] == state).then(|| last.clone())
        });
        found.unwrap_or_else(|| {
            let (log, camera) = (self.watchpost.log(), self.environment.log());
            panic!("{task} never {state}: {last}\n{log}\n{camera}")
        })
    }

    /// Complete files with an ending.
    pub fn files(&self, ending: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.watchpost.data_dir().join("media/pi")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.starts_with('.') {
                    continue;
                }
                if path.is_dir() {
                    folders.push(path);
                } else if name.ends_with(ending) {
                    found.push(path);
                }
            }
        }
        found.sort();
        found
    }

    /// How often the camera was started.
    fn starts(&self) -> usize {
        let log = self.environment.log();
        log.lines()
            .filter(|line| line.starts_with("start "))
            .count()
    }
}

/// Somebody who looks at the live picture.
struct Viewer {
    pictures: Arc<AtomicUsize>,
}

impl Viewer {
    fn look(watchpost: &Watchpost) -> Self {
        let mut stream = watchpost.send("GET", "/api/cameras/pi/live.mjpg", "", "");
        let pictures = Arc::new(AtomicUsize::new(0));
        let count = pictures.clone();
        std::thread::spawn(move || {
            let mut seen = Vec::new();
            let mut bytes = [0; 65536];
            while let Ok(length @ 1..) = stream.read(&mut bytes) {
                seen.extend_from_slice(&bytes[..length]);
                // The last bytes may be half of a mark.
                let marks = seen.windows(2).filter(|pair| *pair == [0xff, 0xd8]).count();
                count.fetch_add(marks, Ordering::Relaxed);
                seen = seen.split_off(seen.len() - 1);
            }
        });
        Self { pictures }
    }

    fn pictures(&self) -> usize {
        self.pictures.load(Ordering::Relaxed)
    }
}

/// Size and time stamps of the pictures of a file, decoded.
pub fn pictures(path: &Path) -> Vec<(i32, i32, gst::ClockTime)> {
    gst::init().unwrap();
    let line = format!(
        "filesrc location=\"{}\" ! decodebin ! appsink name=sink sync=false",
        path.display()
    );
    let pipeline = gst::parse::launch(&line).unwrap();
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    let sink = pipeline.by_name("sink").unwrap();
    let sink = sink.downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let mut pictures = Vec::new();
    while let Some(sample) = sink.try_pull_sample(gst::ClockTime::from_seconds(20)) {
        let caps = sample.caps().unwrap().structure(0).unwrap();
        let pts = sample.buffer().unwrap().pts().unwrap_or_default();
        pictures.push((caps.get("width").unwrap(), caps.get("height").unwrap(), pts));
    }
    assert!(sink.is_eos(), "{} ends in order", path.display());
    pipeline.set_state(gst::State::Null).unwrap();
    pictures
}

#[test]
fn all_tasks_run_side_by_side_on_one_camera() {
    let pi = Pi::start("version=0.7.1", "");
    pi.begin("live", "");
    pi.begin("video", r#"{"duration": 3}"#);
    pi.begin(
        "series",
        r#"{"interval": 0.5, "count": 4, "type": "raw+jpg", "name": "garden"}"#,
    );
    pi.begin("photo", "{}");
    pi.begin("raw_photo", "{}");
    for task in ["photo", "raw_photo", "series", "video"] {
        pi.wait(task, "idle");
    }
    assert_eq!(pi.status("live")["state"], "active");
    assert_eq!(pi.status("detect")["state"], "active");
    assert_eq!(pi.status("series")["files"], 8);
    let tasks = pi.watchpost.camera("pi")["tasks"].clone();
    assert_eq!(tasks[0]["task"], "live", "{tasks}");
    let media = pi.watchpost.get("/api/media?camera=pi");
    assert_eq!(
        media.as_array().map(Vec::len),
        Some(1 + 1 + 8 + 1),
        "{media}"
    );

    let photos = pi.files("-photo.jpg");
    assert_eq!(photos.len(), 1, "{photos:?}");
    assert_eq!(pictures(&photos[0])[0].0, 1280);
    let series = pi.files(".jpg");
    assert_eq!(series.len(), 1 + 4, "{series:?}");
    for jpg in &series {
        let shown = pictures(jpg);
        assert_eq!((shown[0].0, shown[0].1), (1280, 720), "{}", jpg.display());
    }
    let raw = pi.files(".dng");
    assert_eq!(raw.len(), 1 + 4, "{raw:?}");
    for dng in &raw {
        let bytes = std::fs::read(dng).unwrap();
        assert_eq!(&bytes[..4], b"II*\0", "{} is a TIFF", dng.display());
        assert!(bytes.len() > 1_000_000, "{}", bytes.len());
    }
    let videos = pi.files(".mp4");
    assert_eq!(videos.len(), 1, "{videos:?}");
    let film = pictures(&videos[0]);
    assert!((60..=100).contains(&film.len()), "{} pictures", film.len());
    assert!(
        film.iter()
            .all(|(width, height, _)| (*width, *height) == (1280, 720))
    );
    for pair in film.windows(2) {
        let step = pair[1].2.saturating_sub(pair[0].2).mseconds();
        assert!((1..=200).contains(&step), "a gap of {step} ms");
    }
    assert_eq!(
        pi.starts(),
        1,
        "nobody needed the camera to itself:\n{}",
        pi.environment.log()
    );

    let (code, status) = pi.task("DELETE", "live", "");
    assert_eq!(code, 200, "{status}");
    pi.wait("live", "idle");
}

const TWO_SIZES: &str = "    profiles:\n      live: {stream: main, size: [640, 360]}\n      photo: {size: [2304, 1296]}\n      video: {size: [1920, 1080]}\n";

#[test]
fn tasks_that_do_not_fit_have_the_camera_to_themselves_one_after_the_other() {
    let pi = Pi::start("version=0.7.1", TWO_SIZES);
    let plan = pi.watchpost.get("/api/cameras/pi/plan?tasks=live,video");
    assert_eq!(plan["together"], false);
    assert_eq!(
        plan["reasons"],
        json!(["size: live wants 640x360, video wants 1920x1080"])
    );
    let viewer = Viewer::look(&pi.watchpost);
    pi.wait("live", "active");
    eventually("the viewer sees something", || viewer.pictures() > 3);
    pi.begin("video", r#"{"duration": 2}"#);
    pi.begin("photo", "");
    let detail = pi.status("photo")["detail"].to_string();
    assert!(detail.contains("1 before it"), "{detail}");
    pi.wait("video", "exclusive");
    pi.wait("live", "paused");
    let seen = viewer.pictures();
    eventually("the viewer sees the notice", || viewer.pictures() > seen);
    pi.wait("video", "idle");
    pi.wait("photo", "idle");
    pi.wait("live", "active");
    let seen = viewer.pictures();
    eventually("the viewer sees the live picture again", || {
        viewer.pictures() > seen + 5
    });
    let film = pictures(&pi.files(".mp4")[0]);
    assert_eq!((film[0].0, film[0].1), (1920, 1080));
    let photo = pictures(&pi.files("-photo.jpg")[0]);
    assert_eq!((photo[0].0, photo[0].1), (2304, 1296));
    // Its own, the recording's, its own, the photo's, its own.
    assert_eq!(pi.starts(), 5, "{}", pi.environment.log());
    pi.watchpost.wait_streaming("pi");
    let before = pi.watchpost.camera("pi")["ring"]["written"].as_u64();
    eventually("frames come into the ring again", || {
        pi.watchpost.camera("pi")["ring"]["written"].as_u64() != before
    });
    assert!(
        pi.watchpost
            .log()
            .contains("photo has given the camera back: pause-live"),
        "{}",
        pi.watchpost.log()
    );
}

#[test]
fn a_series_goes_on_after_a_task_that_had_the_camera_unless_it_was_paused_by_request() {
    let pi = Pi::start(
        "version=0.7.1 cameras=imx708",
        "    profiles: {live: {colour_space: sYCC}, photo: {colour_space: sYCC}, video: {colour_space: Rec709}}\n",
    );
    let goes_on = || {
        pi.wait("series", "active");
        let shots = pi.files("jpg").len();
        eventually("shots come", || pi.files("jpg").len() > shots);
    };
    let set = |task: &str, state: &str| {
        let (code, answer) = pi.task("PATCH", task, &json!({ "state": state }).to_string());
        (
            code,
            answer["error"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let record = || {
        pi.begin("video", "{}");
        eventually("it records", || {
            let detail = pi.status("video")["detail"].to_string();
            detail.contains(" s, ")
        });
        pi.wait("series", "paused");
    };
    let stop = || {
        assert_eq!(pi.task("DELETE", "video", "").0, 200);
        pi.wait("video", "idle");
    };
    pi.begin("series", r#"{"interval": 0.2, "name": "s"}"#);
    goes_on();

    // It rests without having been asked to, and nobody has to ask it to go on, also after its worker was killed.
    record();
    assert_eq!(pi.status("detect")["state"], "paused");
    let (code, why) = set("series", "active");
    assert!(code == 409 && why.contains("goes on by itself"), "{why}");
    let (code, why) = set("video", "paused");
    assert!(code == 409 && why.contains("stop it"), "{why}");
    let worker = pi.watchpost.camera("pi")["capture_pid"].as_u64().unwrap() as u32;
    kill(worker, rustix::process::Signal::KILL);
    eventually("another worker", || {
        let pid = pi.watchpost.camera("pi")["capture_pid"].as_u64();
        pid.is_some_and(|pid| pid as u32 != worker)
    });
    eventually("it records again", || {
        let detail = pi.status("video")["detail"].to_string();
        detail.contains(" s, ")
    });
    stop();
    goes_on();

    // What is asked meanwhile counts afterwards.
    record();
    assert_eq!(set("series", "paused").0, 200);
    stop();
    assert_eq!(pi.status("series")["state"], "paused");
    record();
    assert_eq!(set("series", "active").0, 200);
    stop();
    goes_on();

    // Paused before it and resumed after it.
    assert_eq!(set("series", "paused").0, 200);
    record();
    stop();
    assert_eq!(set("series", "active").0, 200);
    goes_on();

    // Stopped while it is on its way to the camera. It never says that it is over before the camera is back.
    pi.begin("video", "{}");
    stop();
    goes_on();
    let log = pi.watchpost.log();
    let mut takes = log
        .lines()
        .filter(|line| line.contains("exclusive it has the camera"));
    assert!(takes.all(|line| line.contains("pause-live")), "{log}");
}

#[test]
fn a_camera_that_does_not_start_for_a_task_is_live_again() {
    for fault in ["start#2", "configure#2", "busy#2"] {
        let pi = Pi::start(&format!("version=0.7.1 faults={fault}"), TWO_SIZES);
        let pid = pi.watchpost.camera("pi")["capture_pid"].clone();
        pi.begin("photo", "");
        let status = pi.wait("photo", "error");
        let detail = status["detail"].to_string();
        assert!(
            detail.contains("start-for-task") || detail.contains("configure-for-task"),
            "{fault}: {detail}"
        );
        let camera = pi.watchpost.wait_streaming("pi");
        assert_eq!(camera["capture_pid"], pid, "{fault}: the worker went on");
        // And the next one is taken.
        pi.begin("photo", "");
        pi.wait("photo", "idle");
        assert_eq!(pi.files("-photo.jpg").len(), 1, "{fault}");
    }
}

#[test]
fn a_camera_that_does_not_come_back_is_failed_and_then_live_by_another_worker() {
    for fault in ["start#3", "hang-stop#1"] {
        let pi = Pi::start(&format!("version=0.7.1 faults={fault}"), TWO_SIZES);
        let pid = pi.watchpost.camera("pi")["capture_pid"].clone();
        pi.begin("photo", "");
        let camera = pi
            .watchpost
            .wait_for("pi", "gets another worker", |camera| {
                camera["capture_pid"] != pid && camera["state"] == "streaming"
            });
        assert_ne!(camera["capture_pid"], pid);
        assert!(
            pi.watchpost
                .log()
                .contains("the camera did not come back from photo"),
            "{fault}: {}",
            pi.watchpost.log()
        );
    }
}

#[test]
fn an_old_libcamera_says_by_name_what_it_cannot() {
    let pi = Pi::start("version=0.0.3", "");
    let (code, refusal) = pi.task("POST", "raw_photo", "");
    if code == 200 {
        let status = pi.wait("raw_photo", "error");
        assert!(status["detail"].to_string().contains("0.7.0"), "{status}");
    } else {
        assert!(refusal["error"].to_string().contains("0.7.0"), "{refusal}");
    }
    pi.watchpost.wait_streaming("pi");
    pi.begin("photo", "");
    pi.wait("photo", "idle");
}

#[test]
fn a_recording_and_a_series_survive_their_worker_and_play_up_to_its_end() {
    let pi = Pi::start("version=0.7.1", "");
    pi.begin("video", "");
    pi.begin("series", r#"{"interval": 0.4, "name": "s"}"#);
    pi.wait("video", "active");
    eventually("two seconds are recorded", || {
        let detail = pi.status("video")["detail"].to_string();
        detail.trim_start_matches('"').starts_with(['2', '3', '4'])
    });
    let pid = pi.watchpost.camera("pi")["capture_pid"].as_u64().unwrap();
    kill(pid as u32, rustix::process::Signal::KILL);
    pi.watchpost
        .wait_for("pi", "gets another worker", |camera| {
            camera["capture_pid"].as_u64().is_some_and(|new| new != pid)
        });
    pi.wait("video", "active");
    pi.wait("series", "active");
    let (code, _) = pi.task("PATCH", "series", r#"{"state": "paused"}"#);
    assert_eq!(code, 200);
    pi.wait("series", "paused");
    let (code, _) = pi.task("PATCH", "series", r#"{"state": "active"}"#);
    assert_eq!(code, 200);
    pi.wait("series", "active");
    eventually("a second more is recorded", || {
        let detail = pi.status("video")["detail"].to_string();
        detail.trim_start_matches('"').starts_with(['1', '2', '3'])
    });
    pi.task("DELETE", "video", "");
    pi.task("DELETE", "series", "");
    pi.wait("video", "idle");
    pi.wait("series", "idle");
    // The part of the killed worker is adopted, and plays.
    eventually("both recordings are there", || pi.files(".mp4").len() == 2);
    for file in pi.files(".mp4") {
        assert!(pictures(&file).len() > 10, "{}", file.display());
    }
    let numbers = pi.files(".jpg");
    let mut names: Vec<_> = numbers.iter().filter_map(|path| path.file_stem()).collect();
    names.dedup();
    assert_eq!(names.len(), numbers.len());
}

#[test]
fn what_cannot_be_is_refused_with_a_reason() {
    let pi = Pi::start("version=0.7.1", "");
    for (method, task, body, code, said) in [
        ("POST", "foto", "{}", 404, "raw_photo"),
        ("POST", "photo-2", "{}", 404, "photo-2: only recordings"),
        ("POST", "video-9", "{}", 404, "video-2 to video-8"),
        ("POST", "series", "{}", 400, "interval"),
        ("POST", "series", r#"{"interval": 0}"#, 400, "0.1 to 86400"),
        (
            "POST",
            "video",
            r#"{"duration": "x"}"#,
            400,
            "parameters of video: duration: is text \\\"x\\\", expected a number",
        ),
        (
            "POST",
            "series",
            r#"{"intervall": 5}"#,
            400,
            "intervall: unknown key, did you mean `interval`?",
        ),
        ("POST", "photo", "{", 400, "EOF"),
        (
            "PATCH",
            "video",
            r#"{"state": "paused"}"#,
            409,
            "not under way",
        ),
        ("PATCH", "video", r#"{"state": "x"}"#, 400, "paused"),
    ] {
        let (found, answer) = pi.task(method, task, body);
        assert_eq!(found, code, "{method} {task} {body}: {answer}");
        assert!(answer["error"].to_string().contains(said), "{answer}");
    }
    let (code, body) = pi
        .watchpost
        .request("GET", "/api/cameras/nobody/tasks", "", "");
    assert_eq!(code, 404, "{body}");
    pi.begin("video", "");
    let (code, answer) = pi.task("POST", "video", "");
    assert_eq!(code, 409, "{answer}");
}

#[test]
fn a_camera_that_is_unplugged_leaves_a_recording_that_plays() {
    let pi = Pi::start("version=0.7.1", "    stall_timeout: 2\n");
    pi.begin("video", "");
    eventually("two seconds are recorded", || {
        let detail = pi.status("video")["detail"].to_string();
        detail.trim_start_matches('"').starts_with(['2', '3', '4'])
    });
    pi.environment.set_faults("unplug@0");
    pi.watchpost
        .wait_for("pi", "is not streaming any more", |camera| {
            camera["state"] != "streaming"
        });
    eventually("the recording is complete", || pi.files(".mp4").len() == 1);
    assert!(pictures(&pi.files(".mp4")[0]).len() > 10);
    pi.environment.clear_faults();
    pi.environment.plug_in(0);
    pi.watchpost.wait_streaming("pi");
    // It was not asked to end.
    pi.wait("video", "active");
}

/// H.264 of a size, as a camera sends it.
fn sent(width: u32, height: u32) -> String {
    format!(
        "( videotestsrc is-live=true pattern=ball ! video/x-raw,width={width},height={height},framerate=15/1 ! \
         x264enc speed-preset=ultrafast key-int-max=15 ! rtph264pay name=pay0 pt=96 config-interval=-1 )"
    )
}

#[test]
fn an_rtsp_camera_records_what_it_sends_over_the_one_connection() {
    let server = Camera::builder().stream("/main", &sent(640, 360)).start();
    let pi = Pi::start_with(
        "version=0.0.3",
        &format!(
            "    source: {{rtsp: \"{}\"}}\n    profiles: {{photo: {{size: [320, 180]}}}}\n",
            server.url("/main")
        ),
    );
    pi.begin("live", "");
    pi.begin("video", r#"{"duration": 3}"#);
    pi.begin("photo", "");
    pi.begin("raw_photo", "");
    for task in ["photo", "raw_photo", "video"] {
        pi.wait(task, "idle");
    }
    assert_eq!(pi.status("live")["state"], "active");
    let film = pictures(&pi.files(".mp4")[0]);
    assert!((25..=50).contains(&film.len()), "{} pictures", film.len());
    assert_eq!((film[0].0, film[0].1), (640, 360));
    let photo = pictures(&pi.files("-photo.jpg")[0]);
    assert_eq!((photo[0].0, photo[0].1), (320, 180));
    assert_eq!(pi.files(".raw").len(), 1);
    let log = pi.watchpost.log();
    assert!(!log.contains("encoded by the processor"), "{log}");
    assert_eq!(server.connections(), 1);
}

#[test]
fn recordings_and_photos_come_from_the_source_with_that_role() {
    let server = Camera::builder()
        .stream("/main", &sent(1280, 720))
        .stream("/sub", &sent(320, 180))
        .start();
    let pi = Pi::start_with(
        "version=0.0.3",
        &format!(
            "    sources:\n      - {{rtsp: \"{}\", roles: [record]}}\n      - {{rtsp: \"{}\", roles: [detect, live]}}\n",
            server.url("/main"),
            server.url("/sub")
        ),
    );
    assert_eq!(server.connections(), 1, "nobody records yet");
    pi.begin("video", r#"{"duration": 4}"#);
    pi.begin("photo", "");
    pi.wait("photo", "idle");
    pi.wait("video", "idle");
    assert_eq!(server.connections(), 2);
    let film = pictures(&pi.files(".mp4")[0]);
    assert_eq!((film[0].0, film[0].1), (1280, 720));
    let photo = pictures(&pi.files("-photo.jpg")[0]);
    assert_eq!((photo[0].0, photo[0].1), (1280, 720));
    assert_eq!(pi.watchpost.camera("pi")["ring"]["width"], 320);
}

#[test]
fn a_source_that_cannot_be_reached_is_named_by_the_tasks_that_need_it() {
    let server = Camera::builder().stream("/sub", &sent(320, 180)).start();
    let pi = Pi::start_with(
        "version=0.0.3",
        &format!(
            "    sources:\n      - {{rtsp: \"rtsp://u:geheim@127.0.0.1:1/main\", roles: [record, live]}}\n      - {{rtsp: \"{}\", roles: [detect]}}\n",
            server.url("/sub")
        ),
    );
    let named = "source for record, rtsp://u:***@127.0.0.1:1/main: Failed to connect to 127.0.0.1:1: Connection refused";
    let is_named = |detail: &Value| detail.as_str().is_some_and(|text| text.starts_with(named));
    pi.begin("video", "");
    eventually("the recording says what it waits for", || {
        let status = pi.status("video");
        assert_eq!(status["state"], "waiting", "{status}");
        is_named(&status["detail"])
    });
    pi.begin("photo", "");
    let photo = pi.wait("photo", "error");
    assert!(is_named(&photo["detail"]), "{photo}");
    let path = "/api/cameras/pi/snapshot.jpg";
    let (code, answer) = pi.watchpost.request("GET", path, "", "");
    assert_eq!(code, 503);
    assert!(answer.contains(named), "{answer}");
    assert_eq!(pi.watchpost.camera("pi")["state"], "streaming");
    let log = pi.watchpost.log();
    let warnings = log
        .lines()
        .filter(|line| line.contains("WARN") && line.contains(named));
    assert_eq!(warnings.count(), 1, "it is tried again and again: {log}");
}

#[test]
fn a_series_goes_on_after_watchpost_was_started_again() {
    let pi = Pi::start_with("version=0.0.3", "    source: {test: walkers}\n");
    pi.begin(
        "series",
        r#"{"interval": 0.3, "name": "long", "continue_on_start": true}"#,
    );
    eventually("two shots", || pi.files(".jpg").len() >= 2);
    let Pi {
        environment,
        watchpost,
    } = pi;
    let pi = Pi {
        environment,
        watchpost: watchpost.start_again(),
    };
    pi.wait("series", "active");
    let before = pi.files(".jpg").len();
    eventually("two more shots", || pi.files(".jpg").len() >= before + 2);
    let (code, _) = pi.task("DELETE", "series", "");
    assert_eq!(code, 200);
    pi.wait("series", "idle");
    // The grid goes on: numbers grow with the time, and none comes twice.
    let number = |path: &PathBuf| {
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        stem.rsplit_once('-').unwrap().1.parse::<u64>().unwrap()
    };
    let numbers: Vec<u64> = pi.files(".jpg").iter().map(number).collect();
    assert!(
        numbers.windows(2).all(|pair| pair[0] < pair[1]),
        "{numbers:?}"
    );
}

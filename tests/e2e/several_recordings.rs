//! Several recordings of one camera at once, each by itself.

use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{eventually, kill};
use crate::tasks::{Pi, pictures};

const SOURCE: &str = "    source: {test: walkers}\n";

/// Seconds that the recording's open file has; none while it says something else.
fn seconds(pi: &Pi, id: &str) -> Option<u64> {
    let status = pi.status(id);
    let (seconds, _) = status["detail"].as_str()?.split_once(" s, ")?;
    (status["state"] == "active").then(|| seconds.parse().ok())?
}

#[track_caller]
fn records(pi: &Pi, id: &str, at_least: u64) {
    eventually(&format!("{id} has {at_least} s"), || {
        seconds(pi, id).is_some_and(|seconds| seconds >= at_least)
    });
}

/// It is not disturbed: its file goes on.
#[track_caller]
fn goes_on(pi: &Pi, id: &str) {
    let before = seconds(pi, id).expect("it records");
    records(pi, id, before + 1);
}

/// Seconds of a file that plays to its end.
fn length(path: &Path) -> f64 {
    let pictures = pictures(path);
    assert!(pictures.len() > 5, "{}", path.display());
    let (_, _, last) = pictures[pictures.len() - 1];
    last.mseconds() as f64 / 1000.0
}

#[track_caller]
fn stop(pi: &Pi, id: &str) {
    assert_eq!(pi.task("DELETE", id, "").0, 200);
    pi.wait(id, "idle");
}

#[test]
fn recordings_of_one_camera_begin_and_end_by_themselves() {
    let pi = Pi::start_with("version=0.0.3", SOURCE);
    let ids = || -> Vec<Value> {
        let tasks = pi.watchpost.get("/api/cameras/pi/tasks");
        let tasks = tasks.as_array().expect("a list").iter();
        tasks.map(|status| status["id"].clone()).collect()
    };
    let six = ["live", "photo", "raw_photo", "series", "video", "detect"];
    assert_eq!(ids(), six);
    let status = pi.begin("video-2", "");
    assert_eq!(
        (&status["id"], &status["task"]),
        (&"video-2".into(), &"video".into())
    );
    records(&pi, "video-2", 1);
    pi.begin("video", r#"{"duration": 2}"#);
    records(&pi, "video", 1);
    assert_eq!(pi.status("video-2")["state"], "active");
    assert_eq!(ids()[..6], six);
    assert_eq!(ids()[6..], ["video-2"]);
    let (code, answer) = pi.task("POST", "video-2", "");
    let reason = answer["error"].to_string();
    assert!(
        code == 409 && reason.contains("video-2 is under way"),
        "{answer}"
    );

    // One ends by its duration, the other never notices; and the other way round by request.
    let ended = pi.wait("video", "idle");
    assert_eq!(ended["files"], 1, "{ended}");
    goes_on(&pi, "video-2");
    pi.begin("video", "");
    records(&pi, "video", 1);
    stop(&pi, "video-2");
    assert_eq!(pi.status("video-2")["files"], 1);
    goes_on(&pi, "video");
    stop(&pi, "video");

    let lengths: Vec<f64> = pi.files(".mp4").iter().map(|path| length(path)).collect();
    let [long, two, last] = lengths[..] else {
        panic!("{lengths:?}");
    };
    assert!((1.5..3.0).contains(&two), "{lengths:?}");
    assert!(long > two + 1.0 && last > 1.0, "{lengths:?}");
    let log = pi.watchpost.log();
    let encoders = log.matches("is encoded by the processor").count();
    assert!(encoders <= 1, "{encoders} encoders for one stream:\n{log}");
}

#[test]
fn all_recordings_of_a_camera_go_on_after_a_kill_and_after_a_restart() {
    let pi = Pi::start_with("version=0.0.3", SOURCE);
    pi.begin("video", r#"{"duration": 600}"#);
    pi.begin("video-2", "");
    records(&pi, "video", 2);
    records(&pi, "video-2", 2);
    let until = pi.status("video")["parameters"]["until"].clone();
    assert!(until.is_f64(), "{until}");

    let pid = pi.watchpost.camera("pi")["capture_pid"].as_u64().unwrap();
    kill(pid as u32, Signal::KILL);
    pi.watchpost
        .wait_for("pi", "gets another worker", |camera| {
            camera["capture_pid"].as_u64().is_some_and(|new| new != pid)
        });
    records(&pi, "video", 1);
    records(&pi, "video-2", 1);
    eventually("both files of the killed worker are there", || {
        pi.files(".mp4").len() == 2
    });

    let Pi {
        environment,
        watchpost,
    } = pi;
    let pi = Pi {
        environment,
        watchpost: watchpost.start_again(),
    };
    records(&pi, "video", 1);
    records(&pi, "video-2", 1);
    assert_eq!(pi.status("video")["parameters"]["until"], until);
    assert!(pi.status("video-2")["parameters"]["until"].is_null());
    stop(&pi, "video");
    goes_on(&pi, "video-2");
    stop(&pi, "video-2");
    let files = pi.files(".mp4");
    assert_eq!(files.len(), 6, "{files:?}");
    for path in files {
        assert!(length(&path) > 0.5, "{}", path.display());
    }
    // What was stopped does not come back.
    let Pi {
        environment,
        watchpost,
    } = pi;
    let pi = Pi {
        environment,
        watchpost: watchpost.start_again(),
    };
    pi.watchpost.wait_streaming("pi");
    let tasks = pi.watchpost.get("/api/cameras/pi/tasks");
    let active = tasks.as_array().expect("a list").iter();
    let active = active.filter(|status| status["task"] == "video" && status["state"] != "idle");
    assert_eq!(active.count(), 0, "{tasks}");
}

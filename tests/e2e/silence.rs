//! States that a user would agree with: nothing that delivers nothing is shown as working.

use std::io::{BufRead, BufReader};
use std::sync::mpsc::channel;

use serde_json::Value;
use testkit::{PATIENCE, find_within};
use watchpost_api::{CameraEvent, CameraState, Event};

use crate::onnx::{Dim, yolox};
use crate::support::{Watchpost, eventually, onnxruntime};

/// Camera `a` of the answer of `/readyz`, and its status code.
fn readiness(watchpost: &Watchpost) -> (u16, Option<Value>) {
    let (code, body) = watchpost.request("GET", "/readyz", "", "");
    let body: Value = serde_json::from_str(&body).expect("JSON");
    let cameras = body["cameras"].as_array().expect("cameras");
    (code, cameras.iter().find(|c| c["name"] == "a").cloned())
}

fn metric(watchpost: &Watchpost, series: &str) -> Option<f64> {
    let (code, text) = watchpost.request("GET", "/metrics", "", "");
    assert_eq!(code, 200);
    let value = text.lines().find_map(|line| line.strip_prefix(series));
    value.and_then(|value| value.trim().parse().ok())
}

/// The camera events of the stream, as they come.
fn camera_events(watchpost: &Watchpost) -> std::sync::mpsc::Receiver<CameraEvent> {
    let stream = BufReader::new(watchpost.send("GET", "/api/events/stream?after=0", "", ""));
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in stream.lines().map_while(Result::ok) {
            let data = line.strip_prefix("data:").map(serde_json::from_str);
            if let Some(Ok(Event::Camera(event))) = data
                && sender.send(event).is_err()
            {
                return;
            }
        }
    });
    receiver
}

#[test]
fn a_camera_without_frames_is_stalled_everywhere_and_not_restarted() {
    let watchpost = Watchpost::start(
        "cameras:
  a:
    source: {test: \"walkers,stall@4s+9s\"}
    detect: {width: 320, height: 180, fps: 10, enabled: false}
",
    );
    let events = camera_events(&watchpost);
    let before = watchpost.wait_streaming("a");
    assert_eq!(readiness(&watchpost), (200, None));

    let stalled = watchpost.wait_for("a", "is stalled", |c| c["state"] == "stalled");
    let (code, waiting) = readiness(&watchpost);
    let is_stalled = metric(
        &watchpost,
        "watchpost_camera_state{camera=\"a\",state=\"stalled\"}",
    );
    let is_streaming = metric(
        &watchpost,
        "watchpost_camera_state{camera=\"a\",state=\"streaming\"}",
    );
    let reason = stalled["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("no frame for 3 s"), "{reason}");
    assert_eq!(code, 503);
    let waiting = waiting.expect("the camera is not ready");
    assert_eq!(
        (&waiting["state"], &waiting["reason"]),
        (&stalled["state"], &stalled["reason"])
    );
    assert_eq!((is_stalled, is_streaming), (Some(1.0), Some(0.0)));
    let event = find_within(PATIENCE, || {
        events
            .try_recv()
            .ok()
            .filter(|event| event.state == CameraState::Stalled)
    });
    assert_eq!(event.expect("an event").reason.as_deref(), Some(reason));
    assert_eq!(
        metric(&watchpost, "watchpost_stalls_last_hour{camera=\"a\"}"),
        Some(1.0)
    );

    // The restart follows stall_timeout, which has not passed.
    let after = watchpost.wait_streaming("a");
    assert_eq!(after["capture_pid"], before["capture_pid"]);
    assert_eq!(after["reconnects_last_hour"], 0);
    assert_eq!(readiness(&watchpost), (200, None));
}

#[test]
fn an_engine_that_hangs_is_reported_within_seconds_and_replaced() {
    if onnxruntime().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut model = yolox(Dim::Is(1));
    model.hangs = true;
    let model = model.write(folder.path(), "hangs.onnx");
    let watchpost = Watchpost::start(&format!(
        "model: {{path: {}}}
cameras:
  a:
    source: {{test: walkers}}
    detect: {{width: 320, height: 180, fps: 5}}
    motion: {{enabled: false}}
",
        model.display()
    ));
    let silent = watchpost.wait_for("a", "is found without detection", |c| {
        c["state"] == "streaming"
            && c["analysis"]["reason"]
                .as_str()
                .is_some_and(|r| r.contains("no frame analysed for 3 s"))
    });
    assert_eq!(silent["analysis"]["state"], "waiting", "{silent}");
    let (code, waiting) = readiness(&watchpost);
    assert_eq!(code, 503);
    let reason = waiting.expect("the camera is not ready")["reason"].clone();
    assert!(
        reason
            .as_str()
            .is_some_and(|r| r.starts_with("no detection: ")),
        "{reason}"
    );

    eventually("the worker is replaced", || {
        watchpost.log().contains("no frame analysed for 30 s")
    });
    watchpost.wait_for("a", "has another worker", |c| {
        c["analysis_pid"].is_u64() && c["analysis_pid"] != silent["analysis_pid"]
    });
    assert_eq!(watchpost.camera("a")["capture_pid"], silent["capture_pid"]);
}

#[test]
fn deaths_of_a_capture_worker_are_counted_and_logged_with_the_next_attempt() {
    let watchpost = Watchpost::start(
        "cameras:
  a:
    source: {test: walkers}
    detect: {width: 320, height: 180, fps: 10, enabled: false}
",
    );
    for death in 1..=4_u32 {
        let camera = watchpost.wait_for("a", "streams with a worker", |c| {
            c["state"] == "streaming" && c["capture_pid"].is_u64()
        });
        let pid = camera["capture_pid"].as_u64().expect("a pid") as u32;
        // Rust's own handler ignores a SIGSEGV that comes from outside.
        crate::support::kill(pid, rustix::process::Signal::ABORT);
        let series = "watchpost_capture_deaths_total{camera=\"a\"}";
        eventually("the death is counted", || {
            metric(&watchpost, series) == Some(f64::from(death))
        });
    }
    for (death, is_logged) in [(1, true), (2, true), (3, false), (4, true)] {
        let log = watchpost.log();
        let notice = log
            .lines()
            .find(|line| line.contains(&format!("the capture worker died, {death} in a row")));
        assert_eq!(notice.is_some(), is_logged, "{death}: {log}");
        assert!(
            notice.is_none_or(|line| line.contains("the next attempt is")),
            "{log}"
        );
    }
}

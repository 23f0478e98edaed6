//! Cameras come, change and go, by the file, by SIGHUP and over HTTP, while the others never notice.

use crate::support::{PATIENCE, Watchpost, children, eventually};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const JSON: &str = "Content-Type: application/json\r\n";

/// A file as people write it, with comments.
const CAMERAS: &str = "# the house\ncameras:\n  # never touched\n  still:\n    source: {test: walkers}\n    detect: {width: 320, height: 180, fps: 10}\n";

fn change(watchpost: &Watchpost, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let text = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let (code, answer) = watchpost.request(method, path, JSON, &text);
    (
        code,
        serde_json::from_str(&answer).unwrap_or(Value::String(answer)),
    )
}

/// Reads all frames of a ring in the background and counts those it lost.
struct Watcher {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<(u64, u64)>>,
}

impl Watcher {
    fn of(watchpost: &Watchpost, camera: &str) -> Self {
        let mut reader =
            shmring_core::Reader::connect(watchpost.socket(camera), Default::default()).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let (mut frames, mut lost, mut last) = (0, 0, None);
            while !stopped.load(Ordering::Relaxed) {
                if let Ok(shmring_core::Event::Frame(frame)) =
                    reader.next(Some(Duration::from_millis(500)))
                {
                    lost += last.map_or(0, |last: u64| frame.number() - last - 1);
                    last = Some(frame.number());
                    frames += 1;
                }
            }
            (frames, lost)
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }

    /// Frames read and frames lost.
    fn finish(mut self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

#[test]
fn cameras_are_added_changed_and_removed_over_http_and_the_other_loses_no_frame() {
    let watchpost = Watchpost::start(CAMERAS);
    let still = watchpost.wait_for("still", "is analysed", |c| !c["detection_frame"].is_null());
    let watcher = Watcher::of(&watchpost, "still");

    // Added.
    let door =
        json!({"source": {"test": "walkers"}, "detect": {"width": 320, "height": 180, "fps": 5}});
    let asked = Instant::now();
    let (code, answer) = change(&watchpost, "PUT", "/api/cameras/door", &door);
    assert_eq!(code, 200, "{answer}");
    assert_eq!(
        answer["actions"],
        json!([{"action": "start", "camera": "door"}])
    );
    let added = watchpost.wait_for("door", "is analysed", |c| !c["detection_frame"].is_null());
    println!(
        "PUT to the first analysed frame seen: {:?}",
        asked.elapsed()
    );
    assert_eq!(
        added["ring"]["slots"], still["ring"]["slots"],
        "the same depth however it came"
    );
    let text = std::fs::read_to_string(watchpost.config_file()).unwrap();
    assert!(
        text.contains("# the house") && text.contains("# never touched"),
        "{text}"
    );
    assert!(text.contains("door:"), "{text}");

    // Added again: nothing to do.
    let (code, answer) = change(&watchpost, "PUT", "/api/cameras/door", &door);
    assert_eq!((code, &answer["actions"]), (200, &json!([])));

    // What can change while it runs.
    let before = watchpost.camera("door");
    let patch = json!({"motion": {"threshold": 40}});
    let (code, answer) = change(&watchpost, "PATCH", "/api/cameras/door", &patch);
    assert_eq!(code, 200, "{answer}");
    assert_eq!(answer["actions"][0]["action"], "update");
    let frame = before["detection_frame"].as_f64();
    let after = watchpost.wait_for("door", "goes on", |c| c["detection_frame"].as_f64() > frame);
    assert_eq!(after["capture_pid"], before["capture_pid"]);

    // Asked only.
    let patch = json!({"detect": {"width": 640, "height": 360}});
    let (code, answer) = change(&watchpost, "PATCH", "/api/cameras/door?dry_run=1", &patch);
    assert_eq!(code, 200, "{answer}");
    assert_eq!(answer["actions"][0]["action"], "restart");
    assert_eq!(
        watchpost.camera("door")["capture_pid"],
        before["capture_pid"]
    );

    // Another size: this camera starts again.
    let (code, answer) = change(&watchpost, "PATCH", "/api/cameras/door", &patch);
    assert_eq!(code, 200, "{answer}");
    let after = watchpost.wait_for("door", "has its new size", |c| {
        c["state"] == "streaming" && c["ring"]["width"] == 640 && c["ring"]["height"] == 360
    });
    assert_ne!(after["capture_pid"], before["capture_pid"]);
    watchpost.wait_for("door", "is analysed again", |c| {
        c["analysis"]["state"] == "running"
    });

    // Disabled and enabled.
    change(
        &watchpost,
        "PATCH",
        "/api/cameras/door",
        &json!({"enabled": false}),
    );
    watchpost.wait_for("door", "is off", |c| {
        c["state"] == "disabled" && c["capture_pid"].is_null()
    });
    change(
        &watchpost,
        "PATCH",
        "/api/cameras/door",
        &json!({"enabled": true}),
    );
    watchpost.wait_streaming("door");

    // Removed: no worker, no socket, no series.
    let (code, answer) = change(&watchpost, "DELETE", "/api/cameras/door", &Value::Null);
    assert_eq!(code, 200, "{answer}");
    eventually("the camera is gone", || {
        watchpost.request("GET", "/api/cameras/door", "", "").0 == 404
            && !watchpost.run_dir().join("door").exists()
            && children(watchpost.pid()).len() == 2
    });
    let (_, metrics) = watchpost.request("GET", "/metrics", "", "");
    assert!(metrics.contains("\"still\"") && !metrics.contains("\"door\""));
    let text = std::fs::read_to_string(watchpost.config_file()).unwrap();
    assert!(
        text.contains("# never touched") && !text.contains("door"),
        "{text}"
    );
    assert_eq!(
        change(&watchpost, "DELETE", "/api/cameras/door", &Value::Null).0,
        404
    );

    let (frames, lost) = watcher.finish();
    let now = watchpost.camera("still");
    assert_eq!(now["capture_pid"], still["capture_pid"]);
    assert_eq!(now["analysis_pid"], still["analysis_pid"]);
    assert!(frames > 10, "{frames}");
    assert_eq!(lost, 0, "of {frames}");
}

#[test]
fn the_file_is_taken_over_when_it_changes_and_kept_out_while_it_is_wrong() {
    let watchpost = Watchpost::start(CAMERAS);
    watchpost.wait_streaming("still");
    let good = std::fs::read_to_string(watchpost.config_file()).unwrap();

    // Written in two steps, as editors do; the last one counts.
    let more = format!(
        "{good}  door:\n    source: {{test: walkers}}\n    detect: {{width: 320, height: 180}}\n"
    );
    std::fs::write(watchpost.config_file(), &more[..good.len() + 20]).unwrap();
    std::fs::write(watchpost.config_file(), &more).unwrap();
    eventually("the new camera is there", || {
        watchpost.request("GET", "/api/cameras/door", "", "").0 == 200
    });
    watchpost.wait_streaming("door");

    // Emptied, as an editor does on a full disk: nobody meant that.
    std::fs::write(watchpost.config_file(), "").unwrap();
    eventually("that the file is empty is told", || {
        let error = watchpost.get("/api/status")["config_error"].clone();
        error.as_str().is_some_and(|e| e.contains("is empty"))
    });
    assert_eq!(watchpost.camera("door")["state"], "streaming");

    // Broken: everything goes on, and the error is to be seen.
    std::fs::write(watchpost.config_file(), "cameras: [").unwrap();
    eventually("the error is told", || {
        let error = watchpost.get("/api/status")["config_error"].clone();
        error.as_str().is_some_and(|e| e.contains("no valid YAML"))
    });
    assert_eq!(watchpost.camera("door")["state"], "streaming");
    assert!(watchpost.log().contains("the last one stays"));
    let (code, answer) = change(&watchpost, "DELETE", "/api/cameras/door", &Value::Null);
    assert_eq!(
        code, 409,
        "somebody's unfinished work would be lost: {answer}"
    );

    // Replaced by another file, as configuration management does.
    let new = watchpost.config_file().with_extension("new");
    std::fs::write(&new, &good).unwrap();
    std::fs::rename(&new, watchpost.config_file()).unwrap();
    eventually("the camera is gone and the error too", || {
        watchpost.get("/api/status")["config_error"].is_null()
            && watchpost.request("GET", "/api/cameras/door", "", "").0 == 404
    });

    // Gone for longer than an editor takes, and back as it was.
    std::fs::rename(watchpost.config_file(), &new).unwrap();
    eventually("a file that is gone is told", || {
        let error = watchpost.get("/api/status")["config_error"].clone();
        error.as_str().is_some_and(|e| e.contains("cannot be read"))
    });
    std::fs::rename(&new, watchpost.config_file()).unwrap();
    eventually("the error is gone with it", || {
        watchpost.get("/api/status")["config_error"].is_null()
    });

    // SIGHUP reads at once.
    std::fs::write(watchpost.config_file(), &more).unwrap();
    watchpost.signal(Signal::HUP);
    eventually("SIGHUP is heard", || watchpost.log().contains("SIGHUP"));
    watchpost.wait_streaming("still");
    watchpost.wait_for("door", "streams", |c| c["state"] == "streaming");
    let log = watchpost.log();
    assert_eq!(log.matches("no `model`").count(), 1, "warned again: {log}");
}

#[test]
fn a_file_that_is_written_in_pieces_counts_once_it_is_whole() {
    let half = format!(
        "{CAMERAS}  door:\n    source: {{test: walkers}}\n    detect: {{width: 320, height: 180}}\n"
    );
    let watchpost = Watchpost::start(&half);
    let file = watchpost.config_file();
    let good = std::fs::read_to_string(&file).unwrap();
    let end = good.find("  door:").unwrap();
    let more = format!(
        "{good}  yard:\n    source: {{test: walkers}}\n    detect: {{width: 320, height: 180}}\n"
    );
    // Another program writes in the same folder all the time, so that there is always a reason to look.
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let begun = Instant::now();
            while !stop.load(Ordering::Relaxed) && begun.elapsed() < 3 * PATIENCE {
                std::fs::write(file.with_extension("other"), "x").unwrap();
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        let deadline = Instant::now() + PATIENCE;
        let before = loop {
            let before = watchpost.wait_streaming("door");
            let begun = Instant::now();
            std::fs::write(&file, &more[..end]).unwrap();
            std::thread::sleep(Duration::from_secs(2));
            std::fs::write(&file, &more).unwrap();
            // On a machine that stood still meanwhile it was a file without a camera.
            if begun.elapsed() < Duration::from_secs(4) {
                break before;
            }
            assert!(Instant::now() < deadline, "the machine is too slow");
        };
        eventually("the new camera is there", || {
            watchpost.request("GET", "/api/cameras/yard", "", "").0 == 200
        });
        let after = watchpost.camera("door");
        assert_eq!(after["capture_pid"], before["capture_pid"]);
        // Those who mean it need a little patience.
        std::fs::write(&file, &good[..end]).unwrap();
        eventually("the camera is removed", || {
            watchpost.request("GET", "/api/cameras/door", "", "").0 == 404
        });
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_camera_with_a_mistake_goes_on_as_it_was_and_the_others_can_be_changed() {
    let watchpost = Watchpost::start(CAMERAS);
    let still = watchpost.wait_streaming("still");
    let good = std::fs::read_to_string(watchpost.config_file()).unwrap();
    let is_as_it_was = || {
        let now = watchpost.camera("still");
        assert_eq!(now["capture_pid"], still["capture_pid"], "{now}");
        assert_eq!(now["state"], "streaming", "{now}");
    };
    std::fs::write(watchpost.config_file(), good.replace("fps: 10", "fsp: 10")).unwrap();
    eventually("the mistake is told", || {
        let error = watchpost.get("/api/status")["config_error"].clone();
        error
            .as_str()
            .is_some_and(|e| e.contains("cameras.still.detect.fsp"))
    });
    is_as_it_was();
    // Nobody waits for whoever made the mistake.
    let door = json!({"source": {"test": "walkers"}, "detect": {"width": 320, "height": 180}});
    let (code, answer) = change(&watchpost, "PUT", "/api/cameras/door", &door);
    assert_eq!(
        (code, &answer["actions"]),
        (200, &json!([{"action": "start", "camera": "door"}])),
        "{answer}"
    );
    watchpost.wait_streaming("door");
    // But another mistake is refused.
    let patch = json!({"detect": {"fps": -1}});
    assert_eq!(
        change(&watchpost, "PATCH", "/api/cameras/door", &patch).0,
        400
    );
    is_as_it_was();
    let text = std::fs::read_to_string(watchpost.config_file()).unwrap();
    assert!(text.contains("fsp: 10") && text.contains("door:"), "{text}");
    // Repaired: nothing has changed, so nothing happens.
    std::fs::write(watchpost.config_file(), text.replace("fsp: 10", "fps: 10")).unwrap();
    eventually("all is well", || {
        watchpost.get("/api/status")["config_error"].is_null()
    });
    is_as_it_was();

    // A camera that goes and comes back with a mistake while its worker still stops is shown, and leaves nothing behind.
    let wrong = "  door:\n    source: {test: walkers}\n    fsp: 1\n";
    let (code, answer) = change(&watchpost, "DELETE", "/api/cameras/door", &Value::Null);
    assert_eq!(code, 200, "{answer}");
    let text = std::fs::read_to_string(watchpost.config_file()).unwrap();
    std::fs::write(watchpost.config_file(), format!("{text}{wrong}")).unwrap();
    watchpost.signal(Signal::HUP);
    eventually("the mistake is shown", || {
        let (code, body) = watchpost.request("GET", "/api/cameras/door", "", "");
        code == 200 && body.contains("unknown key") && children(watchpost.pid()).len() == 2
    });
    assert!(!watchpost.socket("door").exists());
    // It disappears like any other.
    let (code, answer) = change(&watchpost, "DELETE", "/api/cameras/door", &Value::Null);
    let gone = json!([{"action": "stop", "camera": "door", "removed": true}]);
    assert_eq!((code, &answer["actions"]), (200, &gone), "{answer}");
    eventually("it is gone", || {
        watchpost.request("GET", "/api/cameras/door", "", "").0 == 404
    });
    is_as_it_was();
}

#[test]
fn what_is_not_to_be_kept_lasts_until_the_next_start_and_secrets_stay_hidden() {
    let watchpost = Watchpost::start(&format!(
        "{CAMERAS}  far:\n    enabled: false\n    source: {{rtsp: \"rtsp://admin:geheim@127.0.0.1:1/x\"}}\n"
    ));
    let before = std::fs::read_to_string(watchpost.config_file()).unwrap();
    let camera = json!({"source": {"test": "walkers"}, "detect": {"width": 320, "height": 180}});
    let (code, answer) = change(&watchpost, "PUT", "/api/cameras/guest?persist=0", &camera);
    assert_eq!(code, 200, "{answer}");
    watchpost.wait_streaming("guest");
    assert_eq!(
        std::fs::read_to_string(watchpost.config_file()).unwrap(),
        before
    );

    let (_, shown) = watchpost.request("GET", "/api/config", "", "");
    assert!(
        shown.contains("***") && !shown.contains("geheim"),
        "{shown}"
    );
    // What was shown comes back, and means what it was.
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let (code, answer) = change(&watchpost, "POST", "/api/config?dry_run=1", &shown);
    assert_eq!((code, &answer["actions"]), (200, &json!([])), "{answer}");
    let far = &shown["cameras"]["far"];
    let (code, answer) = change(&watchpost, "PUT", "/api/cameras/far", far);
    assert_eq!((code, &answer["actions"]), (200, &json!([])), "{answer}");
    let after = std::fs::read_to_string(watchpost.config_file()).unwrap();
    assert!(
        after.contains("geheim") && !after.contains("guest"),
        "{after}"
    );
}

#[test]
fn what_is_wrong_or_dangerous_is_refused_and_nothing_changes() {
    let watchpost = Watchpost::start(CAMERAS);
    watchpost.wait_streaming("still");
    let before = std::fs::read_to_string(watchpost.config_file()).unwrap();
    let camera = |source: Value| json!({"source": source});
    for (code, path, body) in [
        (
            400,
            "/api/cameras/new",
            json!({"source": {"test": "walkers"}, "detect": {"widht": 1}}),
        ),
        (400, "/api/cameras/still", json!({"detect": {"fps": -1}})),
        (400, "/api/cameras/new", json!([1])),
        (
            400,
            "/api/cameras/new?dry_run=maybe",
            camera(json!({"test": "walkers"})),
        ),
        (
            400,
            "/api/cameras/no..name",
            camera(json!({"test": "walkers"})),
        ),
        (
            403,
            "/api/cameras/new",
            camera(json!({"launch": "videotestsrc"})),
        ),
        (
            403,
            "/api/cameras/new",
            camera(json!({"file": "/etc/passwd"})),
        ),
        (
            403,
            "/api/cameras/new",
            camera(json!({"rtsp": {"url": "rtsp://h/1", "password": "file:/etc/shadow"}})),
        ),
    ] {
        let (got, answer) = change(&watchpost, "PUT", path, &body);
        assert_eq!(got, code, "{path} {body}: {answer}");
        assert!(answer["error"].is_string(), "{answer}");
    }
    assert_eq!(
        change(&watchpost, "PATCH", "/api/cameras/nobody", &json!({})).0,
        404
    );
    // Whoever refuses it, the answer says why in the same form.
    let moving = "/api/cameras/still/moving";
    for (code, method, path, body, said) in [
        (
            405,
            "DELETE",
            "/api/status",
            "",
            "DELETE is not answered at /api/status",
        ),
        (400, "GET", "/api/cameras/%ff", "", "UTF-8"),
        (400, "POST", moving, "{", "EOF"),
        (
            400,
            "POST",
            moving,
            r#"{"moving": "yes"}"#,
            r#"moving: is text "yes", expected true or false"#,
        ),
        (
            400,
            "POST",
            "/api/cameras/still/tasks/series",
            "{",
            "no JSON: EOF",
        ),
    ] {
        let (got, answer) = watchpost.request(method, path, JSON, body);
        assert_eq!(got, code, "{method} {path}: {answer}");
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        let error = answer["error"].as_str().expect("an error");
        assert!(error.contains(said), "{error}");
    }
    let good = camera(json!({"test": "walkers"})).to_string();
    for (code, headers) in [
        (415, ""),
        (415, "Content-Type: text/plain\r\n"),
        (
            403,
            "Content-Type: application/json\r\nOrigin: http://evil.example\r\n",
        ),
    ] {
        let (got, answer) = watchpost.request("PUT", "/api/cameras/new", headers, &good);
        assert_eq!(got, code, "{headers}: {answer}");
    }
    let big = format!("{{\"x\": \"{}\"}}", "y".repeat(2 << 20));
    let (got, answer) = watchpost.request("PUT", "/api/cameras/new", JSON, &big);
    assert_eq!(got, 413);
    assert!(
        answer.contains("the body is too large: 1048576 bytes"),
        "{answer}"
    );
    assert_eq!(
        std::fs::read_to_string(watchpost.config_file()).unwrap(),
        before
    );
    assert_eq!(watchpost.get("/api/cameras").as_array().unwrap().len(), 1);
}

#[test]
fn sixteen_cameras_stop_together() {
    let mut text = String::from("cameras:\n");
    for i in 0..16 {
        text += &format!(
            "  c{i}:\n    source: {{test: {{scene: walkers, width: 128, height: 96, fps: 2}}}}\n    detect: {{width: 128, height: 96, fps: 2}}\n"
        );
    }
    let mut watchpost = Watchpost::start(&text);
    let ready = testkit::find_within(2 * PATIENCE, || {
        (watchpost.request("GET", "/readyz", "", "").0 == 200).then_some(())
    });
    assert!(ready.is_some(), "{}", watchpost.log());
    let workers = children(watchpost.pid());
    assert_eq!(workers.len(), 17);
    let asked = Instant::now();
    watchpost.signal(Signal::TERM);
    assert_eq!(watchpost.wait().code(), Some(0));
    println!("16 cameras stopped in {:?}", asked.elapsed());
    assert!(workers.iter().all(|pid| !crate::support::lives(*pid)));
    assert!(!watchpost.run_dir().exists());
}

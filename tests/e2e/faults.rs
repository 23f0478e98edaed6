//! Cameras and workers that misbehave in ways only Watchpost's own eyes can see.

use crate::support::{Watchpost, kill, stop_still};
use rustix::process::Signal;
use serde_json::Value;
use std::os::unix::fs::FileExt;

/// A camera with a scripted scene, small enough for any machine.
fn camera(name: &str, scene: &str, more: &str) -> String {
    format!(
        "  {name}:\n    source: {{test: {{scene: \"{scene}\", width: 128, height: 96, fps: 5}}}}\n    detect: {{width: 128, height: 96, fps: 5}}\n{more}"
    )
}

#[test]
fn a_frozen_picture_and_an_impossible_rate_start_the_camera_again() {
    let watchpost = Watchpost::start(&format!(
        "cameras:\n{}{}{}{}",
        camera("alive", "walkers", "    freeze_timeout: 2\n"),
        camera("frozen", "walkers,freeze@1s", "    freeze_timeout: 2\n"),
        camera("picture", "walkers,freeze@1s", "    freeze_timeout: 0\n"),
        camera("rushing", "still,fps=900@1s", ""),
    ));
    for (name, sign) in [
        ("frozen", "the picture has not changed for 2 s"),
        ("rushing", "more than any camera has"),
    ] {
        watchpost.wait_for(name, "is seen through", |c| c["stalls_last_hour"] == 1);
        watchpost.wait_for(name, "starts again", |c| {
            c["state"] == "streaming" && c["reconnects_last_hour"].as_u64().unwrap() >= 1
        });
        assert!(watchpost.log().contains(sign), "{}", watchpost.log());
    }
    for name in ["alive", "picture"] {
        let camera = watchpost.camera(name);
        assert_eq!(camera["state"], "streaming", "{camera}");
        assert_eq!(camera["stalls_last_hour"], 0, "{camera}");
    }
}

#[test]
fn garbage_and_half_pictures_hurt_nobody() {
    let watchpost = Watchpost::start(&format!(
        "cameras:\n{}{}{}",
        camera("good", "walkers", ""),
        camera("garbage", "walkers,garbage@1s+2s/4s", ""),
        camera("half", "walkers,truncate@1s+1s/3s", "")
    ));
    let before = watchpost.wait_for("good", "is analysed", |c| {
        c["analysis"]["state"] == "running"
    });
    let garbage = watchpost.wait_for("garbage", "has frames of noise behind it", |c| {
        c["ring"]["written"].as_u64().is_some_and(|n| n > 30) && c["analysis"]["state"] == "running"
    });
    assert_eq!(garbage["reconnects_last_hour"], 0, "{garbage}");
    let half = watchpost.wait_for("half", "goes on behind half pictures", |c| {
        c["state"] == "streaming"
            && c["ring"]["written"].as_u64().is_some_and(|n| n > 30)
            && c["analysis"]["state"] == "running"
    });
    let after = watchpost.camera("good");
    assert_eq!(after["capture_pid"], before["capture_pid"]);
    assert_eq!(after["analysis_pid"], before["analysis_pid"], "{half}");
    assert_eq!(after["reconnects_last_hour"], 0);
}

#[test]
fn a_camera_that_refuses_waits_for_minutes_and_a_change_ends_the_wait() {
    let watchpost = Watchpost::start(&format!(
        "cameras:\n{}{}",
        camera("refused", "walkers,auth@0s", ""),
        camera("dropped", "walkers,disconnect@1s", "")
    ));
    let refused = watchpost.wait_for("refused", "is refused", |c| c["state"] == "auth-failed");
    assert!(refused["reason"].is_string(), "{refused}");
    // One that only lost its connection has come back meanwhile; this one has not been tried again.
    watchpost.wait_for("dropped", "comes back", |c| {
        c["reconnects_last_hour"].as_u64().unwrap() >= 2
    });
    let refused = watchpost.camera("refused");
    assert_eq!(refused["state"], "auth-failed", "{refused}");
    assert_eq!(refused["reconnects_last_hour"], 0);
    let headers = "Content-Type: application/json\r\n";
    let body =
        r#"{"source": {"test": {"scene": "walkers", "width": 128, "height": 96, "fps": 5}}}"#;
    let (code, answer) = watchpost.request("PATCH", "/api/cameras/refused", headers, body);
    assert_eq!(code, 200, "{answer}");
    watchpost.wait_streaming("refused");
}

/// Ends the analysis worker of a camera as if it had died of its frame: stopped, so that it marks nothing itself any
/// more, then marked, then ended by a signal that waits for it when it goes on. (A SIGKILL accuses nobody.)
fn die_at_work(watchpost: &Watchpost, name: &str, marks: &str) -> Value {
    let before = watchpost.wait_for(name, "is analysed", |c| {
        c["analysis"]["state"] == "running" && !c["analysis_pid"].is_null()
    });
    let pid = before["analysis_pid"].as_u64().unwrap() as u32;
    stop_still(pid);
    let file = std::fs::File::options()
        .write(true)
        .open(watchpost.run_dir().join(marks))
        .unwrap();
    // The first camera has the first mark, and nobody else is at work.
    file.write_all_at(&[1, 0], 0).unwrap();
    kill(pid, Signal::USR1);
    kill(pid, Signal::CONT);
    watchpost.wait_for(name, "has lost its worker", |c| {
        c["analysis_pid"] != before["analysis_pid"]
    })
}

#[test]
fn a_camera_that_kills_the_analysis_gets_its_own_and_is_then_given_up() {
    let watchpost = Watchpost::start(&format!(
        "cameras:\n{}{}",
        camera("a-poison", "walkers", ""),
        camera("b-good", "walkers", "")
    ));
    let capture = watchpost.wait_streaming("a-poison")["capture_pid"].clone();
    for _ in 0..3 {
        die_at_work(&watchpost, "a-poison", "analysis.marks");
    }
    let own = watchpost.wait_for("a-poison", "has a worker of its own", |c| {
        c["analysis"]["own_worker"] == true && c["analysis"]["state"] == "running"
    });
    let good = watchpost.wait_for("b-good", "is analysed", |c| {
        c["analysis"]["state"] == "running"
    });
    assert_ne!(own["analysis_pid"], good["analysis_pid"]);
    assert_eq!(good["analysis"]["own_worker"], false);

    die_at_work(&watchpost, "a-poison", "analysis-a-poison.marks");
    let given_up = watchpost.wait_for("a-poison", "is given up", |c| {
        c["analysis"]["state"] == "failed"
    });
    let reason = given_up["analysis"]["reason"].as_str().unwrap();
    assert!(reason.contains("died repeatedly"), "{reason}");
    // Its pictures go on, and the other one has noticed nothing of this last death.
    assert_eq!(given_up["capture_pid"], capture);
    assert_eq!(given_up["state"], "streaming");
    let now = watchpost.camera("b-good");
    assert_eq!(now["analysis_pid"], good["analysis_pid"]);
    assert_eq!(now["analysis"]["state"], "running");
}

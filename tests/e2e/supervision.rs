//! Workers die, cameras misbehave, everything stops: what the others notice, and what is left.

use crate::support::{PROGRAM, Watchpost, children, eventually, kill, lives};
use rustix::process::Signal;
use std::time::Duration;

fn cameras(list: &[(&str, &str)]) -> String {
    let mut text = String::from("cameras:\n");
    for (name, source) in list {
        text += &format!(
            "  {name}:\n    source: {{{source}}}\n    detect: {{width: 320, height: 180, fps: 10}}\n    stall_timeout: 2\n"
        );
    }
    text
}

fn pid(camera: &serde_json::Value, which: &str) -> u32 {
    camera[which].as_u64().expect("a pid") as u32
}

#[test]
fn a_killed_capture_worker_is_replaced_and_the_other_camera_loses_no_frame() {
    let watchpost = Watchpost::start(&cameras(&[("a", "test: walkers"), ("b", "test: walkers")]));
    watchpost.wait_streaming("a");
    watchpost.wait_streaming("b");
    let mut reader =
        shmring_core::Reader::connect(watchpost.socket("b"), Default::default()).unwrap();
    let mut last: Option<u64> = None;
    let mut frames = 0;
    let mut gaps = 0;
    let mut read_some = |until: &dyn Fn() -> bool| {
        while !until() {
            match reader.next(Some(Duration::from_secs(5))).unwrap() {
                shmring_core::Event::Frame(frame) => {
                    gaps += last.map_or(0, |last| frame.number() - last - 1);
                    last = Some(frame.number());
                    frames += 1;
                }
                shmring_core::Event::Stream { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    };
    for _ in 0..3 {
        let before = watchpost.wait_streaming("a");
        let killed = pid(&before, "capture_pid");
        kill(killed, Signal::KILL);
        read_some(&|| {
            let now = watchpost.camera("a");
            now["state"] == "streaming"
                && now["capture_pid"]
                    .as_u64()
                    .is_some_and(|p| p != u64::from(killed))
        });
    }
    let a = watchpost.camera("a");
    assert!(a["reconnects_last_hour"].as_u64().unwrap() >= 3, "{a}");
    assert_eq!(watchpost.camera("b")["reconnects_last_hour"], 0);
    assert!(frames > 3, "{frames}");
    assert_eq!(gaps, 0, "frames lost of {frames}");
}

#[test]
fn a_killed_analysis_worker_is_replaced_and_capture_goes_on() {
    let watchpost = Watchpost::start(&cameras(&[("a", "test: walkers")]));
    let analysed = |c: &serde_json::Value| {
        c["analysis"]["state"] == "running" && !c["detection_frame"].is_null()
    };
    let before = watchpost.wait_for("a", "is analysed", analysed);
    kill(pid(&before, "analysis_pid"), Signal::KILL);
    let after = watchpost.wait_for("a", "is analysed again", |c| {
        analysed(c)
            && c["analysis_pid"] != before["analysis_pid"]
            && c["detection_frame"].as_f64() > before["detection_frame"].as_f64()
    });
    assert_eq!(after["capture_pid"], before["capture_pid"]);
    assert_eq!(after["reconnects_last_hour"], 0);
    assert_eq!(after["ring"]["generation"], before["ring"]["generation"]);
}

#[test]
fn workers_are_replaced_after_the_program_was_upgraded() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("watchpost");
    std::fs::copy(crate::support::PROGRAM, &program).unwrap();
    let watchpost = Watchpost::start_program(&program, &cameras(&[("a", "test: walkers")]));
    let before = watchpost.wait_streaming("a");
    // As package managers do it: another file of the same name. This one cannot even be started.
    let next = folder.path().join("next");
    std::fs::write(&next, "another version").unwrap();
    std::fs::rename(&next, &program).unwrap();
    kill(pid(&before, "capture_pid"), Signal::KILL);
    watchpost.wait_for("a", "is replaced", |c| {
        c["state"] == "streaming" && c["capture_pid"] != before["capture_pid"]
    });
}

#[test]
fn cameras_keep_their_common_analysis_however_often_it_is_killed() {
    let watchpost = Watchpost::start(&cameras(&[("a", "test: walkers"), ("b", "test: walkers")]));
    let marks = watchpost.run_dir().join("analysis.marks");
    for _ in 0..3 {
        let a = watchpost.wait_for("a", "is analysed", |c| c["analysis"]["state"] == "running");
        let analysis = pid(&a, "analysis_pid");
        // All are found at work.
        kill(analysis, Signal::STOP);
        std::fs::write(&marks, [1; 16]).unwrap();
        kill(analysis, Signal::KILL);
        watchpost.wait_for("a", "is analysed by another", |c| {
            c["analysis"]["state"] == "running" && pid(c, "analysis_pid") != analysis
        });
    }
    for name in ["a", "b"] {
        let camera = watchpost.camera(name);
        assert_eq!(camera["analysis"]["own_worker"], false, "{camera}");
    }
}

#[test]
fn a_stopped_capture_worker_is_seen_as_stalled_and_replaced() {
    let watchpost = Watchpost::start(&cameras(&[("a", "test: walkers")]));
    let before = watchpost.wait_streaming("a");
    // It cannot say anything itself any more.
    kill(pid(&before, "capture_pid"), Signal::STOP);
    let after = watchpost.wait_for("a", "is replaced", |c| {
        c["state"] == "streaming" && c["capture_pid"] != before["capture_pid"]
    });
    assert_eq!(after["stalls_last_hour"], 1);
    eventually("the stopped worker is gone", || {
        !lives(pid(&before, "capture_pid"))
    });
}

#[test]
fn a_source_that_stalls_comes_back() {
    let watchpost = Watchpost::start(&cameras(&[("a", "test: \"walkers,stall@2s+60s\"")]));
    watchpost.wait_streaming("a");
    let stalled = watchpost.wait_for("a", "stalls", |c| c["stalls_last_hour"] == 1);
    assert!(
        stalled["reason"].is_null() || stalled["reason"].as_str().unwrap().contains("no frame")
    );
    watchpost.wait_for("a", "streams again", |c| {
        c["state"] == "streaming" && c["reconnects_last_hour"].as_u64().unwrap() >= 1
    });
}

#[test]
fn a_stop_leaves_nothing_behind() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut watchpost = Watchpost::start(&cameras(&[
            ("a", "test: walkers"),
            ("b", "test: walkers"),
            ("c", "rtsp: \"rtsp://127.0.0.1:1/x\""),
        ]));
        watchpost.wait_streaming("a");
        watchpost.wait_for("b", "is analysed", |c| c["analysis"]["state"] == "running");
        assert!(watchpost.socket("a").exists());
        let shm_before = segments();
        let workers = children(watchpost.pid());
        assert!(workers.len() >= 3, "{workers:?}");
        watchpost.signal(signal);
        let status = watchpost.wait();
        assert_eq!(status.code(), Some(0), "{}", watchpost.log());
        for worker in workers {
            assert!(!lives(worker), "worker {worker} lives on");
        }
        assert!(!watchpost.run_dir().exists(), "the run_dir is still there");
        assert!(segments().iter().all(|s| shm_before.contains(s)));
    }
}

#[test]
fn a_stop_while_the_configuration_changes_ends_cleanly() {
    let mut watchpost = Watchpost::start(&cameras(&[("a", "test: walkers")]));
    watchpost.wait_streaming("a");
    // Changes of which the first are carried out and the last are still read when the signal comes.
    let header = "Content-Type: application/json\r\n";
    let change =
        r#"{"source": {"test": "still"}, "detect": {"width": 64, "height": 64, "fps": 2}}"#;
    let requests: Vec<_> = (0..20)
        .map(|n| watchpost.send("PUT", &format!("/api/cameras/c{n}"), header, change))
        .collect();
    eventually("the first new camera is there", || {
        children(watchpost.pid()).len() >= 4 || watchpost.log().contains("c0")
    });
    let workers = children(watchpost.pid());
    watchpost.signal(Signal::TERM);
    let status = watchpost.wait();
    assert_eq!(status.code(), Some(0), "{}", watchpost.log());
    drop(requests);
    for worker in workers {
        assert!(!lives(worker), "worker {worker} lives on");
    }
    assert!(!watchpost.run_dir().exists(), "the run_dir is still there");
    let check = crate::support::watchpost()
        .arg("check")
        .arg(watchpost.config_file())
        .output()
        .unwrap();
    assert!(check.status.success(), "{check:?}");
}

#[test]
fn workers_end_when_the_supervisor_is_killed_and_the_next_run_cleans_up() {
    let mut watchpost = Watchpost::start(&cameras(&[("a", "test: walkers")]));
    watchpost.wait_for("a", "is analysed", |c| c["analysis"]["state"] == "running");
    let workers = children(watchpost.pid());
    watchpost.signal(Signal::KILL);
    watchpost.wait();
    for worker in workers {
        eventually("the worker ends", || !lives(worker));
    }
    let leftover = watchpost.run_dir().join("watchpost.lock");
    assert!(leftover.exists(), "nobody was left to remove it");
    let mut again = crate::support::watchpost()
        .args(["run", "-c"])
        .arg(watchpost.config_file())
        .stderr(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let connects =
        || shmring_core::Reader::connect(watchpost.socket("a"), Default::default()).is_ok();
    eventually("the next run serves the socket", connects);
    kill(again.id(), Signal::TERM);
    assert_eq!(again.wait().unwrap().code(), Some(0));
    // The folder was there before this run, so it stays; nothing is in it.
    let left: Vec<_> = std::fs::read_dir(watchpost.run_dir()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Names in /dev/shm.
fn segments() -> Vec<std::ffi::OsString> {
    std::fs::read_dir("/dev/shm").map_or_else(
        |_| Vec::new(),
        |entries| entries.flatten().map(|e| e.file_name()).collect(),
    )
}

#[test]
fn a_limit_of_processes_that_is_too_low_is_named() {
    // The limit is one of a user's processes together, and not for root: it takes a user that nobody is.
    let nobody = 100_000 + std::process::id();
    let as_nobody = format!("--reuid={nobody}");
    let may_be = std::process::Command::new("setpriv")
        .args([&as_nobody, "--clear-groups", "test", "-x", PROGRAM])
        .status();
    if !may_be.is_ok_and(|status| status.success()) {
        eprintln!(
            "SKIPPED: another user cannot start {PROGRAM} (run as root, in a folder that all may enter)"
        );
        return;
    }
    let script = format!(
        "chown -R {nobody} \"$(dirname \"$FILE\")\"
         exec setpriv {as_nobody} --clear-groups prlimit --nproc=40 \"$0\" \"$@\""
    );
    let mut command = std::process::Command::new("sh");
    command
        .args(["-ec", &script, PROGRAM])
        .stdin(std::process::Stdio::null());
    let watchpost = Watchpost::start_by(command, &format!("cameras:\n{}", still_cameras(12)));
    eventually(
        "a camera whose worker had no thread says which limit is too low",
        || {
            watchpost.log().lines().any(|line| {
                line.contains("thread: Resource temporarily unavailable")
                    && line.contains("`ulimit -u`")
            })
        },
    );
}

/// So many cameras that cost next to nothing.
fn still_cameras(count: usize) -> String {
    let line = |n| {
        format!("  c{n}: {{source: {{test: {{scene: still, width: 64, height: 64, fps: 2}}}}}}\n")
    };
    (0..count).map(line).collect()
}

#[test]
fn a_low_soft_limit_of_open_files_stops_no_camera() {
    // Each camera takes five of the supervisor, so that without more the last ones had none.
    let mut command = std::process::Command::new("sh");
    command
        .args(["-c", "ulimit -Sn 40; exec \"$0\" \"$@\"", PROGRAM])
        .stdin(std::process::Stdio::null());
    let watchpost = Watchpost::start_by(command, &format!("cameras:\n{}", still_cameras(10)));
    for n in 0..10 {
        watchpost.wait_streaming(&format!("c{n}"));
    }
}

#[test]
fn workers_do_not_inherit_secrets_of_the_environment() {
    let mut command = std::process::Command::new(PROGRAM);
    command
        .env("CAMERA_PASSWORD", "geheim-4711")
        .stdin(std::process::Stdio::null());
    let watchpost = Watchpost::start_by(
        command,
        "cameras:
  a:
    source: {test: walkers}
  b:
    source: {rtsp: {url: \"rtsp://127.0.0.1:1/x\", user: u, password: \"${CAMERA_PASSWORD}\"}}
",
    );
    let a = watchpost.wait_for("a", "is analysed", |c| c["analysis"]["state"] == "running");
    let has_secret = |pid: u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
        String::from_utf8_lossy(&environment).contains("geheim-4711")
    };
    assert!(has_secret(watchpost.pid()), "the supervisor needs it");
    for worker in ["capture_pid", "analysis_pid"] {
        assert!(!has_secret(pid(&a, worker)), "{worker}");
    }
}

#[test]
fn the_supervisors_own_sleep_replaces_no_worker() {
    let watchpost = Watchpost::start(&cameras(&[("a", "test: walkers")]));
    let before = watchpost.wait_for("a", "is analysed", |c| {
        c["analysis"]["state"] == "running" && !c["detection_frame"].is_null()
    });
    watchpost.signal(Signal::STOP);
    // Longer than a worker may be silent.
    std::thread::sleep(Duration::from_secs(12));
    watchpost.signal(Signal::CONT);
    let after = watchpost.wait_for("a", "is analysed after that", |c| {
        c["detection_frame"].as_f64() > before["detection_frame"].as_f64().map(|at| at + 12.0)
    });
    for worker in ["capture_pid", "analysis_pid"] {
        assert_eq!(after[worker], before[worker], "{worker}");
    }
}

//! What the machine does to us: files that are mounts, workers the kernel does not let go, systemd that wants to hear from us.

use crate::support::{PATIENCE, Watchpost, eventually, in_own_mounts, lives, watchpost};
use rustix::process::Signal;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

const JSON: &str = "Content-Type: application/json\r\n";
const CAMERA: &str = "cameras:\n  a:\n    source: {test: {scene: walkers, width: 128, height: 96, fps: 5}}\n    detect: {width: 128, height: 96, fps: 5}\n    stall_timeout: 2\n";

#[test]
fn a_configuration_file_that_is_a_mount_is_written_in_place_after_a_copy() {
    let Some(command) = in_own_mounts("mount --bind \"$FILE\" \"$FILE\"") else {
        return;
    };
    let watchpost = Watchpost::start_by(command, CAMERA);
    watchpost.wait_streaming("a");
    let before = std::fs::read_to_string(watchpost.config_file()).unwrap();
    let body = r#"{"friendly_name": "Door"}"#;
    let (code, answer) = watchpost.request("PATCH", "/api/cameras/a", JSON, body);
    assert_eq!(code, 200, "{answer}");
    // The same file is seen out here.
    let after = std::fs::read_to_string(watchpost.config_file()).unwrap();
    assert!(after.contains("Door"), "{after}");
    let copy = watchpost.config_file().with_extension("yaml.before");
    assert_eq!(std::fs::read_to_string(copy).unwrap(), before);
    assert_eq!(watchpost.camera("a")["friendly_name"], "Door");
}

#[test]
fn a_disk_that_is_full_at_the_start_keeps_no_camera_from_being_analysed() {
    // The database is there from a run before; in the mount namespace it lies on a small disk without room.
    let script = "data=\"$(dirname \"$FILE\")/data\"
        cp -a \"$data\" \"$data.before\"
        mount -t tmpfs -o size=2m full \"$data\"
        cp -a \"$data.before/.\" \"$data\"
        cat /dev/zero > \"$data/filler\" || true";
    let Some(command) = in_own_mounts(script) else {
        return;
    };
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    crate::support::write_config(folder.path(), CAMERA);
    let mut first = Watchpost::start_in(folder.clone(), watchpost());
    first.wait_for("a", "is analysed", |c| c["analysis"]["state"] == "running");
    first.signal(Signal::TERM);
    assert_eq!(first.wait().code(), Some(0), "{}", first.log());

    let full = Watchpost::start_in(folder, command);
    full.wait_for("a", "is analysed without room on the disk", |c| {
        c["analysis"]["state"] == "running" && !c["detection_frame"].is_null()
    });
    eventually("the log says what is not kept", || {
        full.log().contains("store")
    });
    let log = full.log();
    let messages = log
        .lines()
        .filter(|line| line.contains("a batch could not be written"));
    assert!(messages.count() <= 1, "{log}");
}

#[test]
fn where_the_file_cannot_be_written_a_change_is_refused_unless_it_is_not_to_be_kept() {
    let script = "mount --bind \"$FILE\" \"$FILE\" && mount -o remount,bind,ro \"$FILE\"";
    let Some(command) = in_own_mounts(script) else {
        return;
    };
    let watchpost = Watchpost::start_by(command, CAMERA);
    watchpost.wait_streaming("a");
    let body = r#"{"friendly_name": "Door"}"#;
    let (code, answer) = watchpost.request("PATCH", "/api/cameras/a", JSON, body);
    assert_eq!(code, 409, "{answer}");
    assert!(answer.contains("persist=0"), "{answer}");
    assert!(watchpost.camera("a")["friendly_name"].is_null());
    let (code, answer) = watchpost.request("PATCH", "/api/cameras/a?persist=0", JSON, body);
    assert_eq!(code, 200, "{answer}");
    assert_eq!(watchpost.camera("a")["friendly_name"], "Door");
}

/// A cgroup whose processes the kernel holds in uninterruptible sleep: SIGKILL does not reach them.
struct Freezer(PathBuf);

impl Freezer {
    fn new() -> Option<Self> {
        let name = format!("watchpost-test-{}", std::process::id());
        let folder = Path::new("/sys/fs/cgroup/freezer").join(name);
        match std::fs::create_dir(&folder) {
            Ok(()) => Some(Self(folder)),
            Err(error) => {
                eprintln!("SKIPPED: no cgroup v1 freezer to be had here: {error}");
                None
            }
        }
    }

    fn freeze(&self, pid: u32) {
        std::fs::write(self.0.join("cgroup.procs"), pid.to_string()).unwrap();
        std::fs::write(self.0.join("freezer.state"), "FROZEN").unwrap();
    }

    fn thaw(&self) {
        let _ = std::fs::write(self.0.join("freezer.state"), "THAWED");
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        self.thaw();
        testkit::find_within(PATIENCE, || std::fs::remove_dir(&self.0).ok());
    }
}

#[test]
fn a_worker_in_uninterruptible_sleep_is_reported_as_such_and_replaced() {
    let Some(freezer) = Freezer::new() else {
        return;
    };
    let watchpost = Watchpost::start(CAMERA);
    let before = watchpost.wait_streaming("a");
    let stuck = before["capture_pid"].as_u64().unwrap() as u32;
    freezer.freeze(stuck);
    let after = watchpost.wait_for("a", "is replaced", |c| {
        c["state"] == "streaming" && c["capture_pid"] != before["capture_pid"]
    });
    assert!(lives(stuck), "it was to outlive its SIGKILL");
    let log = watchpost.log();
    assert!(log.contains("uninterruptible sleep"), "{log}");
    assert_eq!(after["stalls_last_hour"], 1, "{after}");
    watchpost.wait_for("a", "is analysed", |c| c["analysis"]["state"] == "running");
    // The kernel lets it go at last, and nothing of it is left.
    freezer.thaw();
    eventually("the stuck worker is gone", || !lives(stuck));
    eventually("that is told", || {
        watchpost.log().contains("the stuck worker is gone")
    });
    assert_eq!(watchpost.camera("a")["capture_pid"], after["capture_pid"]);
}

/// The next word to systemd; `None` after some silence.
fn hear(socket: &UnixDatagram) -> Option<String> {
    let mut text = [0; 256];
    let length = socket.recv(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text[..length]).into_owned())
}

#[test]
fn systemd_hears_from_the_supervisor_also_while_the_disk_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = watchpost();
    command
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "600000");
    let mut watchpost = Watchpost::start_by(
        command,
        &CAMERA.replace("  a:\n", "  a:\n    enabled: false\n"),
    );
    assert_eq!(hear(&socket).as_deref(), Some("READY=1"));
    for _ in 0..3 {
        assert_eq!(hear(&socket).as_deref(), Some("WATCHDOG=1"));
    }

    // A disk that takes nothing holds up nobody: a camera comes, and streams; it is analysed once its ids are on the disk.
    let database = watchpost.config_file().with_file_name("data/watchpost.db");
    let disk = rusqlite::Connection::open(database).unwrap();
    disk.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let body = r#"{"enabled": true}"#;
    assert_eq!(
        watchpost.request("PATCH", "/api/cameras/a", JSON, body).0,
        200
    );
    let camera = watchpost.wait_streaming("a");
    assert_eq!(camera["analysis"]["state"], "waiting", "{camera}");
    for _ in 0..5 {
        assert_eq!(hear(&socket).as_deref(), Some("WATCHDOG=1"));
    }
    let camera = watchpost.camera("a");
    assert_eq!(camera["analysis"]["state"], "waiting", "{camera}");
    disk.execute_batch("ROLLBACK").unwrap();
    watchpost.wait_for("a", "is analysed", |c| c["analysis"]["state"] == "running");

    watchpost.signal(Signal::TERM);
    assert_eq!(watchpost.wait().code(), Some(0));
    socket.set_nonblocking(true).unwrap();
    let mut last_words = std::iter::from_fn(|| hear(&socket));
    assert!(last_words.any(|word| word == "STOPPING=1"));
}

#[test]
fn sighup_reads_again_what_an_unchanged_file_refers_to() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("camera-url");
    std::fs::write(&secret, "rtsp://127.0.0.1:1/first").unwrap();
    let watchpost = Watchpost::start(&format!(
        "cameras:\n  a:\n    source: {{rtsp: \"file:{}\"}}\n",
        secret.display()
    ));
    let tried = |what: &'static str| {
        move |c: &serde_json::Value| c["reason"].as_str().is_some_and(|r| r.contains(what))
    };
    watchpost.wait_for("a", "is tried", tried("/first"));
    std::fs::write(&secret, "rtsp://127.0.0.1:1/second").unwrap();
    watchpost.signal(Signal::HUP);
    watchpost.wait_for("a", "is tried at its new address", tried("/second"));
}

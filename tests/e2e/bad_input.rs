//! What users get wrong: each time a clear message, and the rest keeps running.

use crate::support::{PATIENCE, Watchpost, shared, watchpost, write_config};
use std::net::TcpListener;
use std::process::Stdio;

/// A camera that needs nothing.
const GOOD: &str = "  good:\n    source: {test: walkers}\n    detect: {width: 320, height: 180}\n";

#[test]
fn an_unknown_key_is_named_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = write_config(
        folder.path(),
        "cameras:\n  front:\n    source: {test: walkers}\n    detect: {widht: 320}\n",
    );
    let output = watchpost().arg("check").arg(&file).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let place = format!("{}:7:", file.display());
    assert!(text.contains(&place), "{text}");
    assert!(text.contains("cameras.front.detect.widht"), "{text}");
    assert!(text.contains("width"), "the nearest known key: {text}");
}

#[test]
fn a_camera_with_a_mistake_is_left_out_and_the_others_run() {
    let watchpost = Watchpost::start(&format!(
        "cameras:\n{GOOD}  bad:\n    source: {{test: walkers}}\n    detect: {{widht: 320}}\n"
    ));
    watchpost.wait_streaming("good");
    let bad = watchpost.camera("bad");
    assert_eq!(bad["state"], "failed");
    assert!(bad["reason"].as_str().unwrap().contains("widht"), "{bad}");
    let (code, body) = watchpost.request("GET", "/readyz", "", "");
    assert_eq!(code, 503, "{body}");
    assert!(
        body.contains("\"bad\"") && !body.contains("\"good\""),
        "{body}"
    );
}

/// How `watchpost run` with this configuration ends that cannot be run: what it says.
fn refused(folder: &std::path::Path, rest: &str) -> String {
    let file = write_config(folder, rest);
    let output = watchpost().args(["run", "-c"]).arg(&file).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    text
}

#[test]
fn a_mistake_in_http_lets_nobody_in() {
    let folder = tempfile::tempdir().unwrap();
    let text = refused(
        folder.path(),
        "http: {listen: \"127.0.0.1:0\", tokens: [{tken: geheim}]}\n",
    );
    assert!(text.contains("did you mean `token`"), "{text}");
    assert!(text.contains("nothing is started"), "{text}");
}

#[test]
fn two_with_one_data_dir_are_refused() {
    let first = Watchpost::start("");
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(first.data_dir(), folder.path().join("data")).unwrap();
    let text = refused(folder.path(), "");
    let holder = format!("another watchpost (pid {}) uses it", first.pid());
    assert!(
        text.contains("data_dir") && text.contains(&holder),
        "{text}"
    );
    assert!(!first.data_dir().join("watchpost.lock").exists());
}

/// Runs a camera with this model and answers with why there is no detection; the camera streams all the same.
fn detection_fault(model: &str) -> String {
    let watchpost = Watchpost::start(&format!("model: {{path: {model}}}\ncameras:\n{GOOD}"));
    watchpost.wait_streaming("good");
    let camera = watchpost.wait_for("good", "says why there is no detection", |c| {
        c["analysis"]["state"] == "failed"
    });
    assert_eq!(camera["state"], "streaming", "{camera}");
    assert!(
        camera["reason"]
            .as_str()
            .unwrap()
            .starts_with("no detection: ")
    );
    let written = camera["ring"]["written"].as_u64().unwrap();
    watchpost.wait_for("good", "goes on", |c| {
        c["ring"]["written"].as_u64().unwrap() > written
    });
    camera["analysis"]["reason"].as_str().unwrap().to_owned()
}

#[test]
fn a_missing_model_is_named_and_the_camera_streams() {
    let reason = detection_fault("/nowhere/model.onnx");
    assert!(reason.contains("/nowhere/model.onnx"), "{reason}");
}

#[test]
fn a_model_that_is_no_onnx_file_is_named_and_the_camera_streams() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notes.onnx");
    std::fs::write(&file, "this is not a model").unwrap();
    let reason = detection_fault(&file.display().to_string());
    assert!(reason.contains("notes.onnx"), "{reason}");
}

#[test]
fn a_model_that_comes_later_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.onnx");
    let watchpost = Watchpost::start(&format!(
        "model: {{path: {}}}\ncameras:\n{GOOD}",
        file.display()
    ));
    watchpost.wait_for("good", "has no detection", |c| {
        c["analysis"]["state"] == "failed"
    });
    let demo = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../pipelines/demo-model/demo.onnx"
    );
    std::fs::copy(demo, &file).unwrap();
    let running = watchpost.wait_for("good", "is analysed", |c| {
        c["analysis"]["state"] == "running"
    });
    assert!(running["reason"].is_null(), "{running}");
    let frame = running["detection_frame"].as_f64().unwrap();
    watchpost.wait_for("good", "stays so", |c| {
        c["analysis"]["state"] == "running" && c["detection_frame"].as_f64().unwrap() > frame + 1.5
    });
}

#[test]
fn an_unreachable_camera_backs_off_with_its_address_and_without_its_password() {
    // A port nobody listens on: taken, and given back.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let watchpost = Watchpost::start(&format!(
        "cameras:\n{GOOD}  gone:\n    source: {{rtsp: \"rtsp://admin:geheim@127.0.0.1:{port}/x\"}}\n"
    ));
    watchpost.wait_streaming("good");
    let gone = watchpost.wait_for("gone", "backs off", |c| c["state"] == "backing-off");
    let reason = gone["reason"].as_str().unwrap();
    assert!(reason.contains(&format!("127.0.0.1:{port}")), "{reason}");
    watchpost.wait_for("gone", "tries again", |c| {
        c["reconnects_last_hour"].as_u64().unwrap() >= 2
    });
    let everything = watchpost.get("/api/status").to_string() + &watchpost.log();
    assert!(!everything.contains("geheim"), "{everything}");
}

#[test]
fn a_port_in_use_is_named_and_the_cameras_run() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("watchpost.yaml");
    let text = format!(
        "http: {{listen: \"{address}\"}}\nrun_dir: {0}/run\ndata_dir: {0}/data\ncameras:\n{GOOD}",
        folder.path().display()
    );
    std::fs::write(&file, text).unwrap();
    let strict = watchpost()
        .args(["run", "--strict", "-c"])
        .arg(&file)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&strict.stderr);
    assert_eq!(strict.status.code(), Some(1), "{text}");
    assert!(text.contains(&address.to_string()), "{text}");

    let log = folder.path().join("log");
    let mut child = watchpost()
        .args(["run", "-c"])
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let runs = || {
        let log = std::fs::read_to_string(&log).unwrap();
        log.contains(&address.to_string()) && log.contains("streaming")
    };
    let ran = testkit::find_within(PATIENCE, || runs().then_some(())).is_some();
    crate::support::kill(child.id(), rustix::process::Signal::TERM);
    let status = child.wait().unwrap();
    assert!(ran, "{}", std::fs::read_to_string(&log).unwrap());
    assert_eq!(status.code(), Some(0));
}

#[test]
fn two_at_a_time_in_one_run_dir_are_refused() {
    let first = Watchpost::start(&format!("cameras:\n{GOOD}"));
    let second = watchpost()
        .args(["run", "-c"])
        .arg(first.config_file())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{text}");
    assert!(text.contains(&format!("pid {}", first.pid())), "{text}");
    first.wait_streaming("good");
}

#[test]
fn a_file_that_is_missing_is_named_and_the_others_run() {
    let watchpost = Watchpost::start(&format!(
        "cameras:\n{GOOD}  clip:\n    source: {{file: /nowhere/clip.mp4}}\n"
    ));
    watchpost.wait_streaming("good");
    let clip = watchpost.wait_for("clip", "says what is missing", |c| !c["reason"].is_null());
    assert!(
        clip["reason"]
            .as_str()
            .unwrap()
            .contains("/nowhere/clip.mp4"),
        "{clip}"
    );
    assert_ne!(clip["state"], "streaming");
}

#[test]
fn a_file_played_to_its_end_rests_and_says_so() {
    let Some(clip) = shared("media/car-detection.mp4") else {
        return;
    };
    let watchpost = Watchpost::start(&format!(
        "cameras:\n  clip:\n    source: {{file: {{path: {}, realtime: false}}}}\n    detect: {{width: 64, height: 64, fps: 1}}\n",
        clip.display()
    ));
    let camera = watchpost.wait_for("clip", "ends", |c| c["state"] == "disabled");
    assert!(
        camera["reason"].as_str().unwrap().contains("ended"),
        "{camera}"
    );
    assert_eq!(camera["reconnects_last_hour"], 0);
}

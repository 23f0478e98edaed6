//! libcamera cameras, with the stand-in for its plugin.

use testkit::libcamera::Environment;

use crate::support::{Watchpost, watchpost};

fn devices(script: &str) -> String {
    let environment = Environment::new(script);
    let mut command = watchpost();
    environment.apply(&mut command);
    let output = command.arg("devices").output().expect("watchpost devices");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn cameras_are_listed_with_index_model_and_id() {
    let text = devices("version=0.0.3 cameras=imx708,imx219,imx219");
    let expected = "\
libcamera 0.0.3: controls from 0.4.0 on, raw stream from 0.7.0 on, sensor modes from 0.7.1 on
imx708 (libcamera, index 0)
    id: /base/soc/i2c0mux/i2c@0/imx708@1a
    source: {libcamera: \"imx708\"}
imx219 (libcamera, index 1)
    id: /base/soc/i2c0mux/i2c@1/imx219@1a
    source: {libcamera: \"/base/soc/i2c0mux/i2c@1/imx219@1a\"}
imx219 (libcamera, index 2)
    id: /base/soc/i2c0mux/i2c@2/imx219@1a
    source: {libcamera: \"/base/soc/i2c0mux/i2c@2/imx219@1a\"}
";
    let (offers, other): (Vec<&str>, Vec<&str>) = text
        .split_inclusive('\n')
        .partition(|line| line.starts_with("    offers: "));
    assert!(other.concat().starts_with(expected), "{text}");
    for offer in &offers {
        assert!(
            offer.contains("NV12 32x32 to ")
                && offer.ends_with("main and lores at once; no raw stream, so no raw_photo\n"),
            "{text}"
        );
    }
    assert_eq!(offers.len(), 3, "{text}");
    let newest = devices("version=0.7.1 cameras=imx708");
    assert!(
        newest.starts_with("libcamera 0.7.1: controls, raw stream, sensor modes\n"),
        "{newest}"
    );
    assert!(newest.contains("; raw beside them\n"), "{newest}");
    let webcam = devices("version=0.7.2 shape=webcam cameras=webcam:1920x1080");
    assert!(
        webcam.contains(
            "    offers: YUYV 320x240, 640x480, 1280x720; MJPEG 640x480, 1280x720, 1920x1080; one stream at a time, from \
             which lores is scaled; no raw stream, so no raw_photo\n"
        ),
        "{webcam}"
    );
    let none = devices("cameras=");
    assert!(!none.contains("libcamera,"), "{none}");
}

#[test]
fn a_camera_comes_back_from_silence_and_from_being_unplugged() {
    let environment = Environment::new("version=0.0.3 cameras=imx708");
    let mut command = watchpost();
    environment.apply(&mut command);
    let camera = |model: &str| {
        format!(
            "    source: {{libcamera: {model}}}\n    detect: {{width: 128, height: 96, fps: 5}}\n    stall_timeout: 1\n"
        )
    };
    let watchpost = Watchpost::start_by(
        command,
        &format!(
            "cameras:\n  pi:\n{}  absent:\n{}",
            camera("imx708"),
            camera("imx477")
        ),
    );
    watchpost.wait_streaming("pi");
    let log = environment.log();
    for part in ["| src video-recording ", "| src_0 view-finder "] {
        assert!(log.contains(part), "{log} misses {part}");
    }
    let said =
        |c: &serde_json::Value, text: &str| c["reason"].as_str().unwrap_or("").contains(text);
    watchpost.wait_for("absent", "says which cameras there are", |c| {
        said(
            c,
            "camera imx477 is not there; there is 0 imx708 (/base/soc/",
        )
    });

    // The sensor falls silent, and no error says so.
    environment.set_faults("timeout");
    watchpost.wait_for("pi", "is found silent", |c| {
        c["state"] != "streaming" && c["stalls_last_hour"].as_u64().unwrap() >= 1
    });
    environment.clear_faults();
    watchpost.wait_streaming("pi");

    environment.set_faults("unplug");
    watchpost.wait_for("pi", "is missed", |c| said(c, "libcamera finds no camera"));
    environment.clear_faults();
    environment.plug_in(0);
    watchpost.wait_streaming("pi");
}

#[test]
fn every_kind_of_camera_runs_with_nothing_set_and_says_what_it_cannot() {
    for shape in ["webcam", "single", "virtual"] {
        let environment = Environment::new(&format!(
            "version=0.7.2 shape={shape} cameras=front:1920x1080"
        ));
        let mut command = watchpost();
        environment.apply(&mut command);
        let watchpost =
            Watchpost::start_by(command, "cameras:\n  pi: {source: {libcamera: front}}\n");
        watchpost.wait_streaming("pi");
        let json = "Content-Type: application/json\r\n";
        let (code, body) = watchpost.request("POST", "/api/cameras/pi/tasks/raw_photo", json, "{}");
        assert_eq!(code, 409, "{shape}: {body}");
        assert!(body.contains("raw_photo: no raw stream"), "{shape}: {body}");
        let tasks = watchpost.get("/api/cameras/pi/tasks");
        let raw = tasks
            .as_array()
            .unwrap()
            .iter()
            .find(|task| task["task"] == "raw_photo");
        assert_eq!(raw.unwrap()["unavailable"], "no raw stream", "{tasks}");
        let plan = watchpost.get("/api/cameras/pi/plan?tasks=raw_photo");
        assert_eq!(plan["together"], false, "{plan}");
        assert_eq!(plan["reasons"][0], "raw_photo: no raw stream", "{plan}");
        let camera = watchpost.camera("pi");
        assert_eq!(
            camera["unavailable"]["raw_photo"], "no raw stream",
            "{camera}"
        );
        assert_eq!(camera["ring"]["width"], 640, "{camera}");
        if shape != "virtual" {
            let log = environment.log();
            assert!(!log.contains("stop "), "{shape} was disturbed: {log}");
        }
    }
}

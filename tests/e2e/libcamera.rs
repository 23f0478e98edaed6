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
    assert!(text.starts_with(expected), "{text}");
    let newest = devices("version=0.7.1 cameras=imx708");
    assert!(
        newest.starts_with("libcamera 0.7.1: controls, raw stream, sensor modes\n"),
        "{newest}"
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

//! `watchpost devices` with cameras that are not there.

use gstlibcameratest::Environment;

use crate::support::watchpost;

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

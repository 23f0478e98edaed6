//! A camera with nothing set, on every kind of camera: the stand-in in its shapes, and the real library's virtual cameras
//! (`scripts/libcamera.sh`). What only one of them can do says why.

use std::process::Command;
use std::time::Instant;

use gst::prelude::*;
use gstlibcameratest::{within, within_each};
use serde_json::json;
use watchpost_pipelines::CameraConfig;
use watchpost_pipelines::capture::{self, CaptureEvent, Setup};
use watchpost_pipelines::libcamera::{Offer, list_formats};
use watchpost_pipelines::tasks::{Size, Stream, Use, why_not};

use crate::support::DEADLINE;

/// What tells a test that it runs on the real library.
const REAL: &str = "WATCHPOST_TEST_LIBCAMERA_REAL";

/// Runs a test in a process of its own on the real library, where it was built.
fn on_real_library(name: &str, test: impl FnOnce()) {
    if std::env::var_os(REAL).is_some() {
        return test();
    }
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../.deps/libcamera");
    if !std::path::Path::new(root).join("env").exists() {
        println!("skipped: {root} is absent; scripts/libcamera.sh builds it");
        return;
    }
    let registry = tempfile::tempdir().unwrap();
    let output = Command::new("sh")
        .arg("-c")
        .arg(format!(". {root}/env && exec \"$@\""))
        .arg("sh")
        .arg(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(REAL, "1")
        .env("GST_REGISTRY", registry.path().join("registry.bin"))
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(
        output.status.success() && out.contains("1 passed"),
        "on the real library:\n{out}\n{err}"
    );
}

fn camera(name: &str, profiles: serde_json::Value) -> CameraConfig {
    gst::init().unwrap();
    serde_json::from_value(json!({"source": {"libcamera": name}, "profiles": profiles})).unwrap()
}

fn offer(camera: &CameraConfig) -> Offer {
    capture::ask(camera).unwrap().expect("an offer")
}

/// Size of the pictures that detection gets of a camera that runs with all its uses.
fn runs(camera: &CameraConfig, offer: &Offer) -> (Vec<Use>, Vec<(Stream, Size)>, Size) {
    let setup = Setup::standing(camera, Some(offer));
    let sink = gst_app::AppSink::builder()
        .sync(false)
        .async_(false)
        .max_buffers(1)
        .drop(true)
        .build();
    let source = camera.primary_source().unwrap();
    let capture =
        capture::build_from(source, &setup, camera, &[], Some(sink.clone().into())).unwrap();
    capture.start().unwrap();
    let bus = capture.pipeline().bus().unwrap();
    let end = Instant::now() + DEADLINE;
    let sample = loop {
        while let Some(message) = bus.pop() {
            if let Some(CaptureEvent::Failed(fault)) = capture.handle(&message) {
                panic!("{fault}, with {:?}", setup.configuration.streams);
            }
        }
        if let Some(sample) = sink.try_pull_sample(gst::ClockTime::from_mseconds(50)) {
            break sample;
        }
        assert!(Instant::now() < end, "no picture");
    };
    let caps = sample.caps().unwrap().structure(0).unwrap();
    let side = |name| caps.get::<i32>(name).unwrap() as u32;
    let detected = Size::from([side("width"), side("height")]);
    let streams = setup.configuration.streams.iter();
    let streams = streams.map(|(stream, of)| (*stream, of.size.unwrap_or([0, 0].into())));
    (setup.uses, streams.collect(), detected)
}

#[test]
fn a_camera_with_nothing_set_runs_in_every_shape() {
    within_each(
        &[
            "version=0.7.2 shape=pi cameras=imx708",
            "version=0.0.3 shape=pi cameras=imx708",
            "version=0.7.2 shape=webcam cameras=webcam:1920x1080",
            "version=0.7.2 shape=single cameras=ov5640:1920x1080",
            "version=0.7.2 shape=virtual cameras=front:1920x1080",
            "version=0.7.2 shape=virtual cameras=back:1280x720",
        ],
        "offers::a_camera_with_nothing_set_runs_in_every_shape",
        || {
            let camera = camera("", json!({}));
            let offer = offer(&camera);
            let (uses, streams, detected) = runs(&camera, &offer);
            for one in [Use::Detect, Use::Live, Use::Photo, Use::Video] {
                assert!(uses.contains(&one), "{one} of {uses:?}");
            }
            let script = std::env::var(gstlibcameratest::script::VARIABLE).unwrap();
            let main = match script.as_str() {
                script if script.contains("front") => [1920, 1080],
                _ => [1280, 720],
            };
            assert_eq!(streams[0], (Stream::Main, main.into()), "{script}");
            assert_eq!(detected, [640, 360].into(), "{script}");
            let has_raw = script.contains("pi") && script.contains("0.7.2");
            assert_eq!(uses.contains(&Use::RawPhoto), has_raw, "{script}");
            let why = why_not(&camera, Use::RawPhoto, Some(&offer));
            let expected = match script.contains("0.0.3") {
                true => "the raw stream needs libcamera 0.7.0 or later (0.0.3 is installed)",
                false => "no raw stream",
            };
            assert_eq!(why.as_deref(), (!has_raw).then_some(expected), "{script}");
        },
    );
}

#[test]
fn the_virtual_cameras_run_with_nothing_set_whatever_sizes_they_have() {
    on_real_library(
        "offers::the_virtual_cameras_run_with_nothing_set_whatever_sizes_they_have",
        || {
            for (name, main, lores) in [
                ("front", [1920, 1080], Some([640, 360])),
                ("back", [1280, 720], None),
                ("front-large", [1920, 1080], None),
                ("front-small", [640, 360], None),
                ("back-large", [1280, 720], None),
                ("back-small", [320, 180], None),
                ("three", [1280, 960], Some([640, 360])),
            ] {
                let camera = camera(name, json!({}));
                let offer = offer(&camera);
                // Those with one size tell no range, so they are believed and not tried.
                if offer.main[0].sizes.len() > 1 {
                    assert_eq!(offer.colour_spaces, ["Rec709"], "{name}");
                }
                let (uses, streams, _) = runs(&camera, &offer);
                assert_eq!(
                    uses,
                    [Use::Detect, Use::Live, Use::Photo, Use::Video],
                    "{name}"
                );
                let mut expected = vec![(Stream::Main, Size::from(main))];
                expected.extend(lores.map(|size| (Stream::Lores, size.into())));
                assert_eq!(streams, expected, "{name}");
            }
        },
    );
}

/// What is set and not offered, on a camera with NV12 in 1920x1080 and 640x360 (or 960x540), Rec709 and no raw stream.
fn refuses_what_is_not_offered(name: &str) {
    let plain = camera(name, json!({}));
    let offer = offer(&plain);
    let offered = list_formats(&offer.main);
    assert!(offered.starts_with("NV12 "), "{offered}");
    for (one, profiles, expected) in [
        (
            Use::Video,
            json!({"video": {"size": [800, 600]}}),
            format!(
                "profiles.video.size: 800x600 is not offered by this camera, which offers {offered}"
            ),
        ),
        (
            Use::Live,
            json!({"live": {"format": "RGB888"}}),
            format!(
                "profiles.live.format: RGB888 is not offered by this camera, which offers {offered}"
            ),
        ),
        (
            Use::Photo,
            json!({"photo": {"colour_space": "sYCC"}}),
            "profiles.photo.colour_space: sYCC is not offered by this camera, which offers Rec709"
                .into(),
        ),
        (Use::RawPhoto, json!({}), "no raw stream".into()),
    ] {
        let camera = camera(name, profiles);
        let why = why_not(&camera, one, Some(&offer));
        assert_eq!(why.as_deref(), Some(expected.as_str()));
        let standing = Setup::standing(&camera, Some(&offer));
        assert!(!standing.uses.contains(&one), "{one}");
    }
    let fits = camera(
        name,
        json!({"video": {"size": [1920, 1080], "format": "NV12", "colour_space": "Rec709"}}),
    );
    assert_eq!(why_not(&fits, Use::Video, Some(&offer)), None);
    runs(&fits, &offer);
}

#[test]
fn what_is_set_and_not_offered_is_refused_by_the_stand_in() {
    within(
        "version=0.7.2 shape=virtual cameras=front:1920x1080",
        "offers::what_is_set_and_not_offered_is_refused_by_the_stand_in",
        || refuses_what_is_not_offered(""),
    );
}

#[test]
fn what_is_set_and_not_offered_is_refused_by_the_real_library() {
    on_real_library(
        "offers::what_is_set_and_not_offered_is_refused_by_the_real_library",
        || refuses_what_is_not_offered("front"),
    );
}

use super::*;
use std::collections::BTreeMap;

use crate::tasks::{Profiles, Transform, Use, merge};

/// An element without controls, as Debian 12 has it; with roles and version to choose.
fn old(version: Version, raw: bool) -> Abilities {
    gst::init().unwrap();
    let mut roles = vec!["still-capture", "video-recording", "view-finder"];
    if raw {
        roles.insert(0, "raw");
    }
    Abilities {
        version,
        properties: BTreeMap::new(),
        roles: roles.into_iter().map(String::from).collect(),
    }
}

fn source() -> LibcameraSource {
    LibcameraSource::from(String::new())
}

fn planned(merged: &Merged, abilities: &Abilities) -> Result<Plan, Refusal> {
    plan(
        &Wanted {
            source: &source(),
            merged,
            camera: None,
            framerate: gst::Fraction::new(15, 1),
            still: false,
        },
        abilities,
    )
}

fn main_only(stream: MergedStream) -> Merged {
    Merged {
        streams: BTreeMap::from([(Stream::Main, stream)]),
        ..Merged::default()
    }
}

fn sized(width: u32, height: u32) -> MergedStream {
    MergedStream {
        size: Some(Size { width, height }),
        format: None,
    }
}

#[test]
fn the_defaults_of_all_processed_tasks_run_on_the_oldest_element() {
    let uses = [Use::Live, Use::Photo, Use::Video, Use::Detect];
    let merged = merge(&Profiles::default(), None, &uses).unwrap();
    let plan = planned(&merged, &old(Version(0, 0, 3), false)).unwrap();
    assert_eq!(plan.properties, []);
    // The profiles' frame duration decides, and is the caps' frame rate.
    assert_eq!(plan.framerate, gst::Fraction::new(30, 1));
    let lines: Vec<_> = plan
        .streams
        .iter()
        .map(|s| (s.stream, s.role, s.caps.to_string(), s.flip))
        .collect();
    assert_eq!(
        lines,
        [
            (
                Stream::Main,
                "video-recording",
                "video/x-raw, format=(string)I420, width=(int)1280, height=(int)720, framerate=(fraction)30/1, \
                 interlace-mode=(string)progressive"
                    .to_owned(),
                None
            ),
            (
                Stream::Lores,
                "view-finder",
                "video/x-raw, format=(string)I420, width=(int)640, height=(int)360, framerate=(fraction)30/1, \
                 interlace-mode=(string)progressive"
                    .to_owned(),
                None
            ),
        ]
    );
    let not_applied = ["buffer_count 6: libcamerasrc leaves the number of buffers to libcamera"];
    assert_eq!(plan.not_applied, not_applied);
}

#[test]
fn one_stream_alone_is_on_the_pad_that_is_always_there() {
    let merged = merge(&Profiles::default(), None, &[Use::Live]).unwrap();
    let plan = planned(&merged, &old(Version(0, 0, 3), false)).unwrap();
    assert_eq!(plan.streams.len(), 1);
    assert_eq!(plan.streams[0].role, "view-finder");
    let line = plan.launch_line("fakesink");
    assert!(line.contains("camera.src ! "), "{line}");
    assert!(!line.contains("src_0"), "{line}");
}

#[test]
fn what_is_missing_is_refused_with_the_version_that_brings_it() {
    let uses = [Use::Live, Use::RawPhoto];
    let raw = merge(&Profiles::default(), None, &uses).unwrap();
    let mode = Merged {
        sensor_mode: Some(1),
        ..main_only(MergedStream::default())
    };
    let control = |name: &str, value| Merged {
        controls: BTreeMap::from([(name.to_owned(), value)]),
        ..main_only(MergedStream::default())
    };
    let exposure = control("ExposureTime", ControlValue::Integer(1000));
    let typo = control("ExposureTmie", ControlValue::Integer(1000));
    for (merged, version, key, said) in [
        (
            &raw,
            Version(0, 0, 3),
            "stream",
            "the raw stream needs libcamera 0.7.0 or later (0.0.3 is installed)",
        ),
        (
            &mode,
            Version(0, 7, 0),
            "sensor_mode",
            "sensor_mode needs libcamera 0.7.1 or later (0.7.0 is installed)",
        ),
        (
            &exposure,
            Version(0, 0, 3),
            "controls.ExposureTime",
            "control ExposureTime needs libcamera 0.4.0 or later (0.0.3 is installed)",
        ),
        (
            &exposure,
            Version(0, 5, 0),
            "controls.ExposureTime",
            "control ExposureTime is not offered by this libcamerasrc (0.5.0)",
        ),
        (
            &typo,
            Version(0, 0, 3),
            "controls.ExposureTmie",
            "control ExposureTmie is not known, did you mean ExposureTime?",
        ),
    ] {
        let refusal = planned(merged, &old(version, false)).unwrap_err();
        assert_eq!((refusal.key.as_str(), refusal.reason.as_str()), (key, said));
    }
}

#[test]
fn impossible_sizes_are_refused() {
    let abilities = old(Version(0, 0, 3), false);
    for (width, height, said) in [
        (
            0,
            480,
            "main.size: 0x480 is no possible size, expected 16 to 16384 pixels each way",
        ),
        (640, 15, "640x15 is no possible size"),
        (16_386, 480, "16386x480 is no possible size"),
        (
            641,
            480,
            "main.size: 641x480 is odd, YUV420 needs even sides",
        ),
        (640, 481, "640x481 is odd"),
    ] {
        let refusal = planned(&main_only(sized(width, height)), &abilities).unwrap_err();
        assert!(refusal.reason.contains(said), "{refusal}");
    }
    let rgb = MergedStream {
        format: Some("RGB888".into()),
        ..sized(641, 481)
    };
    assert!(planned(&main_only(rgb), &abilities).is_ok());
    // Main's own size comes from the source here, so merging could not see it.
    let mut merged = main_only(MergedStream::default());
    merged.streams.insert(Stream::Lores, sized(1920, 1080));
    let refusal = planned(&merged, &abilities).unwrap_err();
    assert_eq!(
        refusal.reason,
        "lores.size: lores at 1920x1080 is larger than main at 1280x720"
    );
    let none = planned(&Merged::default(), &abilities).unwrap_err();
    assert!(none.reason.contains("no stream"), "{none}");
}

#[test]
fn lores_without_a_size_has_mains_shape() {
    for ((width, height), (w, h)) in [
        ((1280, 720), (640, 360)),
        ((4608, 2592), (640, 360)),
        ((320, 240), (320, 240)),
        ((1640, 1232), (640, 480)),
    ] {
        assert_eq!(
            small(Size { width, height }),
            Size {
                width: w,
                height: h
            }
        );
    }
}

#[test]
fn raw_leaves_order_and_size_to_the_camera_where_no_profile_says_them() {
    let merged = merge(&Profiles::default(), None, &[Use::Live, Use::RawPhoto]).unwrap();
    let plan = planned(&merged, &old(Version(0, 7, 0), true)).unwrap();
    let raw = &plan.streams[1];
    assert_eq!((raw.stream, raw.role), (Stream::Raw, "raw"));
    let caps = raw.caps.to_string();
    for part in [
        "video/x-bayer",
        "rggb10le",
        "width=(int)[ 16, 16384 ]",
        "framerate=(fraction)30/1",
        "colorimetry=(string)1:1:1:0",
        "interlace-mode=(string)progressive",
    ] {
        assert!(caps.contains(part), "{caps} misses {part}");
    }

    let mut packed = merged.clone();
    packed.streams.insert(
        Stream::Raw,
        MergedStream {
            format: Some("SRGGB10_CSI2P".into()),
            ..sized(2304, 1296)
        },
    );
    packed.transform = Transform {
        hflip: Some(true),
        vflip: Some(true),
    };
    let plan = planned(&packed, &old(Version(0, 7, 0), true)).unwrap();
    let caps = plan.streams[1].caps.to_string();
    assert!(
        caps.contains("format=(string)rggb10le, width=(int)2304"),
        "{caps}"
    );
    assert_eq!(plan.streams[0].flip, Some("180"));
    assert_eq!(plan.streams[1].flip, None);
    let said = plan.not_applied.join("\n");
    for part in ["no CSI2P packing", "raw pictures stay", "buffer_count 6"] {
        assert!(said.contains(part), "{said} misses {part}");
    }
}

#[test]
fn frame_durations_an_old_element_cannot_have_are_reported() {
    let merged = merge(&Profiles::default(), None, &[Use::Photo]).unwrap();
    let plan = planned(&merged, &old(Version(0, 2, 0), false)).unwrap();
    assert!(
        plan.not_applied.iter().any(|said| said.contains(
            "FrameDurationLimits [100, 1000000000]: only the frame rate, 15/1, is; more needs libcamera 0.4.0"
        )),
        "{:?}",
        plan.not_applied
    );
}

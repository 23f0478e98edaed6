//! Controls, sensor modes and what each version has of them.

use gst::prelude::*;
use gstlibcameratest::{within, within_each};
use watchpost_pipelines::libcamera::{Abilities, Version};
use watchpost_pipelines::tasks::{ControlValue, Use};

use crate::support::{Running, integers, merged, planned, with_control};

#[test]
fn controls_reach_the_camera() {
    within(
        "version=0.7.1",
        "controls::controls_reach_the_camera",
        || {
            let mut merged = merged(&[Use::Video]);
            merged.sensor_mode = Some(1);
            for (name, value) in [
                ("ExposureTime", ControlValue::Integer(10_000)),
                ("AnalogueGain", ControlValue::Number(2.5)),
                ("Brightness", ControlValue::Integer(-1)),
                ("AeEnable", ControlValue::Bool(true)),
                ("AfMode", ControlValue::Word("Continuous".into())),
                ("AwbMode", ControlValue::Integer(5)),
                (
                    "AeMeteringMode",
                    ControlValue::Word("centre-weighted".into()),
                ),
                (
                    "NoiseReductionMode",
                    ControlValue::Word("NoiseReductionModeHighQuality".into()),
                ),
                (
                    "ColourGains",
                    ControlValue::List(vec![ControlValue::Number(1.5), ControlValue::Integer(2)]),
                ),
                ("ScalerCrop", integers(&[0, 0, 1152, 648])),
                (
                    "AfWindows",
                    ControlValue::List(vec![integers(&[0, 0, 10, 10]), integers(&[5, 5, 10, 10])]),
                ),
            ] {
                merged.controls.insert(name.into(), value);
            }
            let plan = planned(&merged).unwrap();
            let built = plan.build().unwrap();
            let running = Running::start(&built);
            running.frames();
            let source = &built.source;
            assert_eq!(source.property::<i32>("exposure-time"), 10_000);
            assert_eq!(source.property::<f32>("analogue-gain"), 2.5);
            assert_eq!(source.property::<f32>("brightness"), -1.0);
            assert!(source.property::<bool>("ae-enable"));
            let word = |name: &str| {
                let value = source.property_value(name);
                let (_, value) = gst::glib::EnumValue::from_value(&value).unwrap();
                value.nick().to_owned()
            };
            assert_eq!(word("af-mode"), "continuous");
            assert_eq!(word("awb-mode"), "daylight");
            assert_eq!(word("ae-metering-mode"), "centre-weighted");
            assert_eq!(word("noise-reduction-mode"), "high-quality");
            let gains = source.property::<gst::Array>("colour-gains");
            let gains: Vec<f32> = gains.iter().map(|gain| gain.get().unwrap()).collect();
            assert_eq!(gains, [1.5, 2.0]);
            let numbers = |array: gst::Array| -> Vec<i32> {
                array.iter().map(|side| side.get().unwrap()).collect()
            };
            assert_eq!(
                numbers(source.property::<gst::Array>("scaler-crop")),
                [0, 0, 1152, 648]
            );
            let windows = source.property::<gst::Array>("af-windows");
            let windows: Vec<_> = windows
                .iter()
                .map(|window| numbers(window.get().unwrap()))
                .collect();
            assert_eq!(windows, [[0, 0, 10, 10], [5, 5, 10, 10]]);
            let limits = source.property::<gst::Array>("frame-duration-limits");
            let limits: Vec<i64> = limits.iter().map(|limit| limit.get().unwrap()).collect();
            assert_eq!(limits, [33_333, 33_333]);
            let mode = source.property::<gst::Structure>("sensor-config");
            assert_eq!(
                (mode.get("width"), mode.get("height"), mode.get("depth")),
                (Ok(2304), Ok(1296), Ok(10))
            );
        },
    );
}

#[test]
fn wrong_controls_are_refused_by_name_value_and_range() {
    within(
        "version=0.7.1",
        "controls::wrong_controls_are_refused_by_name_value_and_range",
        || {
            for (name, value, said) in [
                (
                    "Brightness",
                    ControlValue::Integer(2),
                    "control Brightness: is 2, expected -1 to 1",
                ),
                (
                    "ExposureTime",
                    ControlValue::Integer(1 << 40),
                    "is 1099511627776, expected 0 to 2147483647",
                ),
                (
                    "ExposureTime",
                    ControlValue::Number(0.5),
                    "is 0.5, expected a whole number",
                ),
                (
                    "ExposureTime",
                    ControlValue::Integer(40_000),
                    "40000 us do not fit into a frame of at most 33333 us",
                ),
                (
                    "AnalogueGain",
                    ControlValue::Number(f64::NAN),
                    "expected a number",
                ),
                (
                    "AeEnable",
                    ControlValue::Word("maybe".into()),
                    "is text \"maybe\", expected true or false",
                ),
                (
                    "ExposureTime",
                    ControlValue::Word("20000".into()),
                    "is text \"20000\", expected a whole number",
                ),
                (
                    "AfMode",
                    ControlValue::Word("always".into()),
                    "expected one of manual (0), auto (1), continuous (2)",
                ),
                ("ColourGains", integers(&[1]), "is [1], expected 2 numbers"),
                (
                    "ScalerCrop",
                    ControlValue::Bool(true),
                    "is true, expected a list",
                ),
                (
                    "AfWindows",
                    ControlValue::List(vec![integers(&[1, 2, 3])]),
                    "expected 4 numbers",
                ),
                (
                    "Exposure",
                    ControlValue::Integer(1),
                    "control Exposure is not known",
                ),
                (
                    "exposure-time",
                    ControlValue::Integer(1),
                    "did you mean ExposureTime?",
                ),
                (
                    "LensPositon",
                    ControlValue::Integer(1),
                    "did you mean LensPosition?",
                ),
                (
                    "camera-name",
                    ControlValue::Word("x".into()),
                    "control camera-name is not known",
                ),
            ] {
                let refusal = planned(&with_control(name, value)).unwrap_err();
                assert_eq!(refusal.key, format!("controls.{name}"));
                assert!(refusal.reason.contains(said), "{refusal} misses {said}");
            }
            let mut mode = merged(&[Use::Video]);
            mode.sensor_mode = Some(9);
            let refusal = planned(&mode).unwrap_err();
            assert_eq!(
                refusal.reason,
                "sensor_mode 9: imx708 has 0 (1536x864, 10 bits), 1 (2304x1296, 10 bits), 2 (4608x2592, 10 bits)"
            );
        },
    );
}

#[test]
fn each_version_can_what_it_can() {
    let scripts = [
        "version=0.0.3",
        "version=0.2.0",
        "version=0.4.0",
        "version=0.7.0",
        "version=0.7.1",
    ];
    within_each(&scripts, "controls::each_version_can_what_it_can", || {
        gst::init().unwrap();
        let abilities = Abilities::find().unwrap();
        let version = abilities.version;
        let script = std::env::var(gstlibcameratest::script::VARIABLE).unwrap();
        assert!(
            script.contains(&format!("version={version} ")),
            "{version} in {script}"
        );
        assert_eq!(abilities.has_controls(), version >= Version::CONTROLS);
        assert_eq!(abilities.has_raw(), version >= Version::RAW);
        assert_eq!(
            abilities.has_sensor_config(),
            version >= Version::SENSOR_CONFIG
        );

        let focus = planned(&with_control("AfMode", ControlValue::Word("auto".into())));
        let raw_photo = planned(&merged(&[Use::Live, Use::RawPhoto]));
        let mut mode = merged(&[Use::Video]);
        mode.sensor_mode = Some(0);
        // Focus had a property of its own before the other controls came.
        for (planned, since) in [
            (focus, Version(0, 1, 0)),
            (raw_photo, Version::RAW),
            (planned(&mode), Version::SENSOR_CONFIG),
        ] {
            match planned {
                Ok(plan) => assert!(version >= since, "{version}: {plan:?}"),
                Err(refusal) => {
                    assert!(version < since, "{version}: {refusal}");
                    let installed = format!("({version} is installed)");
                    assert!(refusal.reason.contains(&installed), "{refusal}");
                }
            }
        }
    });
}

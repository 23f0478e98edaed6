//! The element's properties, by version. As in libcamera's element the ranges are those of the data types.

use gst::glib;
use gst::prelude::*;

use crate::script::Script;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, glib::Enum)]
#[repr(i32)]
#[enum_type(name = "GstLibcameraTestAfMode")]
enum AfMode {
    #[default]
    Manual = 0,
    Auto = 1,
    Continuous = 2,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, glib::Enum)]
#[repr(i32)]
#[enum_type(name = "GstLibcameraTestAwbMode")]
enum AwbMode {
    #[default]
    Auto = 0,
    Incandescent = 1,
    Tungsten = 2,
    Fluorescent = 3,
    Indoor = 4,
    Daylight = 5,
    Cloudy = 6,
    Custom = 7,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, glib::Enum)]
#[repr(i32)]
#[enum_type(name = "GstLibcameraTestAeMeteringMode")]
enum AeMeteringMode {
    #[default]
    CentreWeighted = 0,
    Spot = 1,
    Matrix = 2,
    Custom = 3,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, glib::Enum)]
#[repr(i32)]
#[enum_type(name = "GstLibcameraTestNoiseReductionMode")]
enum NoiseReductionMode {
    #[default]
    Off = 0,
    Fast = 1,
    HighQuality = 2,
    Minimal = 3,
    Zsl = 4,
}

/// The properties of this version.
pub fn properties() -> Vec<glib::ParamSpec> {
    let script = Script::get();
    let mut specs = vec![
        glib::ParamSpecString::builder("camera-name")
            .mutable_ready()
            .build(),
    ];
    if script.since(0, 1, 0) && !script.since(0, 4, 0) {
        specs.push(
            glib::ParamSpecEnum::builder::<AfMode>("auto-focus-mode")
                .mutable_ready()
                .build(),
        );
    }
    if script.since(0, 4, 0) {
        specs.extend(controls());
    }
    if script.since(0, 7, 1) {
        specs.push(
            glib::ParamSpecBoxed::builder::<gst::Structure>("sensor-config")
                .mutable_ready()
                .build(),
        );
    }
    specs
}

fn controls() -> Vec<glib::ParamSpec> {
    let float = |name: &str| {
        glib::ParamSpecFloat::builder(name)
            .minimum(f32::MIN)
            .maximum(f32::MAX)
            .mutable_playing()
            .build()
    };
    let int = |name: &str| {
        glib::ParamSpecInt::builder(name)
            .minimum(i32::MIN)
            .maximum(i32::MAX)
            .mutable_playing()
            .build()
    };
    let switch = |name: &str| {
        glib::ParamSpecBoolean::builder(name)
            .mutable_playing()
            .build()
    };
    let list = |name: &str, element: &glib::ParamSpec| {
        gst::ParamSpecArray::builder(name)
            .element_spec(element)
            .mutable_playing()
            .build()
    };
    let int64 = glib::ParamSpecInt64::builder("frame-duration-limits-value")
        .minimum(i64::MIN)
        .maximum(i64::MAX)
        .build();
    let side = int("rectangle-value");
    let rectangle = list("af-windows-value", &side);
    vec![
        switch("ae-enable"),
        glib::ParamSpecEnum::builder::<AeMeteringMode>("ae-metering-mode")
            .mutable_playing()
            .build(),
        glib::ParamSpecEnum::builder::<AfMode>("af-mode")
            .mutable_playing()
            .build(),
        list("af-windows", &rectangle),
        float("analogue-gain"),
        switch("awb-enable"),
        glib::ParamSpecEnum::builder::<AwbMode>("awb-mode")
            .mutable_playing()
            .build(),
        float("brightness"),
        list("colour-gains", &float("colour-gains-value")),
        float("contrast"),
        int("exposure-time"),
        float("exposure-value"),
        list("frame-duration-limits", &int64),
        float("lens-position"),
        glib::ParamSpecEnum::builder::<NoiseReductionMode>("noise-reduction-mode")
            .mutable_playing()
            .build(),
        float("saturation"),
        list("scaler-crop", &side),
        float("sharpness"),
    ]
}

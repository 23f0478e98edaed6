//! libcamera's controls as properties of `libcamerasrc`: `ExposureTime` is `exposure-time` there.

use gst::glib;
use gst::prelude::*;

use super::Refusal;
use super::abilities::{Abilities, Version};
use crate::nearest::nearest;
use crate::tasks::ControlValue;

/// The control that takes part in the frame rate.
pub(super) const FRAME_DURATION: &str = "FrameDurationLimits";

/// A control libcamera knows. The element's own ranges are those of the data type, so what a Raspberry Pi takes stands
/// here.
struct Control {
    name: &'static str,
    /// Smallest and largest value (of each number, for a list).
    range: Option<(f64, f64)>,
    /// Numbers in a list (in the innermost, for a list of rectangles); 0 for no list, or one of any length.
    len: usize,
    /// First libcamera whose element has it.
    since: Version,
}

const fn one(name: &'static str) -> Control {
    Control {
        name,
        range: None,
        len: 0,
        since: Version::CONTROLS,
    }
}

const fn within(name: &'static str, min: f64, max: f64) -> Control {
    Control {
        range: Some((min, max)),
        ..one(name)
    }
}

const fn list(name: &'static str, len: usize, min: f64, max: f64) -> Control {
    Control {
        len,
        ..within(name, min, max)
    }
}

const MICROSECONDS: f64 = 4e9;

const CONTROLS: [Control; 38] = [
    one("AeConstraintMode"),
    one("AeEnable"),
    one("AeExposureMode"),
    one("AeFlickerMode"),
    within("AeFlickerPeriod", 100.0, 1e6),
    one("AeMeteringMode"),
    one("AfMetering"),
    one("AfMode"),
    one("AfPause"),
    one("AfRange"),
    one("AfSpeed"),
    one("AfTrigger"),
    list("AfWindows", 4, 0.0, 65535.0),
    within("AnalogueGain", 1.0, 64.0),
    Control {
        since: Version(0, 5, 0),
        ..one("AnalogueGainMode")
    },
    one("AwbEnable"),
    one("AwbMode"),
    within("Brightness", -1.0, 1.0),
    list("ColourCorrectionMatrix", 9, -16.0, 16.0),
    list("ColourGains", 2, 0.0, 32.0),
    within("ColourTemperature", 100.0, 100_000.0),
    within("Contrast", 0.0, 32.0),
    within("DigitalGain", 1.0, 64.0),
    within("ExposureTime", 0.0, MICROSECONDS),
    Control {
        since: Version(0, 5, 0),
        ..one("ExposureTimeMode")
    },
    within("ExposureValue", -8.0, 8.0),
    list(FRAME_DURATION, 2, 1.0, MICROSECONDS),
    within("Gamma", 0.1, 10.0),
    one("HdrMode"),
    within("LensPosition", 0.0, 32.0),
    one("NoiseReductionMode"),
    within("Saturation", 0.0, 32.0),
    list("ScalerCrop", 4, 0.0, 65535.0),
    list("ScalerCrops", 4, 0.0, 65535.0),
    within("Sharpness", 0.0, 16.0),
    one("StatsOutputEnable"),
    within("SyncFrames", 1.0, 1e6),
    one("SyncMode"),
];

/// `ExposureTime` -> `exposure-time`.
fn kebab(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for (i, letter) in name.chars().enumerate() {
        if letter.is_ascii_uppercase() && i > 0 {
            out.push('-');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}

/// The property for a control, if this element has it.
fn property<'a>(name: &str, abilities: &'a Abilities) -> Option<&'a glib::ParamSpec> {
    let kebab = kebab(name);
    let with = |prefix: &str| abilities.properties.get(&format!("{prefix}{kebab}"));
    with("")
        .or_else(|| with("draft-"))
        .or_else(|| with("rpi-"))
        // What AfMode was called from 0.1.0 until the controls came.
        .or_else(|| {
            (name == "AfMode")
                .then(|| abilities.properties.get("auto-focus-mode"))
                .flatten()
        })
}

/// Whether the element can be told this control.
pub(super) fn is_there(name: &str, abilities: &Abilities) -> bool {
    property(name, abilities).is_some()
}

/// The property and its value, as text, for a control.
pub(super) fn setting(
    name: &str,
    value: &ControlValue,
    abilities: &Abilities,
) -> Result<(String, String), Refusal> {
    let key = format!("controls.{name}");
    let refuse = |reason: String| Err(Refusal::new(key.clone(), reason));
    let known = CONTROLS.iter().find(|control| control.name == name);
    let spec = property(name, abilities).filter(|_| is_camel_case(name));
    let spec = match (spec, known) {
        (Some(spec), _) => spec,
        (None, Some(control)) => {
            return refuse(abilities.needs(&format!("control {name}"), control.since));
        }
        (None, None) => {
            let names: Vec<&str> = CONTROLS.iter().map(|control| control.name).collect();
            return refuse(match nearest(name, &names) {
                Some(near) => format!("control {name} is not known, did you mean {near}?"),
                None => {
                    format!("control {name} is not known; docs/libcamera.md lists the controls")
                }
            });
        }
    };
    let asked = Asked { name, known };
    let text = text(spec, value, &asked, false)
        .map_err(|problem| Refusal::new(key.clone(), format!("control {name}: {problem}")))?;
    // What the element would not take must not wait for the element to say so.
    if glib::Value::deserialize_with_pspec(&text, spec).is_err() {
        return refuse(format!("control {name}: cannot be {value}"));
    }
    Ok((spec.name().to_owned(), text))
}

fn is_camel_case(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric())
}

/// A control that is asked for.
struct Asked<'a> {
    name: &'a str,
    known: Option<&'a Control>,
}

/// A value as GStreamer reads it; with its type inside a list, which is read without knowing what it is for.
fn text(
    spec: &glib::ParamSpec,
    value: &ControlValue,
    asked: &Asked<'_>,
    inside: bool,
) -> Result<String, String> {
    if let Some(array) = spec.downcast_ref::<gst::ParamSpecArray>() {
        return list_text(array, value, asked);
    }
    if let Some(class) = glib::EnumClass::with_type(spec.value_type()) {
        return word(&class, value, asked.name);
    }
    let typed = |kind: &str, number: String| match inside {
        true => format!("({kind}){number}"),
        false => number,
    };
    let kind = spec.value_type();
    if kind == glib::Type::BOOL {
        return match value {
            ControlValue::Bool(value) => Ok(typed("boolean", value.to_string())),
            _ => Err(format!("is {}, expected true or false", told(value))),
        };
    }
    let range = asked.known.and_then(|control| control.range);
    if kind == glib::Type::F32 || kind == glib::Type::F64 {
        let number = match value {
            ControlValue::Integer(value) => *value as f64,
            ControlValue::Number(value) if value.is_finite() => *value,
            _ => return Err(format!("is {}, expected a number", told(value))),
        };
        inside_range(
            number,
            range.unwrap_or((f64::from(f32::MIN), f64::from(f32::MAX))),
        )?;
        return Ok(typed("float", number.to_string()));
    }
    let (name, types_range) = match kind {
        glib::Type::I32 => ("int", (f64::from(i32::MIN), f64::from(i32::MAX))),
        glib::Type::U32 => ("uint", (0.0, f64::from(u32::MAX))),
        glib::Type::U8 => ("guchar", (0.0, 255.0)),
        glib::Type::I64 => ("gint64", (i64::MIN as f64, i64::MAX as f64)),
        _ => return Err(format!("has type {kind}, which cannot be configured")),
    };
    let whole = match value {
        ControlValue::Integer(value) => *value,
        ControlValue::Number(value) if value.fract() == 0.0 && value.abs() < 2f64.powi(53) => {
            *value as i64
        }
        _ => return Err(format!("is {}, expected a whole number", told(value))),
    };
    let (min, max) = range.unwrap_or(types_range);
    inside_range(
        whole as f64,
        (min.max(types_range.0), max.min(types_range.1)),
    )?;
    Ok(typed(name, whole.to_string()))
}

/// A value of the wrong kind: a number between quotes is text.
fn told(value: &ControlValue) -> String {
    match value {
        ControlValue::Word(word) => format!("text \"{word}\""),
        value => value.to_string(),
    }
}

fn inside_range(number: f64, (min, max): (f64, f64)) -> Result<(), String> {
    if (min..=max).contains(&number) {
        return Ok(());
    }
    Err(format!("is {number}, expected {min} to {max}"))
}

fn list_text(
    spec: &gst::ParamSpecArray,
    value: &ControlValue,
    asked: &Asked<'_>,
) -> Result<String, String> {
    let ControlValue::List(values) = value else {
        return Err(format!("is {value}, expected a list"));
    };
    let Some(element) = spec.element_spec() else {
        return Err("cannot be configured: the element does not say what its list is of".into());
    };
    let innermost = element.downcast_ref::<gst::ParamSpecArray>().is_none();
    let len = asked.known.map_or(0, |control| control.len);
    if innermost && len > 0 && values.len() != len {
        return Err(format!("is {value}, expected {len} numbers"));
    }
    let texts: Result<Vec<String>, String> = values
        .iter()
        .map(|value| text(element, value, asked, true))
        .collect();
    Ok(format!("<{}>", texts?.join(", ")))
}

/// A word of an enumeration, or its number. `AfModeContinuous` and `Continuous` are `continuous`.
fn word(class: &glib::EnumClass, value: &ControlValue, control: &str) -> Result<String, String> {
    let simple = |text: &str| -> String {
        text.chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_lowercase())
            .collect()
    };
    let control = simple(control);
    let found = match value {
        ControlValue::Integer(number) => class
            .values()
            .iter()
            .find(|known| i64::from(known.value()) == *number),
        ControlValue::Word(word) => {
            let word = simple(word);
            let short = word.strip_prefix(&control).unwrap_or(&word);
            class
                .values()
                .iter()
                .find(|known| [word.as_str(), short].contains(&simple(known.nick()).as_str()))
        }
        _ => None,
    };
    found.map(|known| known.nick().to_owned()).ok_or_else(|| {
        let known: Vec<String> = class
            .values()
            .iter()
            .map(|known| format!("{} ({})", known.nick(), known.value()))
            .collect();
        format!("is {value}, expected one of {}", known.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_gstreamers() {
        for (control, property) in [
            ("ExposureTime", "exposure-time"),
            ("FrameDurationLimits", "frame-duration-limits"),
            ("AfMode", "af-mode"),
            ("ColourGains", "colour-gains"),
        ] {
            assert_eq!(kebab(control), property);
        }
    }

    #[test]
    fn the_table_is_sorted_and_sound() {
        for pair in CONTROLS.windows(2) {
            assert!(pair[0].name < pair[1].name, "{}", pair[1].name);
        }
        for control in &CONTROLS {
            assert!(is_camel_case(control.name));
            assert!(control.range.is_none_or(|(min, max)| min < max));
            assert!(control.since >= Version::CONTROLS);
        }
    }
}

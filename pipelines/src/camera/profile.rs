//! How a task wants the camera configured: the `profiles` section of a camera.

use std::collections::BTreeMap;
use std::fmt;

pub use detection::FrameSize as Size;
use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// One of the streams a libcamera camera gives at the same time.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// The large one.
    Main,
    /// The small one; may not exceed main.
    Lores,
    /// The sensor's own values. Only `raw_photo` uses it.
    Raw,
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Main => "main",
            Self::Lores => "lores",
            Self::Raw => "raw",
        })
    }
}

/// Mirroring; what is not set goes with anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Transform {
    /// Left and right change places.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hflip: Option<bool>,
    /// Top and bottom change places.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vflip: Option<bool>,
}

impl Transform {
    fn is_unset(&self) -> bool {
        *self == Self::default()
    }
}

/// Value of a libcamera control.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ControlValue {
    /// `AeEnable: true`
    Bool(bool),
    /// `ExposureTime: 10000`
    Integer(i64),
    /// `AnalogueGain: 2.5`
    Number(f64),
    /// `AfMode: continuous`
    Word(String),
    /// `FrameDurationLimits: [33333, 33333]`
    List(Vec<ControlValue>),
}

impl fmt::Display for ControlValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Number(value) => write!(f, "{value}"),
            Self::Word(value) => f.write_str(value),
            Self::List(values) => {
                f.write_str("[")?;
                for (i, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if i > 0 { ", " } else { "" })?;
                }
                f.write_str("]")
            }
        }
    }
}

/// How one task wants the camera. Everything that is not set goes with whatever others set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The stream it uses.
    #[serde(default = "main")]
    pub stream: Stream,
    /// Size of that stream, `[width, height]`; not set: the camera's own choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// Pixel format of that stream, by libcamera's name (`YUV420`, `NV12`, `RGB888`, `SRGGB10_CSI2P`); not set: the camera's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Mirroring, for the whole camera.
    #[serde(default, skip_serializing_if = "Transform::is_unset")]
    pub transform: Transform,
    /// Colour space, for the whole camera (`sYCC`, `Smpte170m`, `Rec709`); not set: the camera's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub colour_space: Option<String>,
    /// Frames in flight, for the whole camera, 1 to 12; the largest one counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 12))]
    pub buffer_count: Option<u32>,
    /// Whether a frame that nobody waits for is kept for the next request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<bool>,
    /// Number of the sensor mode, for the whole camera; not set: libcamera's choice by the sizes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensor_mode: Option<u32>,
    /// libcamera controls by name, for the whole camera.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub controls: BTreeMap<String, ControlValue>,
}

const fn main() -> Stream {
    Stream::Main
}

/// The four profiles of a camera. The defaults go together: all tasks run side by side out of the box. Keys that are not
/// given keep their default; `null` unsets one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Profiles {
    /// The live picture, and what detection looks at.
    #[serde(deserialize_with = "over_live")]
    pub live: Profile,
    /// Single photos and the jpg of a series.
    #[serde(deserialize_with = "over_photo")]
    pub photo: Profile,
    /// Raw photos and the raw part of a series.
    #[serde(deserialize_with = "over_raw_photo")]
    pub raw_photo: Profile,
    /// Recordings.
    #[serde(deserialize_with = "over_video")]
    pub video: Profile,
}

fn over_live<'de, D: Deserializer<'de>>(given: D) -> Result<Profile, D::Error> {
    over(Profiles::default().live, given)
}

fn over_photo<'de, D: Deserializer<'de>>(given: D) -> Result<Profile, D::Error> {
    over(Profiles::default().photo, given)
}

fn over_raw_photo<'de, D: Deserializer<'de>>(given: D) -> Result<Profile, D::Error> {
    over(Profiles::default().raw_photo, given)
}

fn over_video<'de, D: Deserializer<'de>>(given: D) -> Result<Profile, D::Error> {
    over(Profiles::default().video, given)
}

/// A profile of what is given, and of its defaults where nothing is.
fn over<'de, D: Deserializer<'de>>(default: Profile, given: D) -> Result<Profile, D::Error> {
    let given = serde_json::Map::<String, Value>::deserialize(given)?;
    let mut profile = serde_json::to_value(default).map_err(Error::custom)?;
    for (key, value) in given {
        match (&mut profile[&key], value) {
            // One control more does not take the others away.
            (Value::Object(known), Value::Object(more)) => known.extend(more),
            (place, value) => *place = value,
        }
    }
    serde_path_to_error::deserialize(profile)
        .map_err(|error| Error::custom(format!("{}: {}", error.path(), error.inner())))
}

/// The control for which not equality counts but what all uses allow.
pub(crate) const FRAME_DURATION: &str = "FrameDurationLimits";

/// One frame every 33,333 microseconds: 30 a second.
const THIRTY_FPS: i64 = 33_333;

impl Profile {
    /// The profile of a task that only names its stream.
    pub fn on(stream: Stream) -> Self {
        Self {
            stream,
            size: None,
            format: None,
            transform: Transform::default(),
            colour_space: None,
            buffer_count: None,
            queue: None,
            sensor_mode: None,
            controls: BTreeMap::new(),
        }
    }

    fn with_frame_duration(mut self, shortest: i64, longest: i64) -> Self {
        let limits = [shortest, longest].map(ControlValue::Integer).to_vec();
        self.controls
            .insert(FRAME_DURATION.into(), ControlValue::List(limits));
        self
    }

    fn moving(stream: Stream) -> Self {
        let profile = Self {
            buffer_count: Some(6),
            ..Self::on(stream)
        };
        profile.with_frame_duration(THIRTY_FPS, THIRTY_FPS)
    }

    fn still(stream: Stream) -> Self {
        let profile = Self {
            buffer_count: Some(1),
            ..Self::on(stream)
        };
        profile.with_frame_duration(100, 1_000_000_000)
    }
}

impl Default for Profiles {
    /// raspiCamSrv's defaults, harmonised: photo and video leave the size of main to each other, and no profile asks for a
    /// sensor mode, a format or a colour space, so that each camera has its own.
    fn default() -> Self {
        Self {
            live: Profile {
                size: Some(Size {
                    width: 640,
                    height: 360,
                }),
                ..Profile::moving(Stream::Lores)
            },
            photo: Profile::still(Stream::Main),
            raw_photo: Profile::still(Stream::Raw),
            video: Profile::moving(Stream::Main),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_given_keeps_its_default_and_null_unsets_it() {
        let given = json!({
            "live": {"size": [1280, 720], "controls": {"AeEnable": false}},
            "video": {"buffer_count": null},
        });
        let profiles: Profiles = serde_json::from_value(given).unwrap();
        let default = Profiles::default();
        assert_eq!(
            (profiles.live.stream, profiles.live.buffer_count),
            (Stream::Lores, Some(6))
        );
        assert_eq!(profiles.live.size, Some([1280, 720].into()));
        assert_eq!(
            profiles.live.controls.len(),
            default.live.controls.len() + 1
        );
        assert_eq!(profiles.video.buffer_count, None);
        assert_eq!(profiles.photo, default.photo);
        let again = serde_json::to_value(&default).unwrap();
        assert_eq!(serde_json::from_value::<Profiles>(again).unwrap(), default);
    }

    #[test]
    fn a_wrong_key_is_named() {
        for (given, said) in [
            (json!({"live": {"szie": [1, 2]}}), "szie"),
            (json!({"live": {"size": [1, "2"]}}), "size"),
            (json!({"photo": {"stream": "big"}}), "big"),
        ] {
            let error = serde_json::from_value::<Profiles>(given).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        }
    }
}

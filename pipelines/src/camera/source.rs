//! Where a camera's pictures come from.

use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::Size;
use crate::secret;

/// What a source is used for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Object detection.
    Detect,
    /// Recording without re-encoding.
    Record,
    /// Live view.
    Live,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 3] = [Self::Detect, Self::Record, Self::Live];

    /// The word the configuration uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Detect => "detect",
            Self::Record => "record",
            Self::Live => "live",
        }
    }
}

/// Which decoder a camera uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Decoder {
    /// The first that works of VA-API, V4L2 and software.
    #[default]
    Auto,
    /// On the processor.
    Software,
    /// VA-API: Intel and AMD graphics.
    Vaapi,
    /// V4L2, stateless or stateful: Raspberry Pi, Rockchip, i.MX and other boards.
    V4l2,
}

impl Decoder {
    /// The word the configuration uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Software => "software",
            Self::Vaapi => "vaapi",
            Self::V4l2 => "v4l2",
        }
    }
}

/// One source of pictures. In the file it is a mapping with exactly one of the keys `rtsp`, `file`, `v4l2`,
/// `libcamera`, `test`, `launch`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "SourceKeys", into = "SourceKeys")]
#[schemars(with = "SourceKeys")]
pub enum Source {
    /// An RTSP camera.
    Rtsp(RtspSource),
    /// A video file.
    File(FileSource),
    /// A V4L2 device (USB camera, grabber).
    V4l2(V4l2Source),
    /// A libcamera camera (Raspberry Pi camera module).
    Libcamera(LibcameraSource),
    /// A built-in scene with moving objects.
    Test(TestSource),
    /// A GStreamer launch line that ends in raw, H.264, H.265 or JPEG video. One that is not live plays at its own speed.
    Launch(String),
}

impl Source {
    /// The key the configuration uses.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Rtsp(_) => "rtsp",
            Self::File(_) => "file",
            Self::V4l2(_) => "v4l2",
            Self::Libcamera(_) => "libcamera",
            Self::Test(_) => "test",
            Self::Launch(_) => "launch",
        }
    }
}

/// One of a camera's several sources.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "EntryKeys", into = "EntryKeys")]
#[schemars(with = "EntryKeys")]
pub struct SourceEntry {
    /// Where the pictures come from.
    pub source: Source,
    /// What they are used for: each role once among a camera's sources. A single source has all.
    pub roles: Vec<Role>,
}

/// An RTSP camera: a URL, or this mapping.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RtspSource {
    /// `rtsp://` or `rtsps://` address. User and password may be part of it.
    pub url: String,
    /// User, where it is not part of the URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Password, where it is not part of the URL. `${NAME}` takes it from the environment, `file:PATH` from a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// How the pictures travel.
    #[serde(default)]
    pub transport: RtspTransport,
    /// Milliseconds of jitter buffer.
    #[serde(default = "default_latency")]
    #[schemars(range(max = 10000))]
    pub latency: u32,
    /// Seconds to wait for the camera's answer.
    #[serde(default = "default_timeout")]
    #[schemars(range(min = 1.0, max = 600.0))]
    pub timeout: f64,
    /// For `rtsps`: SHA-256 fingerprint of the camera's own certificate (64 hexadecimal digits, colons allowed), which is then
    /// trusted besides those that the system trusts. `any` trusts every certificate, that of an attacker too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_fingerprint: Option<String>,
}

const fn default_latency() -> u32 {
    200
}

const fn default_timeout() -> f64 {
    10.0
}

impl From<String> for RtspSource {
    fn from(url: String) -> Self {
        Self {
            url,
            user: None,
            password: None,
            transport: RtspTransport::default(),
            latency: default_latency(),
            timeout: default_timeout(),
            tls_fingerprint: None,
        }
    }
}

/// How RTSP pictures travel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RtspTransport {
    /// Over the RTSP connection; where the camera does not offer that, in UDP packets.
    #[default]
    Auto,
    /// Over the RTSP connection: nothing is lost on the way.
    Tcp,
    /// In packets of their own.
    Udp,
}

/// A video file: its path, or this mapping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileSource {
    /// The file; a relative path counts from the folder of the configuration file.
    pub path: PathBuf,
    /// Start again at the end.
    #[serde(default, rename = "loop")]
    pub repeat: bool,
    /// Play at the file's own speed; otherwise as fast as frames are taken.
    #[serde(default = "yes")]
    pub realtime: bool,
}

const fn yes() -> bool {
    true
}

impl From<String> for FileSource {
    fn from(path: String) -> Self {
        Self {
            path: path.into(),
            repeat: false,
            realtime: true,
        }
    }
}

/// A V4L2 device: its path, or this mapping.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct V4l2Source {
    /// The device, for instance `/dev/video0` or a name under `/dev/v4l/by-id`.
    pub device: PathBuf,
    /// Width to ask the device for; without it the device chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Height to ask the device for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Frames per second to ask the device for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fps: Option<f64>,
}

impl From<String> for V4l2Source {
    fn from(device: String) -> Self {
        Self {
            device: device.into(),
            width: None,
            height: None,
            fps: None,
        }
    }
}

/// A libcamera camera: its index, model or id, or this mapping.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LibcameraSource {
    /// The camera as `watchpost devices` lists it: index, model or id; empty for the first one.
    #[serde(default)]
    pub camera: String,
    /// Width of the main stream, where no profile gives it a size; without width and height the size that the camera
    /// offers nearest to 1280x720.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 16, max = 16384))]
    pub width: Option<u32>,
    /// Height of the main stream, where no profile gives it a size; 720 where only the width is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 16, max = 16384))]
    pub height: Option<u32>,
    /// Frames per second, for live picture and recordings whose profile does not say otherwise; without it 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.1, max = 1000.0))]
    pub fps: Option<f64>,
    /// Pixel format of the processed streams whose profile does not say otherwise, as libcamera or GStreamer names it;
    /// without it the camera's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
}

impl LibcameraSource {
    /// The size that is set. A side that is missing beside the other is that of 1280x720.
    pub(crate) fn size(&self) -> Option<Size> {
        (self.width.is_some() || self.height.is_some()).then(|| Size {
            width: self.width.unwrap_or(1280),
            height: self.height.unwrap_or(720),
        })
    }
}

impl From<String> for LibcameraSource {
    fn from(camera: String) -> Self {
        Self {
            camera,
            width: None,
            height: None,
            fps: None,
            format: None,
        }
    }
}

/// A built-in scene: its name, or this mapping.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TestSource {
    /// Name of the scene, for instance `walkers`.
    pub scene: String,
    /// Width of the pictures.
    #[serde(default = "default_test_width")]
    #[schemars(range(min = 64, max = 7680))]
    pub width: u32,
    /// Height of the pictures.
    #[serde(default = "default_test_height")]
    #[schemars(range(min = 64, max = 4320))]
    pub height: u32,
    /// Frames per second.
    #[serde(default = "default_test_fps")]
    #[schemars(range(min = 0.1, max = 240.0))]
    pub fps: f64,
}

const fn default_test_width() -> u32 {
    640
}

const fn default_test_height() -> u32 {
    360
}

const fn default_test_fps() -> f64 {
    10.0
}

impl From<String> for TestSource {
    fn from(scene: String) -> Self {
        Self {
            scene,
            width: default_test_width(),
            height: default_test_height(),
            fps: default_test_fps(),
        }
    }
}

/// A mapping with a key for each kind of source, and keys of its own before them: `flatten` does not know which keys are
/// unknown.
macro_rules! source_keys {
    ($(#[$about:meta])* struct $name:ident { $($(#[$of:meta])* $own:ident: $type:ty,)* }) => {
        $(#[$about])*
        struct $name {
            $($(#[$of])* $own: $type,)*
            /// An RTSP camera: a URL, or a mapping.
            #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "short")]
            #[schemars(with = "Option<ShortOrLong<RtspSource>>")]
            rtsp: Option<RtspSource>,
            /// A video file: a path, or a mapping.
            #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "short")]
            #[schemars(with = "Option<ShortOrLong<FileSource>>")]
            file: Option<FileSource>,
            /// A V4L2 device: its path, or a mapping.
            #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "short")]
            #[schemars(with = "Option<ShortOrLong<V4l2Source>>")]
            v4l2: Option<V4l2Source>,
            /// A libcamera camera: its index, model or id, or a mapping.
            #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "short")]
            #[schemars(with = "Option<ShortOrLong<LibcameraSource>>")]
            libcamera: Option<LibcameraSource>,
            /// A built-in scene with moving objects: its name, or a mapping.
            #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "short")]
            #[schemars(with = "Option<ShortOrLong<TestSource>>")]
            test: Option<TestSource>,
            /// A GStreamer launch line that ends in raw, H.264, H.265 or JPEG video. One that is not live plays at its own speed.
            #[serde(skip_serializing_if = "Option::is_none")]
            launch: Option<String>,
        }

        impl $name {
            /// The one source that is given.
            fn source(self) -> Result<Source, String> {
                // Whatever goes wrong with this camera later, its password is hidden.
                if let Some(rtsp) = &self.rtsp {
                    secret::remember(&rtsp.url);
                }
                let mut given: Vec<Source> = [
                    self.rtsp.map(Source::Rtsp),
                    self.file.map(Source::File),
                    self.v4l2.map(Source::V4l2),
                    self.libcamera.map(Source::Libcamera),
                    self.test.map(Source::Test),
                    self.launch.map(Source::Launch),
                ]
                .into_iter()
                .flatten()
                .collect();
                match given.len() {
                    1 => Ok(given.remove(0)),
                    0 => Err(format!("no source given, expected one of {KINDS}")),
                    _ => Err(format!(
                        "{} given together, expected exactly one of {KINDS}",
                        given.iter().map(Source::kind).collect::<Vec<_>>().join(" and ")
                    )),
                }
            }

            fn with(mut self, source: Source) -> Self {
                match source {
                    Source::Rtsp(source) => self.rtsp = Some(source),
                    Source::File(source) => self.file = Some(source),
                    Source::V4l2(source) => self.v4l2 = Some(source),
                    Source::Libcamera(source) => self.libcamera = Some(source),
                    Source::Test(source) => self.test = Some(source),
                    Source::Launch(line) => self.launch = Some(line),
                }
                self
            }
        }
    };
}

source_keys! {
    /// The keys of a source as they stand in the file.
    #[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
    #[serde(default, deny_unknown_fields)]
    #[schemars(rename = "Source", extend("minProperties" = 1, "maxProperties" = 1))]
    struct SourceKeys {}
}

source_keys! {
    /// The keys of an entry of `sources` as they stand in the file.
    #[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
    #[serde(default, deny_unknown_fields)]
    #[schemars(rename = "SourceEntry")]
    struct EntryKeys {
        /// What this source is used for: each role once among a camera's sources. A single source has all.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        roles: Vec<Role>,
    }
}

/// For the schema only: a string, or the mapping it stands for.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)]
enum ShortOrLong<T> {
    Short(String),
    Long(T),
}

impl TryFrom<SourceKeys> for Source {
    type Error = String;

    fn try_from(keys: SourceKeys) -> Result<Self, String> {
        keys.source()
    }
}

const KINDS: &str = "rtsp, file, v4l2, libcamera, test, launch";

impl From<Source> for SourceKeys {
    fn from(source: Source) -> Self {
        Self::default().with(source)
    }
}

impl TryFrom<EntryKeys> for SourceEntry {
    type Error = String;

    fn try_from(mut keys: EntryKeys) -> Result<Self, String> {
        let roles = std::mem::take(&mut keys.roles);
        let source = keys.source()?;
        Ok(Self { source, roles })
    }
}

impl From<SourceEntry> for EntryKeys {
    fn from(entry: SourceEntry) -> Self {
        Self {
            roles: entry.roles,
            ..Self::default()
        }
        .with(entry.source)
    }
}

/// Reads a mapping, or the one string it is usually about.
fn short<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de> + From<String>,
    D: Deserializer<'de>,
{
    struct Short<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de> + From<String>> Visitor<'de> for Short<T> {
        type Value = Option<T>;

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("a string or a mapping")
        }

        fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
            Ok(Some(T::from(value.to_owned())))
        }

        /// The index of a camera, unquoted.
        fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
            Ok(Some(T::from(value.to_string())))
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map)).map(Some)
        }
    }

    deserializer.deserialize_any(Short(PhantomData))
}

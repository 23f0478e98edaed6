//! What the installed `libcamerasrc` can do.

use std::collections::BTreeMap;
use std::fmt;

use gst::glib;
use gst::prelude::*;

use super::Refusal;

/// A libcamera release.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

impl Version {
    /// First release with the controls as properties of `libcamerasrc`.
    pub const CONTROLS: Self = Self(0, 4, 0);
    /// First release with the stream role `raw`.
    pub const RAW: Self = Self(0, 7, 0);
    /// First release with the property `sensor-config`.
    pub const SENSOR_CONFIG: Self = Self(0, 7, 1);

    /// Reads `0.2.0`, and the first three numbers of `0.7.1+rpt20260205`. What is no number counts as 0.
    pub fn parse(text: &str) -> Self {
        let mut parts = text.split('.').map(|part| {
            let end = part
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(part.len());
            part[..end].parse().unwrap_or(0)
        });
        let mut next = || parts.next().unwrap_or(0);
        Self(next(), next(), next())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// What the installed `libcamerasrc` can do, as the element itself tells it: distributions patch and backport, so the
/// version only serves messages.
#[derive(Debug, Clone)]
pub struct Abilities {
    /// The plugin's version, which is libcamera's.
    pub version: Version,
    /// Properties of the element beside those every element has, by name.
    pub(super) properties: BTreeMap<String, glib::ParamSpec>,
    /// Roles a stream can have, by the words of `stream-role`.
    pub(super) roles: Vec<String>,
}

impl Abilities {
    /// Asks the installed element. It opens no camera.
    pub fn find() -> Result<Self, Refusal> {
        let missing = || {
            Refusal::new(
                "source.libcamera",
                "GStreamer element libcamerasrc is missing; install libcamera's GStreamer plugin \
                 (Debian: gstreamer1.0-libcamera)",
            )
        };
        let element = gst::ElementFactory::make("libcamerasrc")
            .build()
            .map_err(|_| missing())?;
        let version = element
            .factory()
            .and_then(|factory| factory.plugin())
            .map_or_else(Version::default, |plugin| {
                Version::parse(plugin.version().as_str())
            });
        let properties = element
            .list_properties()
            .iter()
            .filter(|spec| !["name", "parent"].contains(&spec.name()))
            .map(|spec| (spec.name().to_owned(), spec.clone()))
            .collect();
        let roles = element
            .static_pad("src")
            .and_then(|pad| pad.find_property("stream-role"))
            .and_then(|spec| glib::EnumClass::with_type(spec.value_type()))
            .map(|class| class.values().iter().map(|v| v.nick().to_owned()).collect())
            .unwrap_or_default();
        Ok(Self {
            version,
            properties,
            roles,
        })
    }

    /// Whether libcamera's controls are properties.
    pub fn has_controls(&self) -> bool {
        self.properties.contains_key("exposure-time")
    }

    /// Whether a stream can be raw.
    pub fn has_raw(&self) -> bool {
        self.roles.iter().any(|role| role == "raw")
    }

    /// Whether a sensor mode can be chosen.
    pub fn has_sensor_config(&self) -> bool {
        self.properties.contains_key("sensor-config")
    }

    /// What a message says about something that came with a later version.
    pub(super) fn needs(&self, what: &str, since: Version) -> String {
        if self.version >= since {
            // Built without it, or patched: naming the version would send the reader in circles.
            return format!(
                "{what} is not offered by this libcamerasrc ({})",
                self.version
            );
        }
        format!(
            "{what} needs libcamera {since} or later ({} is installed)",
            self.version
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_distributions_write_them() {
        for (text, version) in [
            ("0.0.3", Version(0, 0, 3)),
            ("0.7.1+rpt20260205", Version(0, 7, 1)),
            ("0.2.0+120-eb00c13d", Version(0, 2, 0)),
            ("0.5", Version(0, 5, 0)),
            ("", Version(0, 0, 0)),
            ("git", Version(0, 0, 0)),
        ] {
            assert_eq!(Version::parse(text), version, "{text}");
        }
        assert!(Version(0, 7, 0) < Version::SENSOR_CONFIG);
        assert!(Version(0, 10, 0) > Version::RAW);
    }
}

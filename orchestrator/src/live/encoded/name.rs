//! Public names of a camera's encoded streams, and the sources they stand for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use watchpost_pipelines::camera::{CameraConfig, Role, Source};

/// A stream of a camera by its public name.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StreamName {
    /// The stream that is recorded.
    Main,
    /// The stream that is analysed, where that is another one.
    Sub,
    /// The stream for live view, where that is a third one.
    Live,
}

impl StreamName {
    const ALL: [Self; 3] = [Self::Main, Self::Sub, Self::Live];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Sub => "sub",
            Self::Live => "live",
        }
    }

    /// The streams that a camera has, each with the role of its source.
    pub(crate) fn of(camera: &CameraConfig) -> Vec<(Self, Role)> {
        let mut streams = Vec::new();
        let mut sources: Vec<&Source> = Vec::new();
        for name in Self::ALL {
            let roles: &[Role] = match name {
                Self::Main => &[Role::Record, Role::Live, Role::Detect],
                Self::Sub => &[Role::Detect],
                Self::Live => &[Role::Live],
            };
            let first = roles
                .iter()
                .find_map(|role| Some((*role, camera.source_for(*role)?)));
            if let Some((role, source)) = first
                && !sources.contains(&source)
            {
                streams.push((name, role));
                sources.push(source);
            }
        }
        streams
    }

    /// The stream of the camera that answers as the asked one: `main` where the camera has no such stream, and the stream for
    /// live view where none is named.
    pub(crate) fn resolve(asked: Option<Self>, camera: &CameraConfig) -> Self {
        let streams = Self::of(camera);
        let wanted = match asked.unwrap_or(Self::Live) {
            Self::Main => return Self::Main,
            Self::Sub => Role::Detect,
            Self::Live => Role::Live,
        };
        let source = camera.source_for(wanted);
        let of_source = |(_, role): &&(Self, Role)| camera.source_for(*role) == source;
        streams
            .iter()
            .find(of_source)
            .map_or(Self::Main, |(name, _)| *name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn camera(sources: &[(&str, &[&str])]) -> CameraConfig {
        let sources: Vec<_> = sources
            .iter()
            .map(|(url, roles)| serde_json::json!({"rtsp": {"url": url}, "roles": roles}))
            .collect();
        serde_json::from_value(serde_json::json!({ "sources": sources })).expect("a camera")
    }

    fn resolved(camera: &CameraConfig) -> [StreamName; 4] {
        [
            None,
            Some(StreamName::Main),
            Some(StreamName::Sub),
            Some(StreamName::Live),
        ]
        .map(|asked| StreamName::resolve(asked, camera))
    }

    use StreamName::{Live, Main, Sub};

    #[test]
    fn one_source_answers_for_all() {
        let camera: CameraConfig =
            serde_json::from_value(serde_json::json!({"source": {"test": "walkers"}})).unwrap();
        assert_eq!(StreamName::of(&camera), [(Main, Role::Record)]);
        assert_eq!(resolved(&camera), [Main, Main, Main, Main]);
    }

    #[test]
    fn roles_name_the_streams() {
        let two = camera(&[
            ("rtsp://a/1", &["record"]),
            ("rtsp://a/2", &["detect", "live"]),
        ]);
        assert_eq!(
            StreamName::of(&two),
            [(Main, Role::Record), (Sub, Role::Detect)]
        );
        assert_eq!(resolved(&two), [Sub, Main, Sub, Sub]);
        let three = camera(&[
            ("rtsp://a/1", &["record"]),
            ("rtsp://a/2", &["detect"]),
            ("rtsp://a/3", &["live"]),
        ]);
        assert_eq!(resolved(&three), [Live, Main, Sub, Live]);
    }

    #[test]
    fn without_a_recorded_source_main_is_the_one_for_live_view() {
        let camera = camera(&[("rtsp://a/1", &["live"]), ("rtsp://a/2", &["detect"])]);
        assert_eq!(
            StreamName::of(&camera),
            [(Main, Role::Live), (Sub, Role::Detect)]
        );
        assert_eq!(resolved(&camera), [Main, Main, Sub, Main]);
    }
}

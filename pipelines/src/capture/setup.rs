//! What a camera's pipeline is built for: the uses it serves and the one configuration they share.

use serde_json::{Value, json};

use crate::camera::{CameraConfig, Source};
use crate::libcamera::Abilities;
use crate::tasks::{Conflict, Merged, Size, Stream, Use, plan, standing};

/// The uses of a camera and their configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Setup {
    /// What it serves.
    pub uses: Vec<Use>,
    /// How the camera is configured for that.
    pub configuration: Merged,
}

impl Setup {
    /// What a camera runs with as long as no task has it to itself.
    pub fn standing(camera: &CameraConfig) -> Self {
        let raw = match camera.primary_source() {
            // An old libcamera has no raw stream; without it everything else still runs.
            Some(Source::Libcamera(_)) => Abilities::find().is_ok_and(|a| a.has_raw()),
            _ => true,
        };
        let possible: Vec<Use> = Use::ALL
            .into_iter()
            .filter(|one| raw || *one != Use::RawPhoto)
            .collect();
        let standing = standing(camera, &possible);
        Self {
            uses: standing.uses,
            configuration: standing.configuration,
        }
    }

    /// A camera for these uses alone.
    pub fn alone(camera: &CameraConfig, uses: &[Use]) -> Result<Self, Vec<Conflict>> {
        Ok(Self {
            uses: uses.to_vec(),
            configuration: plan(camera, uses)?,
        })
    }

    /// Whether it serves all of these.
    pub fn serves(&self, uses: &[Use]) -> bool {
        uses.iter().all(|one| self.uses.contains(one))
    }

    /// The stream detection looks at; without detection the largest there is.
    pub(super) fn detect_stream(&self, camera: &CameraConfig) -> Option<Stream> {
        let streams = &self.configuration.streams;
        if self.uses.contains(&Use::Detect) {
            let profile = Use::Detect.profile(&camera.profiles, camera.detect.stream);
            return Some(profile.stream);
        }
        streams.keys().next().copied()
    }

    /// Size of the main stream, where the configuration gives it one.
    pub(super) fn main_size(&self) -> Option<Size> {
        self.configuration.streams.get(&Stream::Main)?.size
    }

    /// Nothing but stills are taken from it.
    pub(super) fn is_still(&self) -> bool {
        self.uses
            .iter()
            .all(|one| matches!(one, Use::Photo | Use::RawPhoto))
    }

    /// For the record of each file.
    pub(super) fn description(&self, source: &Source) -> Value {
        json!({
            "source": source.kind(),
            "uses": self.uses,
            "configuration": self.configuration,
        })
    }
}

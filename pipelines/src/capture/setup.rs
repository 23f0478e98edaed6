//! What a camera's pipeline is built for: the uses it serves and the one configuration they share.

use serde_json::{Value, json};

use crate::camera::{CameraConfig, Source};
use crate::fault::Fault;
use crate::libcamera::{self, Abilities, Offer};
use crate::tasks::{Conflict, Merged, Size, Stream, Use, plan, standing};

/// The uses of a camera and their configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Setup {
    /// What it serves.
    pub uses: Vec<Use>,
    /// How the camera is configured for that.
    pub configuration: Merged,
}

/// Asks a libcamera camera what it offers; it must not be in use. No other source has to be asked.
pub fn ask(camera: &CameraConfig) -> Result<Option<Offer>, Fault> {
    let Some(Source::Libcamera(source)) = camera.primary_source() else {
        return Ok(None);
    };
    let abilities = Abilities::find()?;
    let cameras = libcamera::cameras();
    let meant = libcamera::resolve(&source.camera, &cameras)?;
    Ok(Some(libcamera::ask(meant, &abilities)?))
}

impl Setup {
    /// What a camera runs with as long as no task has it to itself.
    pub fn standing(camera: &CameraConfig, offer: Option<&Offer>) -> Self {
        let standing = standing(camera, offer);
        let raw_alone = offer.is_some_and(|offer| !offer.raw_beside);
        let mut setup = Self {
            uses: standing.uses,
            configuration: standing.configuration,
        };
        if raw_alone {
            setup.uses.retain(|one| *one != Use::RawPhoto);
            setup.configuration.streams.remove(&Stream::Raw);
        }
        setup
    }

    /// A camera for these uses alone.
    pub fn alone(
        camera: &CameraConfig,
        uses: &[Use],
        offer: Option<&Offer>,
    ) -> Result<Self, Vec<Conflict>> {
        Ok(Self {
            uses: uses.to_vec(),
            configuration: plan(camera, uses, offer)?,
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
            // A camera with one stream has main for lores.
            if streams.contains_key(&profile.stream) {
                return Some(profile.stream);
            }
        }
        streams.keys().next().copied()
    }

    /// Size to which pictures are scaled for detection, where it looks at lores and the camera has only larger ones.
    pub(super) fn detect_size(&self, camera: &CameraConfig) -> Option<Size> {
        let Some(Source::Libcamera(_)) = camera.primary_source() else {
            return None;
        };
        let profile = Use::Detect.profile(&camera.profiles, camera.detect.stream);
        let wish = profile.size.filter(|_| profile.stream == Stream::Lores)?;
        let stream = self.detect_stream(camera)?;
        let has = self.configuration.streams.get(&stream)?.size?;
        if has.fits_into(wish) {
            return None;
        }
        // Within the wish, in the shape of what the camera has.
        let (width, height) = (u64::from(has.width), u64::from(has.height));
        let wide = u64::from(wish.width) * height <= u64::from(wish.height) * width;
        let (width, height) = match wide {
            true => (wish.width, (u64::from(wish.width) * height / width) as u32),
            false => (
                (u64::from(wish.height) * width / height) as u32,
                wish.height,
            ),
        };
        Some(Size {
            width: width & !1,
            height: height & !1,
        })
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

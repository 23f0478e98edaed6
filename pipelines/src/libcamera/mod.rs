//! A libcamera camera as GStreamer elements: one `libcamerasrc`, one of its pads per stream, as this installation's
//! libcamera can do it.
//!
//! ```text
//! libcamerasrc .src   -> capsfilter (-> queue) (-> videoflip)    first stream: main, or the only one there is
//!              .src_0 -> capsfilter -> queue (-> videoflip)      lores
//!              .src_1 -> capsfilter -> queue                     raw
//! ```
//!
//! [`build`] does it all. In its parts: [`Abilities::find`] looks at the installed element, [`plan`] turns a merged configuration into what the element is
//! told, or says by name what it cannot do and which libcamera can, and [`Plan::build`] makes the elements, which
//! [`Built::add_to`] links up to [`Built::outputs`]. Only [`Abilities::find`], [`cameras`] and [`Plan::build`] touch
//! GStreamer's elements; the rest is pure.
//!
//! * Each pad of `libcamerasrc` is a stream for libcamera, linked or not. So the first stream is on `src`, which is
//!   always there: left unlinked it would be one stream more than the camera has.
//! * The caps behind a pad always have format, size, frame rate and interlace mode: what is left open, some versions
//!   negotiate wrongly. Colorimetry is the camera's own unless a colour space is set.
//! * What is not set follows what the camera offers, which [`ask`] finds out when the camera starts.
//! * All streams of a camera share one frame rate, kept inside `FrameDurationLimits`.
//!
//! What works with which version is listed for users in `docs/libcamera.md`.

mod abilities;
mod ask;
mod build;
mod cameras;
mod cause;
mod controls;
mod format;
mod modes;
mod offer;
mod plan;
mod rate;

use crate::fault::{Fault, FaultKind};

pub use abilities::{Abilities, Version};
pub use ask::ask;
pub use build::{Built, build};
pub use cameras::{Camera, cameras, resolve};
pub use cause::{cause, cause_of};
pub(crate) use offer::{MAIN_SIZE, NotOffered, choose, formats_of};
pub use offer::{Offer, OfferedFormat, SizeRange, list_formats};
pub use plan::{Plan, PlannedStream, Wanted, plan};

/// Whether two names are those of one raw format, packed or not.
pub(crate) fn is_same_raw(one: &str, other: &str) -> bool {
    let plain = |name| format::bayer(name).map(|bayer| bayer.gst);
    plain(one).is_some_and(|name| plain(other) == Some(name))
}

/// Why a camera cannot be built as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// Whether waiting may help: [`FaultKind::Source`] where it may, else [`FaultKind::Permanent`].
    pub kind: FaultKind,
    /// The key of the profile, such as `controls.ExposureTime`, or of the source.
    pub key: String,
    /// For people.
    pub reason: String,
}

impl Refusal {
    fn new(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            kind: FaultKind::Permanent,
            key: key.into(),
            reason: reason.into(),
        }
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.kind, refusal.reason)
    }
}

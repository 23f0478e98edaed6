//! One camera, many uses: how each task wants the camera configured ([`crate::camera::Profiles`]), what of it goes together ([`merge()`]),
//! how a task that does not fit gets the camera for itself and gives it back ([`exclusive`]), and the tasks themselves.
//!
//! Profiles, merge and exclusive mode are pure: nothing in them opens a camera. The tasks take their pictures from a
//! [`crate::capture::Tap`] of a running camera. The faults of the source of this model (raspiCamSrv) that are not repeated are named
//! where they would be.

mod bayer;
mod dng;
pub mod event;
pub mod exclusive;
pub mod file;
mod film;
mod frames;
mod id;
pub mod live;
pub mod merge;
mod name;
pub mod photo;
pub(crate) mod pipe;
pub mod plan;
pub mod raw;
pub mod schedule;
pub mod series;
mod still;
pub mod task;
pub mod video;

pub use crate::camera::{ControlValue, Profile, Profiles, Size, Stream, Transform};
pub use crate::capture::{Tap, TapLink, Taps};
pub use crate::encode::EncoderSetup;
pub use event::{Events, TaskEvent};
pub use exclusive::{Exclusive, Failure, Outcome, Step};
pub use file::MediaFolder;
pub use id::TaskId;
pub use live::{LiveSetup, LiveTask};
pub use merge::{Conflict, Merged, MergedStream, Use, merge};
pub(crate) use name::{date_of, days_of};
pub use photo::{PhotoSetup, PhotoTask};
pub use plan::{Standing, plan, standing, why_not};
pub use raw::{RawPhotoTask, RawSetup};
pub use series::{SeriesPosition, SeriesSetup, SeriesTask};
pub use task::{MediaFile, Parameters, Task, TaskState, TaskStatus};
pub use video::{VideoSetup, VideoTask};

//! One camera, many uses: how each task wants the camera configured ([`mod@profile`]), what of it goes together ([`merge()`]),
//! how a task that does not fit gets the camera for itself and gives it back ([`exclusive`]), and the tasks themselves.
//!
//! Profiles, merge and exclusive mode are pure: nothing in them opens a camera. The tasks take their pictures from a
//! [`Tap`] of a running camera. The faults of the source of this model (raspiCamSrv) that are not repeated are named
//! where they would be.

mod bayer;
mod dng;
mod encode;
pub mod event;
pub mod exclusive;
pub mod file;
mod film;
mod frames;
mod h264;
pub mod live;
pub mod merge;
mod mp4;
mod name;
mod packet;
pub mod photo;
mod pipe;
pub mod plan;
pub mod prerecord;
pub mod profile;
pub mod raw;
pub mod schedule;
pub mod series;
mod still;
mod tap;
pub mod task;
pub mod video;

pub use event::{Events, TaskEvent};
pub use exclusive::{Exclusive, Failure, Outcome, Step};
pub use file::MediaFolder;
pub use live::{LiveSetup, LiveTask};
pub use merge::{Conflict, Merged, MergedStream, Use, merge};
pub use photo::{PhotoSetup, PhotoTask};
pub use plan::{Standing, plan, standing};
pub use prerecord::{EncoderSetup, PreRecorder};
pub use profile::{ControlValue, Profile, Profiles, Size, Stream, Transform};
pub use raw::{RawPhotoTask, RawSetup};
pub use series::{SeriesPosition, SeriesSetup, SeriesTask};
pub use tap::{Tap, TapLink, Taps};
pub use task::{MediaFile, Parameters, Task, TaskState, TaskStatus};
pub use video::{VideoSetup, VideoTask};

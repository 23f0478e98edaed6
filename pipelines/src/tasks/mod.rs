//! One camera, many uses: how each task wants the camera configured ([`mod@profile`]), what of it goes together ([`merge()`]),
//! how a task that does not fit gets the camera for itself and gives it back ([`exclusive`]), and the tasks themselves.
//!
//! Profiles, merge and exclusive mode are pure: nothing in them opens a camera. The tasks take their pictures from a
//! [`Tap`] of a running camera. The faults of the source of this model (raspiCamSrv) that are not repeated are named
//! where they would be.

pub mod exclusive;
pub mod merge;
pub mod plan;
pub mod profile;
mod tap;
pub mod task;

pub use exclusive::{Exclusive, Failure, Outcome, Step};
pub use merge::{Conflict, Merged, MergedStream, Use, merge};
pub use plan::{Standing, plan, standing};
pub use profile::{ControlValue, Profile, Profiles, Size, Stream, Transform};
pub use tap::{Tap, TapLink, Taps};
pub use task::{MediaFile, Parameters, Task, TaskState, TaskStatus};

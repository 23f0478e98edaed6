//! One camera, many uses: how each task wants the camera configured ([`mod@profile`]), what of it goes together ([`merge()`]),
//! and how a task that does not fit gets the camera for itself and gives it back ([`exclusive`]).
//!
//! All of it is pure: nothing here opens a camera. The faults of the source of this model (raspiCamSrv) that are not
//! repeated are named where they would be.

pub mod exclusive;
pub mod merge;
pub mod profile;

pub use exclusive::{Exclusive, Failure, Outcome, Step};
pub use merge::{Conflict, Merged, MergedStream, Use, merge};
pub use profile::{ControlValue, Profile, Profiles, Size, Stream, Transform};

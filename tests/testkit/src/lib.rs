//! What the tests of several crates share: waiting with a deadline, an HTTP client, RTSP cameras, and the stand-in for
//! libcamera's GStreamer plugin. **For tests only.** It depends on no crate that is tested.

pub mod http;
#[cfg(feature = "rtsp")]
pub mod odd_camera;
#[cfg(feature = "rtsp")]
pub mod rtsp;
mod wait;

#[cfg(feature = "libcamera")]
pub use gstlibcameratest as libcamera;
pub use wait::{PATIENCE, eventually, find, find_within};

//! What a camera is (serde types) and how its GStreamer pipelines are built.
//!
//! [`camera`] is the camera as the configuration file tells it, [`spec`] what a worker is handed, [`scene`] and
//! [`test_source`] the camera that needs no hardware. Depends on no other crate of ours but `detection`; the
//! orchestrator depends on this one.

pub mod analysis;
pub mod camera;
pub mod capture;
pub mod fault;
pub mod gst;
pub mod libcamera;
pub mod model;
pub mod nearest;
pub mod scene;
pub mod secret;
pub mod spec;
mod strides;
pub mod tasks;
pub mod test_source;

pub use camera::CameraConfig;
pub use model::ModelConfig;

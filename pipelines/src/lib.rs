//! What a camera is (serde types) and how its GStreamer pipelines are built.
//!
//! [`camera`] is the camera as the configuration file describes it, [`spec`] what a worker receives. The orchestrator depends
//! on this crate.

pub mod analysis;
pub mod camera;
pub mod capture;
pub mod encode;
pub mod fault;
pub mod gst;
pub mod libcamera;
pub mod model;
pub mod nearest;
pub mod record;
mod rtsp_request;
pub mod secret;
pub mod spec;
mod strides;
pub mod tasks;

pub use camera::CameraConfig;
pub use model::ModelConfig;

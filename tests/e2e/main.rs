//! `watchpost` from the outside: real processes, real signals, a real RTSP server, a real model.

mod access;
mod bad_input;
mod changes;
mod cli;
mod faults;
mod frigate;
mod history;
mod hooks;
mod host;
mod libcamera;
mod live_video;
mod media;
mod memory;
mod mqtt;
#[path = "../../plugins/regiondetect/tests/support/onnx.rs"]
#[allow(dead_code)]
mod onnx;
mod recordings;
mod rtsp;
mod several_recordings;
mod silence;
mod sockets;
mod supervision;
mod support;
mod tasks;
mod upgrade;

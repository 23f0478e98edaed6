//! `watchpost` from the outside: real processes, real signals, a real RTSP server, a real model.

mod bad_input;
mod changes;
mod rtsp;
mod supervision;
mod support;

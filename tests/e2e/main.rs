//! `watchpost` from the outside: real processes, real signals, a real RTSP server, a real model.

mod access;
mod bad_input;
mod changes;
mod cli;
mod faults;
mod history;
mod host;
mod libcamera;
mod media;
mod memory;
mod mqtt;
mod rtsp;
mod sockets;
mod supervision;
mod support;
mod tasks;
mod upgrade;

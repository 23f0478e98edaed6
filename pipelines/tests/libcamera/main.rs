//! Cameras of libcamera against the stand-in for its plugin, at several versions; each test in a process of its own.

mod cameras;
mod controls;
mod faults;
mod launch;
mod offers;
mod streams;
mod support;

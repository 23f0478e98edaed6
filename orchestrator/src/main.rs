//! `watchpost`: builds, supervises and changes per-camera pipelines.

fn main() {}

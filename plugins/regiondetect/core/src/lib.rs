//! Motion, region grid, region choice, crop-to-tensor, model decoders and NMS; no GStreamer.

pub mod grid;
pub mod reduce;
pub mod regions;

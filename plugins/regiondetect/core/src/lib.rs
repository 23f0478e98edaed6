//! Motion, region grid, region choice, crop-to-tensor, model decoders and NMS; no GStreamer.

pub mod decode;
pub mod grid;
pub mod mask;
pub mod motion;
pub mod nms;
pub mod reduce;
pub mod regions;
pub mod tensor;

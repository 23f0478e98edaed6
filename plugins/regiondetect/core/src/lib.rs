//! Motion, region grid, region choice, crop-to-tensor, model decoders and NMS; no GStreamer.

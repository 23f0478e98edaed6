//! What a camera is (serde types) and how its GStreamer pipelines are built.

//! Detections, regions and tracks as GStreamer buffer metadata, events and messages.
//!
//! The only place that knows the exact layouts of `docs/design/contracts.md`. Registers no GObject type, because each plugin
//! library has its own copy of this crate; the one custom meta it registers by name is guarded.

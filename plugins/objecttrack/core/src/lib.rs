//! Object tracking for surveillance cameras: Kalman, association, lifecycle, resting objects; no GStreamer.

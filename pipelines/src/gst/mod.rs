//! Helpers for GStreamer that several pipelines share.

mod error;

pub use error::error_words;

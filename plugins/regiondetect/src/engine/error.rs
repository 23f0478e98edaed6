//! Why there are no detections, in words for the person who can do something about it.

use std::path::PathBuf;

use regiondetect_core::decode::ModelError;

/// An engine that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The model file cannot be read.
    #[error("model file {}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// ONNX Runtime is not there, or too old.
    #[error(
        "ONNX Runtime was not found. Install it (`make setup` here, or the package libonnxruntime of your distribution, \
         1.17 or newer) or name its library with the property `onnxruntime` or the variable ORT_DYLIB_PATH. Looked at: {}",
        tried.join("; ")
    )]
    Library {
        /// The places and what was wrong with each.
        tried: Vec<String>,
    },
    /// ONNX Runtime does not take the model.
    #[error("model file {}: ONNX Runtime {runtime} does not load it: {message}", path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// Version of the library.
        runtime: String,
        /// What it says.
        message: String,
    },
    /// The model is no detection model we know.
    #[error("model file {}: {error}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What was found and what is supported.
        error: ModelError,
    },
    /// The model loads but does not run.
    #[error("model file {}: it does not run: {message}", path.display())]
    Probe {
        /// The file.
        path: PathBuf,
        /// What ONNX Runtime says.
        message: String,
    },
    /// The execution provider is not in this build of ONNX Runtime, or its device is not there.
    #[error("provider {asked} cannot be used ({message}); available with {library}: {}", available.join(", "))]
    Provider {
        /// What was asked for.
        asked: String,
        /// Why not.
        message: String,
        /// The library of ONNX Runtime.
        library: String,
        /// What there is.
        available: Vec<String>,
    },
}

/// A frame that went without (all) its detections.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The engine did not answer in time.
    #[error(
        "the engine did not answer within {0:?}: it is too slow for this many cameras, or hangs"
    )]
    Timeout(std::time::Duration),
    /// The model failed.
    #[error("{0}")]
    Failed(String),
}

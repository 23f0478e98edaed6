//! Errors of the HTTP interface: one type, one place that knows the status codes.

use crate::supervisor::Gone;
use axum::Json;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Why a request was not served. The body is `{"error": "..."}`.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// 404
    #[error("there is no camera {0:?}")]
    NoSuchCamera(String),
    /// 404
    #[error("there is nothing at {0}")]
    NoSuchPath(String),
    /// 404
    #[error("there is no event {0}")]
    NoSuchEvent(i64),
    /// 503
    #[error("there is no store: data_dir could not be used, as the log says")]
    NoStore,
    /// 500
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    /// Never sent: whoever listened has gone.
    #[error("nobody listens any more")]
    NoListener,
    /// 503
    #[error(transparent)]
    Gone(#[from] Gone),
}

impl ApiError {
    fn code(&self) -> StatusCode {
        match self {
            ApiError::NoSuchCamera(_) | ApiError::NoSuchPath(_) | ApiError::NoSuchEvent(_) => {
                StatusCode::NOT_FOUND
            }
            ApiError::Store(_) | ApiError::NoListener => StatusCode::INTERNAL_SERVER_ERROR,
            ApiError::NoStore | ApiError::Gone(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.code(), Json(json!({ "error": self.to_string() }))).into_response()
    }
}

/// Answers every path that does not exist.
pub async fn no_such_path(uri: Uri) -> ApiError {
    ApiError::NoSuchPath(uri.path().to_owned())
}

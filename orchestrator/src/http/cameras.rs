//! What cameras do.

use super::Api;
use super::error::ApiError;
use crate::supervisor::status::{CameraStatus, Status};
use axum::Json;
use axum::extract::{Path, State};

/// `GET /api/status`: the program and all cameras.
pub async fn status(State(api): State<Api>) -> Result<Json<Status>, ApiError> {
    Ok(Json(api.supervisor.status().await?))
}

/// `GET /api/cameras`: all cameras.
pub async fn list(State(api): State<Api>) -> Result<Json<Vec<CameraStatus>>, ApiError> {
    Ok(Json(api.supervisor.status().await?.cameras))
}

/// `GET /api/cameras/{name}`: one camera.
pub async fn one(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<CameraStatus>, ApiError> {
    let status = api.supervisor.status().await?;
    status
        .cameras
        .into_iter()
        .find(|camera| camera.name == name)
        .map(Json)
        .ok_or(ApiError::NoSuchCamera(name))
}

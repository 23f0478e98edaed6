//! What cameras do.

use super::Api;
use super::error::ApiError;
use crate::supervisor::status::{CameraStatus, Status};
use axum::Json;
use axum::extract::{Path, State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `GET /api/status`: the program and all cameras.
pub async fn status(State(api): State<Api>) -> Result<Json<Status>, ApiError> {
    let mut status = api.supervisor.status().await?;
    status.measure_processes();
    Ok(Json(status))
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

/// Body and answer of `POST /api/cameras/{name}/moving`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Moving {
    /// Whether the camera moves.
    moving: bool,
}

/// `POST /api/cameras/{name}/moving` `{"moving": true}`: a PTZ camera moves; `false` when it has come to rest.
pub async fn moving(
    State(api): State<Api>,
    Path(name): Path<String>,
    body: Result<Json<Moving>, axum::extract::rejection::JsonRejection>,
) -> Result<Json<Moving>, ApiError> {
    let Json(body) = body?;
    if api.supervisor.moving(&name, body.moving).await? {
        Ok(Json(body))
    } else {
        Err(ApiError::NoSuchCamera(name))
    }
}

//! What cameras do.

use super::access::Identity;
use super::error::ApiError;
use super::{Api, Seen};
use crate::supervisor::status::measure_processes;
use axum::Json;
use axum::extract::{Path, State};
use watchpost_api::{CameraStatus, Moving, Status};

/// `GET /api/status`: the program and all cameras.
pub async fn status(State(api): State<Api>, identity: Identity) -> Result<Json<Status>, ApiError> {
    let mut status = api.supervisor.status().await?.seen_by(&identity);
    measure_processes(&mut status);
    Ok(Json(status))
}

/// `GET /api/cameras`: all cameras.
pub async fn list(
    State(api): State<Api>,
    identity: Identity,
) -> Result<Json<Vec<CameraStatus>>, ApiError> {
    let status = api.supervisor.status().await?.seen_by(&identity);
    Ok(Json(status.cameras))
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

//! Whether it lives, whether it does its work.

use super::access::Identity;
use super::error::ApiError;
use super::{Api, Seen};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use watchpost_api::{Health, Readiness, Waiting};

/// `GET /healthz`: 200 while the supervisor answers.
pub async fn alive(State(api): State<Api>) -> Result<Json<Health>, ApiError> {
    api.supervisor.status().await?;
    Ok(Json(Health {
        status: "ok".into(),
    }))
}

/// `GET /readyz`: 200 when every enabled camera streams and its detection works, else 503 with the others.
pub async fn ready(State(api): State<Api>, identity: Identity) -> Result<Response, ApiError> {
    let status = api.supervisor.status().await?.seen_by(&identity);
    let cameras: Vec<_> = status
        .not_ready()
        .into_iter()
        .map(|camera| Waiting {
            name: camera.name.clone(),
            state: camera.state,
            reason: camera.reason.clone(),
        })
        .collect();
    let (code, status) = if cameras.is_empty() {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready")
    };
    let status = status.to_owned();
    Ok((code, Json(Readiness { status, cameras })).into_response())
}

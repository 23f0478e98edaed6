//! Whether it lives, whether it does its work.

use super::Api;
use super::error::ApiError;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// `GET /healthz`: 200 while the supervisor answers.
pub async fn alive(State(api): State<Api>) -> Result<Json<serde_json::Value>, ApiError> {
    api.supervisor.status().await?;
    Ok(Json(json!({ "status": "ok" })))
}

/// `GET /readyz`: 200 when every enabled camera streams, else 503 with those that do not.
pub async fn ready(State(api): State<Api>) -> Result<Response, ApiError> {
    let status = api.supervisor.status().await?;
    let waiting: Vec<_> = status
        .not_ready()
        .iter()
        .map(|c| json!({ "name": c.name, "state": c.state, "reason": c.reason }))
        .collect();
    let (code, text) = if waiting.is_empty() {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready")
    };
    Ok((code, Json(json!({ "status": text, "cameras": waiting }))).into_response())
}

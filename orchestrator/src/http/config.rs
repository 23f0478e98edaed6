//! Changes of the configuration.

use super::Api;
use super::access::Identity;
use super::error::ApiError;
use super::query::QueryOf;
use crate::reload::{ApplyOptions, Edit};
use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use serde_json::Value;
use watchpost_api::{Change, ChangeOptions};

fn options(how: &ChangeOptions) -> Result<ApplyOptions, ApiError> {
    let flag = |name: &str, value: &Option<String>, unset| match value.as_deref() {
        None => Ok(unset),
        Some("1" | "true") => Ok(true),
        Some("0" | "false") => Ok(false),
        Some(other) => Err(ApiError::Parameter(format!(
            "{name}={other}, expected 0 or 1"
        ))),
    };
    Ok(ApplyOptions {
        dry_run: flag("dry_run", &how.dry_run, false)?,
        persist: flag("persist", &how.persist, true)?,
    })
}

type BodyResult = Result<Json<Value>, JsonRejection>;

/// `GET /api/config`: the configuration at work, secrets as `***`, references unresolved.
pub async fn get(State(api): State<Api>, identity: Identity) -> Result<Json<Value>, ApiError> {
    let shown = api.changes.shown().await?;
    if identity.cameras.is_none() {
        return Ok(Json(shown));
    }
    // The other sections may name cameras, too: the users' limits, for one.
    let cameras = shown["cameras"].as_object().into_iter().flatten();
    let seen = cameras.filter(|(name, _)| identity.sees(name));
    let seen: serde_json::Map<_, _> = seen.map(|(n, c)| (n.clone(), c.clone())).collect();
    Ok(Json(serde_json::json!({ "cameras": seen })))
}

/// `POST /api/config`: the whole configuration.
pub async fn post(
    State(api): State<Api>,
    QueryOf(how): QueryOf<ChangeOptions>,
    body: BodyResult,
) -> Result<Json<Change>, ApiError> {
    change(&api, how, Edit::All(value(body)?)).await
}

/// `PUT /api/cameras/{name}`: add or replace a camera.
pub async fn put_camera(
    State(api): State<Api>,
    Path(name): Path<String>,
    QueryOf(how): QueryOf<ChangeOptions>,
    body: BodyResult,
) -> Result<Json<Change>, ApiError> {
    change(&api, how, Edit::Put(name, value(body)?)).await
}

/// `PATCH /api/cameras/{name}`: change some keys (JSON merge patch).
pub async fn patch_camera(
    State(api): State<Api>,
    Path(name): Path<String>,
    QueryOf(how): QueryOf<ChangeOptions>,
    body: BodyResult,
) -> Result<Json<Change>, ApiError> {
    change(&api, how, Edit::Patch(name, value(body)?)).await
}

/// `DELETE /api/cameras/{name}`.
pub async fn delete_camera(
    State(api): State<Api>,
    Path(name): Path<String>,
    QueryOf(how): QueryOf<ChangeOptions>,
) -> Result<Json<Change>, ApiError> {
    change(&api, how, Edit::Remove(name)).await
}

fn value(body: BodyResult) -> Result<Value, ApiError> {
    Ok(body.map(|Json(value)| value)?)
}

async fn change(api: &Api, how: ChangeOptions, edit: Edit) -> Result<Json<Change>, ApiError> {
    let options = options(&how)?;
    let actions = api.changes.change(edit, options).await?;
    Ok(Json(Change {
        dry_run: options.dry_run,
        actions,
    }))
}

//! What cameras' tasks made: listed, fetched, removed.

use std::os::fd::AsRawFd;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tower_http::services::ServeFile;
use watchpost_pipelines::tasks::Task;

use super::Api;
use super::error::ApiError;
use crate::media::{Media, Part};
use crate::store::{MediaFilter, MediaItem};

/// Which media; all that are given must hold.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MediaQuery {
    /// Of this camera.
    camera: Option<String>,
    /// Made by this task.
    task: Option<Task>,
    /// Of the series of this name.
    series: Option<String>,
    /// Taken at this time or later; seconds since 1970.
    after: Option<f64>,
    /// Taken before this time; seconds since 1970.
    before: Option<f64>,
    /// Numbers below this one: for the next page, the `id` of the last item of this one.
    before_id: Option<i64>,
    /// At most this many, 1 to 1000; 100 if not given.
    limit: Option<usize>,
}

/// A file that a task made.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "MediaItem")]
pub struct Item {
    #[serde(flatten)]
    media: MediaItem,
    /// Where the file is fetched.
    url: String,
    /// Where a small JPEG of it is fetched, if there is one.
    thumbnail_url: Option<String>,
}

impl From<MediaItem> for Item {
    fn from(media: MediaItem) -> Self {
        let at = |what: &str| format!("/api/media/{}/{what}", media.id);
        Self {
            url: at("file"),
            thumbnail_url: media.thumbnail.as_ref().map(|_| at("thumbnail")),
            media,
        }
    }
}

/// `GET /api/media`: newest first.
pub async fn list(
    State(api): State<Api>,
    query: Result<Query<MediaQuery>, QueryRejection>,
) -> Result<Json<Vec<Item>>, ApiError> {
    let Query(query) = query.map_err(|error| ApiError::Parameter(error.body_text()))?;
    let filter = MediaFilter {
        camera: query.camera,
        task: query.task,
        series: query.series,
        after: query.after,
        before: query.before,
        before_id: query.before_id,
        limit: query.limit,
    };
    let items = api.ask_store(move |store| store.media(&filter)).await?;
    Ok(Json(items.into_iter().map(Item::from).collect()))
}

type Id = Result<Path<i64>, PathRejection>;

/// `GET /api/media/{id}`.
pub async fn one(State(api): State<Api>, id: Id) -> Result<Json<Item>, ApiError> {
    find(&api, id).await.map(|item| Json(item.into()))
}

/// `GET /api/media/{id}/file`: whole or in ranges.
pub async fn file(State(api): State<Api>, id: Id, request: Request) -> Result<Response, ApiError> {
    let item = find(&api, id).await?;
    let media_type = item.media_type.clone();
    serve(&api, item, Part::File, &media_type, request).await
}

/// `GET /api/media/{id}/thumbnail`: a small JPEG of it.
pub async fn thumbnail(
    State(api): State<Api>,
    id: Id,
    request: Request,
) -> Result<Response, ApiError> {
    let item = find(&api, id).await?;
    serve(&api, item, Part::Thumbnail, "image/jpeg", request).await
}

/// `DELETE /api/media/{id}`: the file and all that belongs to it. Answers with what it was.
pub async fn delete(State(api): State<Api>, id: Id) -> Result<Json<Item>, ApiError> {
    let item = find(&api, id).await?;
    match media(&api)?.remove(item.id).await {
        Ok(true) => Ok(Json(item.into())),
        Ok(false) => Err(ApiError::NoSuchMedia(item.id)),
        Err(error) => Err(ApiError::Media(error)),
    }
}

async fn find(api: &Api, id: Id) -> Result<MediaItem, ApiError> {
    let Path(id) = id.map_err(|error| ApiError::Parameter(error.body_text()))?;
    let item = api.ask_store(move |store| store.media_item(id)).await?;
    item.ok_or(ApiError::NoSuchMedia(id))
}

fn media(api: &Api) -> Result<&Media, ApiError> {
    api.media.as_ref().ok_or(ApiError::NoStore)
}

async fn serve(
    api: &Api,
    item: MediaItem,
    part: Part,
    media_type: &str,
    request: Request,
) -> Result<Response, ApiError> {
    let id = item.id;
    let keeper = media(api)?.clone();
    let name = download_name(&item, part);
    let opened = tokio::task::spawn_blocking(move || keeper.open(&item, part)).await;
    let file = match opened {
        Ok(Ok(file)) => file,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(ApiError::NoMediaFile(id));
        }
        Ok(Err(error)) => return Err(ApiError::Media(format!("media {id}: {error}"))),
        Err(_) => return Err(ApiError::NoStore),
    };
    // By its descriptor, so that what is served is what was found in the folder, whatever happens to the name meanwhile.
    let opened_file = format!("/proc/self/fd/{}", file.as_raw_fd());
    let served = ServeFile::new(opened_file).try_call(request).await;
    drop(file);
    let served = served.map_err(|error| ApiError::Media(format!("media {id}: {error}")))?;
    let mut response = served.map(Body::new);
    let headers = response.headers_mut();
    if headers.contains_key(CONTENT_TYPE) {
        let media_type = HeaderValue::from_str(media_type);
        headers.insert(
            CONTENT_TYPE,
            media_type.unwrap_or(HeaderValue::from_static("application/octet-stream")),
        );
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(disposition) = HeaderValue::from_str(&format!("inline; filename=\"{name}\"")) {
        headers.insert(CONTENT_DISPOSITION, disposition);
    }
    if response.status() == StatusCode::NOT_FOUND {
        return Err(ApiError::NoMediaFile(id));
    }
    Ok(response)
}

/// `front-2026-11-21-14-23-00.123-photo.jpg`: says all by itself, with nothing in it that a file system minds.
fn download_name(item: &MediaItem, part: Part) -> String {
    let ending = match part {
        Part::File => "",
        Part::Thumbnail => ".thumbnail.jpg",
    };
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~') {
            c
        } else {
            '-'
        }
    };
    format!("{}-{}{ending}", item.camera, item.name)
        .chars()
        .map(plain)
        .collect()
}

//! What cameras' tasks made: listed, fetched, removed.

use std::os::fd::AsRawFd;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    CONTENT_DISPOSITION, CONTENT_RANGE, CONTENT_TYPE, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use tower_http::services::ServeFile;
use watchpost_api::{Media as MediaItem, MediaEntry, MediaQuery};

use super::Api;
use super::access::Identity;
use super::error::ApiError;
use super::query::{Id, QueryOf};
use crate::media::{Media, Part};
use crate::store::MediaFilter;

/// `GET /api/media`: newest first.
pub async fn list(
    State(api): State<Api>,
    identity: Identity,
    QueryOf(query): QueryOf<MediaQuery>,
) -> Result<Json<Vec<MediaEntry>>, ApiError> {
    let filter = MediaFilter {
        camera: query.camera,
        cameras: identity.limit(),
        task: query.task,
        series: query.series,
        after: query.after,
        before: query.before,
        before_id: query.before_id,
        limit: query.limit,
    };
    let items = api.ask_store(move |store| store.media(&filter)).await?;
    Ok(Json(items.into_iter().map(MediaEntry::from).collect()))
}

/// `GET /api/media/{id}`.
pub async fn one(
    State(api): State<Api>,
    identity: Identity,
    Id(id): Id,
) -> Result<Json<MediaEntry>, ApiError> {
    find(&api, &identity, id)
        .await
        .map(|item| Json(item.into()))
}

/// `GET /api/media/{id}/file`: whole or in ranges.
pub async fn file(
    State(api): State<Api>,
    identity: Identity,
    Id(id): Id,
    request: Request,
) -> Result<Response, ApiError> {
    let item = find(&api, &identity, id).await?;
    let media_type = item.media_type.clone();
    serve(&api, item, Part::File, &media_type, request).await
}

/// `GET /api/media/{id}/thumbnail`: a small JPEG of it.
pub async fn thumbnail(
    State(api): State<Api>,
    identity: Identity,
    Id(id): Id,
    request: Request,
) -> Result<Response, ApiError> {
    let item = find(&api, &identity, id).await?;
    serve(&api, item, Part::Thumbnail, "image/jpeg", request).await
}

/// `DELETE /api/media/{id}`: the file and all that belongs to it. Answers with what it was.
pub async fn delete(
    State(api): State<Api>,
    identity: Identity,
    Id(id): Id,
) -> Result<Json<MediaEntry>, ApiError> {
    let item = find(&api, &identity, id).await?;
    match media(&api)?.remove(item.id).await {
        Ok(true) => Ok(Json(item.into())),
        Ok(false) => Err(ApiError::NoSuchMedia(item.id)),
        Err(error) => Err(ApiError::Media(error)),
    }
}

async fn find(api: &Api, identity: &Identity, id: i64) -> Result<MediaItem, ApiError> {
    let item = api.ask_store(move |store| store.media_item(id)).await?;
    let item = item.filter(|item| identity.sees(&item.camera));
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
    mut request: Request,
) -> Result<Response, ApiError> {
    let (id, size) = (item.id, item.size);
    let range = request.headers_mut().remove(RANGE);
    if let Some(range) = range.as_ref().and_then(|range| one_range(range, size)) {
        request.headers_mut().insert(RANGE, range);
    }
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
    match response.status() {
        StatusCode::NOT_FOUND => Err(ApiError::NoMediaFile(id)),
        StatusCode::RANGE_NOT_SATISFIABLE => {
            let mut refused = ApiError::NoSuchRange(id, size).into_response();
            if let Some(size) = response.headers_mut().remove(CONTENT_RANGE) {
                refused.headers_mut().insert(CONTENT_RANGE, size);
            }
            Ok(refused)
        }
        _ => Ok(response),
    }
}

/// `bytes=0-99`, `bytes=100-` or `bytes=-100`, clipped to the file's size. Several parts, other units and what is no range at
/// all are left unread, as RFC 9110 has it: the answer is the whole file.
fn one_range(range: &HeaderValue, size: u64) -> Option<HeaderValue> {
    let range = range.to_str().ok()?.strip_prefix("bytes=")?;
    let (first, last) = range.split_once('-')?;
    // A number above all others is as good as one that does not fit.
    let number = |text: &str| match text {
        "" => Some(None),
        text if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(Some(text.parse().unwrap_or(u64::MAX)))
        }
        _ => None,
    };
    let text = match (number(first)?, number(last)?) {
        (None, None) => return None,
        // Of an empty file there is no end; a range of nothing begins behind any file.
        (None, Some(count)) if count >= size && size > 0 => "bytes=0-".into(),
        (None, Some(count)) => format!("bytes=-{count}"),
        (Some(first), Some(last)) if first > last => return None,
        (Some(first), Some(last)) if last < size => format!("bytes={first}-{last}"),
        (Some(first), _) => format!("bytes={first}-"),
    };
    HeaderValue::from_str(&text).ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_clipped_to_the_file() {
        let of = |text: &'static str| {
            let range = one_range(&HeaderValue::from_static(text), 1000)?;
            Some(range.to_str().unwrap().to_owned())
        };
        for (text, clipped) in [
            ("bytes=0-99", "bytes=0-99"),
            ("bytes=100-", "bytes=100-"),
            ("bytes=-100", "bytes=-100"),
            ("bytes=-99999999999", "bytes=0-"),
            ("bytes=-99999999999999999999999", "bytes=0-"),
            ("bytes=0-99999999999999999999999", "bytes=0-"),
            ("bytes=5000-6000", "bytes=5000-"),
        ] {
            assert_eq!(of(text).as_deref(), Some(clipped), "{text}");
        }
        for text in [
            "bytes=-",
            "bytes=0-1,3-4",
            "lines=1-2",
            "bytes=+1-2",
            "bytes=9-1",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}

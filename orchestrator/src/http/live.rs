//! The live picture: as a stream of JPEGs, and the newest one.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::Api;
use super::error::ApiError;
use crate::clock::seconds;
use crate::live::{NoPicture, Picture, Viewer};

/// What browsers show as a moving picture.
pub const STREAM_TYPE: &str = "multipart/x-mixed-replace; boundary=frame";
/// A part ends with this: a browser shows a picture only when it sees the boundary behind it.
const BOUNDARY: &str = "\r\n--frame\r\n";
/// How long a first picture may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Oldest picture that counts as what the camera sees now.
const FRESH: Duration = Duration::from_secs(1);

/// `GET /api/cameras/{name}/snapshot.jpg`: the newest picture, no older than a second.
pub async fn snapshot(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<impl IntoResponse, ApiError> {
    let (_, picture) = first(&api, &name).await?;
    let headers = [
        (CONTENT_TYPE, "image/jpeg".to_owned()),
        (CACHE_CONTROL, "no-store".to_owned()),
        (
            "x-timestamp".parse().expect("a header's name"),
            timestamp(&picture),
        ),
    ];
    Ok((headers, picture.jpeg))
}

/// `GET /api/cameras/{name}/live.mjpg`: pictures as they come, as long as somebody listens.
pub async fn stream(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    let (viewer, picture) = first(&api, &name).await?;
    let (sender, parts) = mpsc::channel(1);
    let done = api.done.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = done.cancelled() => {}
            () = sender.closed() => {}
            () = feed(viewer, picture, &sender) => {}
        }
    });
    let headers = [(CONTENT_TYPE, STREAM_TYPE), (CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(ReceiverStream::new(parts))).into_response())
}

/// Looks at a camera until the first picture is there.
async fn first(api: &Api, name: &str) -> Result<(Viewer, Picture), ApiError> {
    let mut viewer = api.live.look(name)?;
    match tokio::time::timeout(PATIENCE, viewer.fresh(FRESH)).await {
        Ok(picture) => Ok((viewer, picture?)),
        Err(_) => {
            let state = api.live.state(name).await?;
            let text = format!("no picture within {} s: {state}", PATIENCE.as_secs());
            Err(NoPicture::Reason(text).into())
        }
    }
}

type Part = Result<Bytes, Infallible>;

/// Sends pictures until there are no more, or nobody takes them any more.
async fn feed(mut viewer: Viewer, mut picture: Picture, sender: &mpsc::Sender<Part>) {
    let mut opening = "--frame\r\n";
    loop {
        let head = format!(
            "{opening}Content-Type: image/jpeg\r\nContent-Length: {}\r\nX-Timestamp: {}\r\n\r\n",
            picture.jpeg.len(),
            timestamp(&picture)
        );
        opening = "";
        for part in [
            head.into(),
            picture.jpeg,
            Bytes::from_static(BOUNDARY.as_bytes()),
        ] {
            if sender.send(Ok(part)).await.is_err() {
                return;
            }
        }
        match viewer.next().await {
            Ok(next) => picture = next,
            Err(_) => return,
        }
    }
}

fn timestamp(picture: &Picture) -> String {
    format!("{:.3}", seconds(picture.time))
}

//! Encoded live video: over a WebSocket for pages, and as an endless MP4 for players.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_stream::wrappers::ReceiverStream;

use super::access::Session;
use super::error::ApiError;
use super::{Api, NOT_TAKEN};
use crate::live::NoPicture;
use crate::live::encoded::{Initialisation, Item, StreamName, Viewer};

/// Time from one ping to the next.
const PING: Duration = Duration::from_secs(15);
/// Time until the first frame of an MP4 body.
const FIRST_FRAME: Duration = Duration::from_secs(15);
/// Fragments between a stream and the connection of a player.
const QUEUED: usize = 4;

const NOT_FOUND: u16 = 4404;
const NO_PLACE: u16 = 4503;

/// Parameters of a live stream.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LiveQuery {
    /// The stream; without it the one for live view.
    stream: Option<StreamName>,
    /// 1: with sound, where the camera has it.
    #[serde(default)]
    #[expect(dead_code, reason = "accepted now; streams have no sound yet")]
    audio: u8,
}

/// `GET /api/cameras/{name}/live.ws`: `init`, then the initialisation segment, then fragments of one frame.
pub(super) async fn socket(
    State(api): State<Api>,
    Path(name): Path<String>,
    session: Session,
    Query(query): Query<LiveQuery>,
    upgrade: WebSocketUpgrade,
) -> Result<Response, ApiError> {
    let camera = api.supervisor.camera(&name).await?;
    Ok(upgrade.on_upgrade(move |socket| async move {
        let Some(camera) = camera else {
            return close(socket, NOT_FOUND, "no such camera").await;
        };
        let stream = StreamName::resolve(query.stream, &camera);
        match api.live.encoded().watch(&name, stream) {
            Ok(viewer) => {
                let done = api.done.clone();
                tokio::select! {
                    () = done.cancelled() => {}
                    () = serve(socket, session, viewer, stream) => {}
                }
            }
            Err(refused) => close(socket, NO_PLACE, &refused.to_string()).await,
        }
    }))
}

async fn close(mut socket: WebSocket, code: u16, reason: &str) {
    let frame = CloseFrame {
        code,
        reason: reason.into(),
    };
    let _ = timeout(NOT_TAKEN, socket.send(Message::Close(Some(frame)))).await;
}

async fn serve(mut socket: WebSocket, session: Session, mut viewer: Viewer, stream: StreamName) {
    let mut ping = interval_at(Instant::now() + PING, PING);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ended = std::pin::pin!(session.ended());
    loop {
        let messages = tokio::select! {
            end = &mut ended => return close(socket, end.code(), end.reason()).await,
            item = viewer.next() => match item {
                Some(item) => messages(item, stream),
                None => return,
            },
            _ = ping.tick() => vec![Message::Ping(Bytes::new())],
            received = socket.recv() => match received {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => continue,
            },
        };
        for message in messages {
            match timeout(NOT_TAKEN, socket.send(message)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return,
            }
        }
    }
}

fn messages(item: Item, stream: StreamName) -> Vec<Message> {
    let text = |json: serde_json::Value| Message::Text(json.to_string().into());
    match item {
        Item::Initialisation(initialisation) => vec![
            text(describe(&initialisation, stream)),
            Message::Binary(initialisation.segment.clone()),
        ],
        Item::Fragment(fragment) => vec![Message::Binary(fragment.bytes)],
        Item::Dropped(frames) => vec![text(json!({"type": "dropped", "frames": frames}))],
        Item::Interrupted(reason) => {
            vec![text(
                json!({"type": "state", "state": "interrupted", "reason": &*reason}),
            )]
        }
    }
}

fn describe(initialisation: &Initialisation, stream: StreamName) -> serde_json::Value {
    json!({
        "type": "init",
        "mime": initialisation.mime,
        "stream": stream.as_str(),
        "version": initialisation.version,
        "width": initialisation.width,
        "height": initialisation.height,
        "epoch": initialisation.epoch,
    })
}

/// `GET /api/cameras/{name}/live.mp4`: the same bytes as an endless body; ends at a new stream version.
pub(super) async fn body(
    State(api): State<Api>,
    Path(name): Path<String>,
    Query(query): Query<LiveQuery>,
) -> Result<Response, ApiError> {
    let Some(camera) = api.supervisor.camera(&name).await? else {
        return Err(NoPicture::NoCamera(name).into());
    };
    let mut viewer = api
        .live
        .encoded()
        .watch(&name, StreamName::resolve(query.stream, &camera))
        .map_err(|refused| NoPicture::Reason(refused.to_string()))?;
    let first = timeout(FIRST_FRAME, first_segment(&mut viewer)).await;
    let first = match first {
        Ok(Ok(segment)) => segment,
        Ok(Err(reason)) => return Err(NoPicture::Reason(reason).into()),
        Err(_) => {
            let reason = format!("no frame within {} s", FIRST_FRAME.as_secs());
            return Err(NoPicture::Reason(reason).into());
        }
    };
    let (sender, parts) = mpsc::channel::<Result<Bytes, std::convert::Infallible>>(QUEUED);
    let done = api.done.clone();
    tokio::spawn(async move {
        let feed = async {
            if sender.send(Ok(first)).await.is_err() {
                return;
            }
            while let Some(item) = viewer.next().await {
                match item {
                    Item::Fragment(fragment) => {
                        match timeout(NOT_TAKEN, sender.send(Ok(fragment.bytes))).await {
                            Ok(Ok(())) => {}
                            Ok(Err(_)) | Err(_) => return,
                        }
                    }
                    Item::Dropped(_) => {}
                    Item::Initialisation(_) | Item::Interrupted(_) => return,
                }
            }
        };
        tokio::select! {
            () = done.cancelled() => {}
            () = sender.closed() => {}
            () = feed => {}
        }
    });
    let headers = [(CONTENT_TYPE, "video/mp4"), (CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(ReceiverStream::new(parts))).into_response())
}

/// Waits for the initialisation segment.
async fn first_segment(viewer: &mut Viewer) -> Result<Bytes, String> {
    let mut last = String::from("the stream has ended");
    while let Some(item) = viewer.next().await {
        match item {
            Item::Initialisation(initialisation) => return Ok(initialisation.segment.clone()),
            Item::Interrupted(reason) => last = reason.to_string(),
            Item::Fragment(_) | Item::Dropped(_) => {}
        }
    }
    Err(last)
}

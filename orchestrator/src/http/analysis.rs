//! `GET /api/cameras/{name}/analysis.ws`: what is found in each frame, over a WebSocket.

use std::sync::Arc;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{Path, State};
use axum::response::Response;
use tokio::sync::watch;
use watchpost_api::AnalysedFrame;

use super::Api;
use super::access::Session;
use super::error::ApiError;
use super::socket::{self, NOT_FOUND, Socket};

/// Accepts the WebSocket. It ends with 4404 where there is no such camera, or when the camera is removed or gets another name.
pub async fn frames(
    State(api): State<Api>,
    Path(name): Path<String>,
    session: Session,
    upgrade: WebSocketUpgrade,
) -> Result<Response, ApiError> {
    // Before the question, so that a camera that is removed meanwhile is noticed.
    let mut frames = api.bus.frames().watch(&name);
    let known = api.supervisor.camera(&name).await?.is_some();
    Ok(socket::accept(
        upgrade,
        api.done.clone(),
        Some(session),
        move |mut socket| async move {
            if !known || send_frames(&mut socket, &mut frames).await {
                let reason = ApiError::NoSuchCamera(name).to_string();
                socket.close(NOT_FOUND, reason).await;
            }
        },
    ))
}

/// Sends the newest frame whenever the client has taken the one before. Returns whether the camera is gone; otherwise the client
/// is.
async fn send_frames(
    socket: &mut Socket,
    frames: &mut watch::Receiver<Option<Arc<AnalysedFrame>>>,
) -> bool {
    loop {
        tokio::select! {
            changed = frames.changed() => if changed.is_err() {
                return true;
            },
            () = socket.gone() => return false,
        }
        let frame = frames.borrow_and_update().clone();
        let Some(frame) = frame else { continue };
        // Keys are strings and floats are finite or null: this cannot fail.
        let text = serde_json::to_string(&*frame).unwrap_or_default();
        if socket.send(text).await.is_err() {
            return false;
        }
    }
}

//! WebSockets that send JSON: pings, bounded messages, and ends with a code that says why.

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use std::future::pending;
use std::pin::Pin;

use super::access::{End, Session};
use tokio::time::{Duration, Instant, Interval, MissedTickBehavior, interval_at, timeout};

/// Time from one ping to the next.
const PING: Duration = Duration::from_secs(15);
/// A client that takes nothing for so long is disconnected.
const STALLED: Duration = Duration::from_secs(60);
/// Largest message of a client: what it sends is answers to pings.
const MAX_MESSAGE: usize = 4096;

/// The camera does not exist, or not for this client.
pub const NOT_FOUND: u16 = 4404;

/// The client is gone, or takes nothing.
#[derive(Debug)]
pub struct Gone;

/// A WebSocket that sends.
pub struct Socket {
    inner: WebSocket,
    ping: Interval,
    /// None once it was seen.
    end: Option<Pin<Box<dyn Future<Output = End> + Send>>>,
}

/// Accepts a WebSocket and serves it until `done`, the end of its session or the end of `serve`.
pub fn accept<F>(
    upgrade: WebSocketUpgrade,
    done: tokio_util::sync::CancellationToken,
    session: Option<Session>,
    serve: impl FnOnce(Socket) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = ()> + Send,
{
    upgrade
        .max_message_size(MAX_MESSAGE)
        .max_frame_size(MAX_MESSAGE)
        .on_upgrade(move |inner| async move {
            let mut ping = interval_at(Instant::now() + PING, PING);
            ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let end: Option<Pin<Box<dyn Future<Output = End> + Send>>> =
                session.map(|session| Box::pin(async move { session.ended().await }) as _);
            tokio::select! {
                () = serve(Socket { inner, ping, end }) => {}
                // The socket is dropped with what serves it: the client sees the connection end.
                () = done.cancelled() => {}
            }
        })
}

impl Socket {
    /// Sends a text message; waits for a client that is slow.
    pub async fn send(&mut self, text: String) -> Result<(), Gone> {
        self.send_message(Message::Text(text.into())).await
    }

    /// Pings the client and takes what it sends, until it is gone.
    pub async fn gone(&mut self) {
        loop {
            let sent = tokio::select! {
                end = ended(&mut self.end) => {
                    let frame = CloseFrame {
                        code: end.code(),
                        reason: end.reason().into(),
                    };
                    let _ = self.send_message(Message::Close(Some(frame))).await;
                    return;
                }
                _ = self.ping.tick() => self.send_message(Message::Ping(Bytes::new())).await,
                received = self.inner.recv() => match received {
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    Some(Ok(_)) => Ok(()),
                },
            };
            if sent.is_err() {
                return;
            }
        }
    }

    /// Ends the connection with a code and the reason for it.
    pub async fn close(mut self, code: u16, reason: String) {
        let frame = CloseFrame {
            code,
            reason: reason.into(),
        };
        let closing = self.send_message(Message::Close(Some(frame)));
        if closing.await.is_ok() {
            // The client answers with its own close, so that it gets the code before the connection ends.
            let _ = timeout(PING, self.gone()).await;
        }
    }

    async fn send_message(&mut self, message: Message) -> Result<(), Gone> {
        match timeout(STALLED, self.inner.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }
}

async fn ended(end: &mut Option<Pin<Box<dyn Future<Output = End> + Send>>>) -> End {
    let Some(waiting) = end else {
        return pending().await;
    };
    let seen = waiting.await;
    *end = None;
    seen
}

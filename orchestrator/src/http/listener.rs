//! The listener: so many connections at a time and no more, so that clients that never hang up cannot take all descriptors;
//! and none for a client that asks for something and does not take it.

use axum::serve::Listener;
use socket2::SockRef;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

/// Bytes that the system takes of what a client is not ready for yet: the lag of a viewer of live video is to be seen here, not to
/// grow in the system's buffers.
const UNSENT: u32 = 128 << 10;

/// Accepts while there is room.
#[derive(Debug)]
pub struct Limited {
    inner: TcpListener,
    room: Arc<Semaphore>,
    patience: Duration,
}

/// A connection and its place.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    patience: Duration,
    /// Ends a write that waits for the client; nothing while none waits.
    deadline: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
}

impl Limited {
    /// At most as many connections at a time as there is room for, each with a client that takes something of what is sent
    /// to it within the time it is given.
    pub fn new(inner: TcpListener, room: Arc<Semaphore>, patience: Duration) -> Self {
        Self {
            inner,
            room,
            patience,
        }
    }
}

impl Listener for Limited {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let place = self.room.clone().acquire_owned().await;
        let place = place.expect("the semaphore is never closed");
        // Errors of accept are handled there: it goes on with the next connection.
        let (stream, address) = Listener::accept(&mut self.inner).await;
        // Without it the connection works too, and the lag of a viewer is only seen later.
        let _ = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT);
        let connection = Connection {
            stream,
            patience: self.patience,
            deadline: None,
            _place: place,
        };
        (connection, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

impl Connection {
    /// What came of writing; an error where the client has not taken anything for too long.
    fn unless_stalled(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.deadline = None;
            return written;
        }
        let patience = self.patience;
        let deadline = self
            .deadline
            .get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(deadline.as_mut().poll(cx));
        // What the system still holds for the client would keep the connection otherwise.
        let _ = self.stream.set_zero_linger();
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.unless_stalled(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.unless_stalled(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::body::{Body, Bytes};
    use axum::routing::get;
    use std::convert::Infallible;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::mpsc;
    use tokio::time::timeout;
    use tokio_stream::wrappers::ReceiverStream;

    const PATIENCE: Duration = Duration::from_millis(300);
    const DEADLINE: Duration = Duration::from_secs(60);

    fn piece() -> Result<Bytes, Infallible> {
        Ok(Bytes::from_static(&[b'.'; 65_536]))
    }

    /// A server with room for one connection; answers with where.
    async fn serve() -> SocketAddr {
        let endless =
            || async { Body::from_stream(tokio_stream::iter(std::iter::repeat_with(piece))) };
        let pausing = || async {
            let (sender, pieces) = mpsc::channel(1);
            tokio::spawn(async move {
                let _ = sender.send(piece()).await;
                sleep(3 * PATIENCE).await;
                let _ = sender.send(Ok(Bytes::from_static(b"the end"))).await;
            });
            Body::from_stream(ReceiverStream::new(pieces))
        };
        let router = Router::new()
            .route("/endless", get(endless))
            .route("/pausing", get(pausing));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = Limited::new(listener, Arc::new(Semaphore::new(1)), PATIENCE);
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    async fn ask(address: SocketAddr, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_loses_its_connection_and_its_place() {
        let address = serve().await;
        let mut stalled = ask(address, "/endless").await;
        stalled.read_u8().await.unwrap();
        let mut next = ask(address, "/endless").await;
        timeout(DEADLINE, next.read_u8())
            .await
            .expect("a place")
            .unwrap();
        let mut rest = Vec::new();
        let end = timeout(DEADLINE, stalled.read_to_end(&mut rest))
            .await
            .expect("an end");
        assert!(end.is_err(), "it was cut off, not ended");
    }

    #[tokio::test]
    async fn a_client_with_nothing_to_take_stays() {
        let address = serve().await;
        let mut client = ask(address, "/pausing").await;
        let mut text = Vec::new();
        timeout(DEADLINE, client.read_to_end(&mut text))
            .await
            .unwrap()
            .unwrap();
        assert!(String::from_utf8_lossy(&text).contains("the end"));
    }
}

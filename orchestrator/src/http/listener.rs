//! The listener: so many connections at a time and no more, so that clients that never hang up cannot take all descriptors;
//! and none for a client that asks for something and does not take it.

use super::access::{Place, Places};
use axum::serve::Listener;
use socket2::SockRef;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Sleep, sleep};

/// Bytes that the system takes of what a client is not ready for yet: the lag of a viewer of live video is to be seen here, not to
/// grow in the system's buffers.
const UNSENT: u32 = 128 << 10;

/// Accepts and gives each connection its place.
#[derive(Debug)]
pub struct Limited {
    inner: TcpListener,
    places: Places,
    patience: Duration,
}

/// A connection that is cut off when its client takes nothing.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    patience: Duration,
    /// Ends a write that waits for the client; nothing while none waits.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Limited {
    /// Connections for which there is a place, each with a client that takes something of what is sent to it within the time
    /// it is given.
    pub fn new(inner: TcpListener, places: Places, patience: Duration) -> Self {
        Self {
            inner,
            places,
            patience,
        }
    }

    /// The next connection. One for which there is no place is closed.
    pub async fn accept(&mut self) -> (Connection, Place) {
        loop {
            // Errors of accept are handled there: it goes on with the next connection.
            let (stream, address) = Listener::accept(&mut self.inner).await;
            // Without it the connection works too, and the lag of a viewer is only seen later.
            let _ = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT);
            if let Some(place) = self.places.admit(address.ip()) {
                let connection = Connection {
                    stream,
                    patience: self.patience,
                    deadline: None,
                };
                return (connection, place);
            }
        }
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

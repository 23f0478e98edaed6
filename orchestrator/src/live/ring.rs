//! The thread that reads a camera's ring of JPEGs for all its viewers.

use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::body::Bytes;
use shmring_core::{Canceller, ConnectError, Event, Policy, Reader, ReaderOptions, WaitError};
use tokio::sync::watch;

use super::Picture;
use super::hub::Show;

/// Pause after an error that waiting does not cure.
const PAUSE: Duration = Duration::from_millis(500);

/// A reader at work.
pub struct RingReader {
    canceller: Canceller,
    thread: JoinHandle<()>,
}

impl RingReader {
    /// Reads what comes at `socket`, whoever writes there, until it is stopped.
    pub fn start(camera: &str, socket: &Path, show: watch::Sender<Show>) -> anyhow::Result<Self> {
        let options = ReaderOptions {
            leases: 1,
            policy: Policy::Newest,
            ..ReaderOptions::default()
        };
        let reader = Reader::new(socket, options)?;
        let canceller = reader.canceller();
        let camera = camera.to_owned();
        let thread = std::thread::Builder::new()
            .name("live".into())
            .spawn(move || read(&camera, reader, &show))?;
        Ok(Self { canceller, thread })
    }

    /// Ends it.
    pub async fn stop(self) {
        self.canceller.cancel();
        // It ends within a moment; a panic of it has been reported already.
        let _ = tokio::task::spawn_blocking(move || self.thread.join()).await;
    }
}

fn read(camera: &str, mut reader: Reader, show: &watch::Sender<Show>) {
    let mut told = String::new();
    let mut tell_once = |text: String| {
        if text != told {
            tracing::warn!(camera, "live: {text}");
            told = text;
        }
    };
    loop {
        match reader.reconnect(None) {
            Ok(()) => {}
            Err(ConnectError::Cancelled) => return,
            Err(error) => {
                tell_once(error.to_string());
                std::thread::sleep(PAUSE);
                continue;
            }
        }
        loop {
            match reader.next(None) {
                Ok(Event::Frame(frame)) => {
                    // What another process writes: worth a look before browsers get it.
                    if frame.bytes().starts_with(&[0xff, 0xd8, 0xff]) {
                        let picture = Picture::new(Bytes::copy_from_slice(frame.bytes()));
                        drop(frame);
                        show.send_replace(Show::Picture(picture));
                    } else {
                        tell_once("its ring has something that is no JPEG".into());
                    }
                }
                Ok(Event::WriterGone) | Err(WaitError::NotConnected) => break,
                Err(WaitError::Cancelled) => return,
                Ok(_) | Err(_) => {}
            }
        }
    }
}

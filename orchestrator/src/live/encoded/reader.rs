//! The thread that reads a camera's packet ring for all viewers of a stream.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use shmring_core::WaitError;
use shmring_core::packet::{PacketEvent, PacketReader, Start};

use super::mux::{Muxer, PacketTimes};
use super::{Hub, Inner, StreamName};

/// Time from the last viewer to the end of the connection.
const LINGER: Duration = Duration::from_secs(10);
/// Longest wait for a packet, after which viewers and shutdown are looked after.
const WAIT: Duration = Duration::from_millis(200);
/// Pause before the next attempt to connect.
const RETRY: Duration = Duration::from_millis(250);

pub(super) fn start(
    inner: Arc<Inner>,
    key: (String, StreamName),
    socket: PathBuf,
    hub: Arc<Hub>,
) -> io::Result<()> {
    let run = move || {
        Reading {
            inner,
            key,
            socket,
            hub,
            unused_since: None,
        }
        .run()
    };
    std::thread::Builder::new()
        .name("live-encoded".into())
        .spawn(run)
        .map(drop)
}

struct Reading {
    inner: Arc<Inner>,
    key: (String, StreamName),
    socket: PathBuf,
    hub: Arc<Hub>,
    unused_since: Option<Instant>,
}

impl Reading {
    fn run(mut self) {
        let mut reported = String::new();
        while !self.is_over() {
            let reason = match PacketReader::connect(self.socket.clone(), Start::NewestKey) {
                Ok(reader) => match self.read(reader) {
                    Some(reason) => reason,
                    None => return,
                },
                Err(error) => error.to_string(),
            };
            if reason != reported {
                tracing::debug!(camera = self.key.0, "live video: {reason}");
                self.hub.interrupt(&reason);
                reported = reason;
            }
            std::thread::sleep(RETRY);
        }
    }

    /// True when there was no viewer for a while, or the daemon ends.
    fn is_over(&mut self) -> bool {
        if self.inner.done.is_cancelled() {
            return true;
        }
        if self.hub.viewers.load(Ordering::Relaxed) > 0 {
            self.unused_since = None;
            return false;
        }
        let since = *self.unused_since.get_or_insert_with(Instant::now);
        since.elapsed() >= LINGER && self.inner.release(&self.key, &self.hub)
    }

    /// Reads until the writer is gone (the reason) or nothing is needed any more (`None`).
    fn read(&mut self, mut reader: PacketReader) -> Option<String> {
        let mut muxer = Muxer::new();
        let mut unplayable: Option<String> = None;
        loop {
            if self.is_over() {
                return None;
            }
            match reader.next(Some(WAIT)) {
                Ok(PacketEvent::Stream { bytes, .. }) => {
                    unplayable = muxer.stream(&bytes).err();
                    if let Some(reason) = &unplayable {
                        self.hub.interrupt(reason);
                    }
                }
                Ok(PacketEvent::Packet(packet)) if unplayable.is_none() && !packet.meta.eos => {
                    let meta = packet.meta;
                    let pts = meta.pts.or(meta.dts).unwrap_or(0);
                    let times = PacketTimes {
                        pts,
                        dts: meta.dts.unwrap_or(pts),
                        unix_time: meta.unix_ns.unwrap_or(0),
                        key: meta.key,
                    };
                    match muxer.packet(times, &packet.payload) {
                        Ok(muxed) => {
                            if let Some(initialisation) = muxed.initialisation {
                                self.hub.initialise(initialisation);
                            }
                            if let Some(fragment) = muxed.fragment {
                                self.hub.push(fragment);
                            }
                        }
                        Err(error) => {
                            let reason = error.to_string();
                            self.hub.interrupt(&reason);
                            unplayable = Some(reason);
                        }
                    }
                }
                Ok(PacketEvent::Packet(_)) | Err(WaitError::Timeout) => {}
                Ok(PacketEvent::WriterGone) => return Some("the camera's stream has ended".into()),
                Err(error) => return Some(error.to_string()),
            }
        }
    }
}

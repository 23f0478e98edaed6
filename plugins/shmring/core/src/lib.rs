//! A shared-memory ring for video frames: one writer, up to 256 readers in other processes, no copies, and no way for a
//! reader to disturb the writer or another reader. Without GStreamer; the elements are in `gst-plugin-shmring`.
//!
//! * [`Writer`] makes the ring (a sealed memfd) and a Unix socket. Take a slot with [`Writer::acquire`], write into it,
//!   [`Writer::publish`] it. Nothing of that waits for a reader; with no reader asleep it makes no system call.
//! * [`Reader`] connects to the socket and gets [`Event`]s from [`Reader::next`]. A [`Frame`] is the slot itself, and
//!   does not change while it is held, from whatever thread, however long.
//! * [`Monitor`] sees the ring's [`Head`] without being a reader.
//! * [`sizing`] says how many slots fit into the memory there is.
//!
//! It is not a network protocol and not a queue: a reader that is too slow misses frames, and is told how many. The
//! protocol is described in `docs/design/ring.md`. Depends on nothing of Watchpost.
//!
//! ```
//! use shmring_core::{Event, FrameHeader, Purpose, Reader, ReaderOptions, Writer, WriterConfig};
//!
//! let directory = tempfile::tempdir()?;
//! let path = directory.path().join("camera.sock");
//! let writer = Writer::create(WriterConfig::new(&path, 640 * 360))?;
//! writer.set_stream(b"video/x-raw,format=GRAY8,width=640,height=360")?;
//!
//! // Written in place, without a copy.
//! let mut slot = writer.acquire(Purpose::Pool)?;
//! slot.bytes_mut().fill(128);
//! let header = FrameHeader { pts: Some(40_000_000), ..FrameHeader::default() };
//! writer.publish(slot.id(), 0..640 * 360, &header, b"metadata")?;
//! drop(slot);
//!
//! // Usually in another process. A late reader gets the stream's description and the newest frame at once.
//! let mut reader = Reader::connect(&path, ReaderOptions::default())?;
//! let Event::Stream { bytes, .. } = reader.next(None)? else { panic!("first the stream") };
//! assert!(bytes.starts_with(b"video/x-raw"));
//! let Event::Frame(frame) = reader.next(None)? else { panic!("then the frame") };
//! assert_eq!(frame.header().pts, Some(40_000_000));
//! assert_eq!(frame.bytes()[0], 128);
//! let mut info = Vec::new();
//! frame.copy_info(&mut info);
//! assert_eq!(info, b"metadata");
//!
//! drop(writer);
//! assert!(matches!(reader.next(None)?, Event::WriterGone));
//! assert_eq!(frame.bytes()[1000], 128); // still there, until it is dropped
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod consumer;
mod header;
mod layout;
pub mod packet;
mod producer;
mod shm;
mod sync;

#[cfg(not(loom))]
mod attach;
#[cfg(not(loom))]
mod error;
#[cfg(not(loom))]
mod frame;
#[cfg(not(loom))]
mod fuzz;
#[cfg(not(loom))]
mod generation;
#[cfg(not(loom))]
mod monitor;
#[cfg(not(loom))]
mod reader;
#[cfg(not(loom))]
mod server;
#[cfg(not(loom))]
pub mod sizing;
#[cfg(not(loom))]
mod slot;
#[cfg(not(loom))]
mod socket;
#[cfg(not(loom))]
mod stats;
#[cfg(not(loom))]
#[doc(hidden)]
pub mod wire;
#[cfg(not(loom))]
mod writer;

pub use consumer::Policy;
pub use header::FrameHeader;
pub use layout::{Geometry, GeometryError, MAX_READERS, MAX_SLOTS, MIN_SLOTS, PROTOCOL};
pub use producer::Purpose;

#[cfg(not(loom))]
pub use attach::Canceller;
#[cfg(not(loom))]
pub use error::{ConnectError, CreateError, PublishError, WaitError};
#[cfg(not(loom))]
pub use frame::Frame;
#[cfg(not(loom))]
pub use generation::Backing;
#[cfg(not(loom))]
pub use monitor::{Head, Monitor};
#[cfg(not(loom))]
pub use reader::{Event, Reader, ReaderOptions};
#[cfg(not(loom))]
pub use slot::{SlotId, WriteSlot};
#[cfg(not(loom))]
pub use socket::{MAX_SOCKET_PATH, group_id};
#[cfg(not(loom))]
pub use stats::{ReaderReport, ReaderStats, WriterStats};
#[cfg(not(loom))]
pub use wire::WireError;
#[cfg(not(loom))]
pub use writer::{Writer, WriterConfig, monotonic_ns};

/// The protocol without memory maps and sockets, for models, fuzzing and benchmarks. Not a stable interface.
#[doc(hidden)]
pub mod protocol {
    #[cfg(not(loom))]
    pub mod fuzz {
        pub use crate::fuzz::{example, handshake, header, packets, ring};
    }
    pub use crate::consumer::{Call, Consumer, LeaseTable, Poll, StreamSeen};
    pub use crate::header::{Header, HeaderError};
    pub use crate::layout::{
        CLOSED, Control, HEADER_WORDS, HeapRing, Kind, LEASES, MAGIC, MOVED, RawHeader, STREAMS,
        View,
    };
    pub use crate::packet::{
        HeapPacketRing, PacketConsumer, PacketPoll, PacketProducer, PacketView,
    };
    pub use crate::producer::{Link, Producer};
    #[cfg(not(loom))]
    pub use crate::wire;
}

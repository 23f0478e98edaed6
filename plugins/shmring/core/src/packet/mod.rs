//! Encoded packets of any size: a byte arena with an index, which readers copy from. Protocol version 2.
//!
//! * [`PacketWriter`] makes the ring and a Unix socket; [`PacketWriter::write`] appends a packet and never waits for a
//!   reader. The arena grows, up to a limit, so that it always holds the newest group of pictures.
//! * [`PacketReader`] connects, begins at the newest key packet (or where [`Start`] says) and copies packet after packet.
//!   One that is too slow goes on at the newest key packet and gets the number of packets left out.
//!
//! A reader holds nothing of the ring, so neither its number nor its speed costs the writer more than one `write` to an
//! eventfd per packet. The protocol is described in `docs/design/packets.md`.
//!
//! ```
//! use shmring_core::packet::{
//!     PacketEvent, PacketMeta, PacketReader, PacketWriter, PacketWriterConfig, Start,
//! };
//!
//! let directory = tempfile::tempdir()?;
//! let path = directory.path().join("main.sock");
//! let mut writer = PacketWriter::create(PacketWriterConfig::new(&path))?;
//! writer.set_stream(b"video/x-h264,stream-format=byte-stream,alignment=au")?;
//! let key = PacketMeta { pts: Some(0), key: true, ..PacketMeta::default() };
//! writer.write(&key, b"key frame");
//! writer.write(&PacketMeta { pts: Some(40_000_000), ..PacketMeta::default() }, b"delta frame");
//!
//! // Usually in another process. A late reader begins at the newest key frame.
//! let mut reader = PacketReader::connect(&path, Start::NewestKey)?;
//! let PacketEvent::Stream { bytes, .. } = reader.next(None)? else { panic!("first the stream") };
//! assert!(bytes.starts_with(b"video/x-h264"));
//! let PacketEvent::Packet(packet) = reader.next(None)? else { panic!("then the key frame") };
//! assert!(packet.meta.key && packet.payload == b"key frame");
//! assert!(matches!(reader.next(None)?, PacketEvent::Packet(packet) if packet.number == 2));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod consumer;
mod layout;
mod producer;
#[cfg(not(loom))]
mod reader;
#[cfg(not(loom))]
mod writer;

pub use consumer::{PacketConsumer, PacketPoll, Start};
#[cfg(not(loom))]
pub(crate) use layout::PacketHead;
pub use layout::{HeapPacketRing, PACKET_PROTOCOL, PacketGeometry, PacketMeta, PacketView};
pub use producer::{Fit, PacketProducer};
#[cfg(not(loom))]
pub use reader::{KeyRequester, Packet, PacketEvent, PacketReader, PacketReaderStats};
#[cfg(not(loom))]
pub use writer::{PacketWriter, PacketWriterConfig, PacketWriterStats, Written};

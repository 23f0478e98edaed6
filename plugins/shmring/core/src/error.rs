//! What can go wrong, said to the person who can act.

use crate::layout::GeometryError;
use crate::wire::WireError;
use std::io;
use std::path::PathBuf;

/// Why a ring could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// Impossible sizes.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// Somebody listens there.
    #[error("{0} is in use by another writer; stop it or choose another socket path")]
    InUse(PathBuf),
    /// Not a socket.
    #[error("{0} exists and is not a socket; remove it or choose another socket path")]
    NotASocket(PathBuf),
    /// Socket trouble.
    #[error("cannot {what} the socket {path}: {source}")]
    Socket {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Memory trouble.
    #[error(
        "cannot reserve {needed} bytes for {slots} slots in {place} ({free} bytes free): {source}"
    )]
    Memory {
        /// Bytes of the ring.
        needed: u64,
        /// Slots of the ring.
        slots: u32,
        /// Where.
        place: &'static str,
        /// Bytes that are free there.
        free: u64,
        /// Why not.
        source: io::Error,
    },
    /// The operating system refuses something else.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
}

/// Why a frame could not be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The payload is too large.
    #[error("a frame of {len} bytes does not fit into slots of {slot_bytes} bytes")]
    TooLarge {
        /// Bytes wanted.
        len: u64,
        /// Bytes there are.
        slot_bytes: u64,
    },
    /// The metadata is too large.
    #[error("{len} bytes of metadata do not fit into {info_bytes} bytes per slot")]
    InfoTooLarge {
        /// Bytes wanted.
        len: usize,
        /// Bytes there are.
        info_bytes: u32,
    },
    /// The stream information is too large.
    #[error("{len} bytes of stream information do not fit into {stream_bytes} bytes")]
    StreamTooLarge {
        /// Bytes wanted.
        len: usize,
        /// Bytes there are.
        stream_bytes: u32,
    },
    /// The slot is of an older generation of the ring: copy the frame into a new slot.
    #[error("the slot belongs to a generation of the ring that has been replaced")]
    OldGeneration,
    /// The slot holds a published frame already: copy into a new slot.
    #[error("the slot is published already")]
    Published,
    /// Every slot is in somebody's hands.
    #[error("no free slot: readers hold {leased} and upstream holds {held} of {slots}")]
    NoSlot {
        /// Slots that readers hold.
        leased: u32,
        /// Slots the writer's own side holds.
        held: u32,
        /// Slots there are.
        slots: u32,
    },
}

/// Why a reader could not connect.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody listens there (yet).
    #[error("no writer at {path}: {source}")]
    NoWriter {
        /// Socket path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Something else is there.
    #[error("{0} is not a socket; name the socket-path of the writer")]
    NotASocket(PathBuf),
    /// Nothing is left for this reader.
    #[error(
        "ring full: its {slots} slots allow {} leases together, {granted} are granted to {readers} readers; \
         give the ring more slots or its readers fewer leases",
        slots.saturating_sub(2)
    )]
    RingFull {
        /// Slots of the ring.
        slots: u32,
        /// Leases granted to all readers.
        granted: u32,
        /// Readers connected.
        readers: u32,
    },
    /// The memory for a ring that is made for its first reader is not there.
    #[error("the writer cannot reserve {needed} bytes for its packets, {free} bytes are free")]
    NoMemory {
        /// Bytes needed.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// The most readers there can be.
    #[error("the ring has {0} readers already, which is the most there can be")]
    TooManyReaders(u32),
    /// The writer refuses for a reason this side does not know, or says nonsense.
    #[error("the writer refused the handshake (status {0})")]
    Refused(u32),
    /// The other side speaks something else.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The descriptors or the memory behind them are not what they should be.
    #[error("the writer's ring is not safe to use: {0}")]
    Unsafe(&'static str),
    /// No answer in time.
    #[error("the writer at {0} accepted the connection but did not answer in time")]
    NoAnswer(PathBuf),
    /// Interrupted by [`crate::Canceller::cancel`].
    #[error("cancelled")]
    Cancelled,
    /// The operating system refuses something else.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
}

impl ConnectError {
    /// Whether waiting may help: there is no writer yet, or no place for this reader.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::NoWriter { .. }
            | Self::NoAnswer(_)
            | Self::RingFull { .. }
            | Self::NoMemory { .. }
            | Self::TooManyReaders(_) => true,
            Self::NotASocket(_)
            | Self::Refused(_)
            | Self::Wire(_)
            | Self::Unsafe(_)
            | Self::Cancelled
            | Self::System { .. } => false,
        }
    }
}

/// Why [`crate::Reader::next`] came back without an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WaitError {
    /// Nothing happened in time.
    #[error("no event in time")]
    Timeout,
    /// Interrupted by [`crate::Canceller::cancel`].
    #[error("cancelled")]
    Cancelled,
    /// The writer is gone; [`crate::Reader::reconnect`] waits for the next one.
    #[error("not connected to a writer")]
    NotConnected,
}

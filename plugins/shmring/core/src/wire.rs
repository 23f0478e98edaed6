//! Handshake messages: fixed layouts, native byte order (both sides are on one machine), one per SEQPACKET record.

use crate::layout::{Geometry, MAGIC, PROTOCOL};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// First message, from whoever connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Hello {
    /// [`MAGIC`].
    pub magic: u64,
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// [`ROLE_READER`] or [`ROLE_MONITOR`].
    pub role: u32,
    /// Leases asked for; 0 for as many as the writer grants by default.
    pub leases: u32,
    /// Frames to be found again when the reader lags; 0 for a reader of the newest frame only.
    pub history: u32,
    /// Zero.
    pub spare: [u32; 2],
}

/// [`Hello::role`]: wants frames.
pub const ROLE_READER: u32 = 1;
/// [`Hello::role`]: wants to see the ring's head only.
pub const ROLE_MONITOR: u32 = 2;

impl Hello {
    /// A greeting of this protocol version.
    pub fn new(role: u32, leases: u32, history: u32) -> Self {
        Self {
            magic: MAGIC,
            protocol: PROTOCOL,
            role,
            leases,
            history,
            spare: [0; 2],
        }
    }
}

/// The writer's answer, and, for a new generation, its later notice; with the ring's descriptor and, for a reader,
/// that of its control page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Welcome {
    /// [`MAGIC`].
    pub magic: u64,
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// 0, or why not: [`REFUSED_FULL`] and so on.
    pub status: u32,
    /// Random number of this writer's life.
    pub instance: u64,
    /// 1 for a writer's first ring, one more for each ring of another size.
    pub generation: u64,
    /// Last event of the generation before; the first of this one is one more.
    pub base: u64,
    /// Payload bytes per slot.
    pub slot_bytes: u64,
    /// Slots.
    pub slots: u32,
    /// Metadata bytes per slot.
    pub info_bytes: u32,
    /// Bytes of a stream information.
    pub stream_bytes: u32,
    /// Leases granted to this reader.
    pub granted: u32,
    /// Leases granted to all readers.
    pub granted_all: u32,
    /// Readers connected.
    pub readers: u32,
    /// 1 if the ring's memory is a named segment, which cannot be sealed.
    pub named: u32,
    /// Zero.
    pub spare: u32,
}

/// [`Welcome::status`]: connected.
pub const ACCEPTED: u32 = 0;
/// [`Welcome::status`]: no lease is left.
pub const REFUSED_FULL: u32 = 1;
/// [`Welcome::status`]: as many readers or monitors as there can be.
pub const REFUSED_READERS: u32 = 2;
/// [`Welcome::status`]: the greeting's version is another.
pub const REFUSED_VERSION: u32 = 3;
/// [`Welcome::status`]: the greeting makes no sense.
pub const REFUSED_GREETING: u32 = 4;

/// A message that is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Wrong length.
    #[error("handshake message of {0} bytes where {1} were expected")]
    Length(usize, usize),
    /// Not this protocol.
    #[error("this is not a shmring socket (first bytes {0:#x})")]
    Magic(u64),
    /// Another version of it.
    #[error("the other side speaks version {0} of the ring protocol, this side {PROTOCOL}")]
    Version(u32),
    /// Neither reader nor monitor.
    #[error("unknown role {0} in handshake")]
    Role(u32),
    /// A ring that cannot be.
    #[error("the ring's sizes are impossible: {0}")]
    Geometry(#[from] crate::layout::GeometryError),
}

fn parse<T: FromBytes + KnownLayout + Immutable>(bytes: &[u8]) -> Result<T, WireError> {
    T::read_from_bytes(bytes).map_err(|_| WireError::Length(bytes.len(), size_of::<T>()))
}

/// The two fields every version begins with: a later one may be longer, so what it is comes before how long it is.
fn check(bytes: &[u8]) -> Result<(), WireError> {
    let Some((magic, rest)) = bytes.split_first_chunk() else {
        return Ok(()); // too short for anything: the length is the error
    };
    let Some(protocol) = rest.first_chunk() else {
        return Ok(());
    };
    let magic = u64::from_ne_bytes(*magic);
    let protocol = u32::from_ne_bytes(*protocol);
    if magic != MAGIC {
        return Err(WireError::Magic(magic));
    }
    if protocol != PROTOCOL {
        return Err(WireError::Version(protocol));
    }
    Ok(())
}

/// Reads and checks a greeting.
pub fn parse_hello(bytes: &[u8]) -> Result<Hello, WireError> {
    check(bytes)?;
    let hello: Hello = parse(bytes)?;
    if !matches!(hello.role, ROLE_READER | ROLE_MONITOR) {
        return Err(WireError::Role(hello.role));
    }
    Ok(hello)
}

/// Reads and checks an answer. The geometry is only there if the answer is a yes.
pub fn parse_welcome(bytes: &[u8]) -> Result<(Welcome, Option<Geometry>), WireError> {
    check(bytes)?;
    let welcome: Welcome = parse(bytes)?;
    if welcome.status != ACCEPTED {
        return Ok((welcome, None));
    }
    let geometry = Geometry::new(
        welcome.slots,
        welcome.slot_bytes,
        welcome.info_bytes,
        welcome.stream_bytes,
    )?;
    Ok((welcome, Some(geometry)))
}

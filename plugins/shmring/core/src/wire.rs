//! Handshake messages: fixed layouts, native byte order (both sides are on one machine), one per SEQPACKET record.

use crate::layout::{Geometry, MAGIC, PROTOCOL};
use crate::packet::{PACKET_PROTOCOL, PacketGeometry};
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
    /// [`TAKES_COPIES`] or 0.
    pub flags: u32,
    /// Zero.
    pub spare: u32,
}

/// [`Hello::flags`]: the reader copies frames, without a lease, where none is left for it.
pub const TAKES_COPIES: u32 = 1;

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
            flags: 0,
            spare: 0,
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
    #[error(
        "the other side speaks version {theirs} of the ring protocol ({}), this side {ours} ({})",
        mode(*theirs), mode(*ours)
    )]
    Version {
        /// The other side's version.
        theirs: u32,
        /// The version asked for.
        ours: u32,
    },
    /// Neither reader nor monitor.
    #[error("unknown role {0} in handshake")]
    Role(u32),
    /// A ring that cannot be.
    #[error("the ring's sizes are impossible: {0}")]
    Geometry(#[from] crate::layout::GeometryError),
}

fn mode(protocol: u32) -> &'static str {
    match protocol {
        PROTOCOL => "frames in slots",
        PACKET_PROTOCOL => "encoded packets",
        _ => "unknown here",
    }
}

fn parse<T: FromBytes + KnownLayout + Immutable>(bytes: &[u8]) -> Result<T, WireError> {
    T::read_from_bytes(bytes).map_err(|_| WireError::Length(bytes.len(), size_of::<T>()))
}

/// The two fields every version begins with: a later one may be longer, so what it is comes before how long it is.
fn check(bytes: &[u8], ours: u32) -> Result<(), WireError> {
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
    if protocol != ours {
        return Err(WireError::Version {
            theirs: protocol,
            ours,
        });
    }
    Ok(())
}

/// Reads and checks a greeting.
pub fn parse_hello(bytes: &[u8]) -> Result<Hello, WireError> {
    check(bytes, PROTOCOL)?;
    let hello: Hello = parse(bytes)?;
    if !matches!(hello.role, ROLE_READER | ROLE_MONITOR) {
        return Err(WireError::Role(hello.role));
    }
    Ok(hello)
}

/// Reads and checks an answer. The geometry is only there if the answer is a yes.
pub fn parse_welcome(bytes: &[u8]) -> Result<(Welcome, Option<Geometry>), WireError> {
    check(bytes, PROTOCOL)?;
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

/// First message of a reader or monitor of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PacketHello {
    /// [`MAGIC`].
    pub magic: u64,
    /// [`PACKET_PROTOCOL`].
    pub protocol: u32,
    /// [`ROLE_READER`] or [`ROLE_MONITOR`].
    pub role: u32,
    /// Zero.
    pub spare: [u32; 4],
}

impl PacketHello {
    /// A greeting of the packet protocol.
    pub fn new(role: u32) -> Self {
        Self {
            magic: MAGIC,
            protocol: PACKET_PROTOCOL,
            role,
            spare: [0; 4],
        }
    }
}

/// The writer's answer to [`PacketHello`], and its notice of a new generation; with the ring's descriptor and, in the
/// first answer to a reader, the descriptor of the eventfd that becomes readable with each packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PacketWelcome {
    /// [`MAGIC`].
    pub magic: u64,
    /// [`PACKET_PROTOCOL`].
    pub protocol: u32,
    /// 0, or why not, as in [`Welcome`].
    pub status: u32,
    /// Random number of this writer's life.
    pub instance: u64,
    /// 1 for a writer's first ring, one more for each ring of another size.
    pub generation: u64,
    /// Bytes of the arena.
    pub arena_bytes: u64,
    /// Bytes an arena of this writer may have at most.
    pub max_bytes: u64,
    /// Bytes that were free when memory was refused.
    pub free_bytes: u64,
    /// Entries of the index.
    pub entries: u32,
    /// Bytes of a stream information.
    pub stream_bytes: u32,
    /// Readers connected.
    pub readers: u32,
    /// Zero.
    pub spare: u32,
}

/// [`PacketWelcome::status`]: the memory for the ring is not there.
pub const REFUSED_MEMORY: u32 = 5;

/// A message of a connected reader of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PacketRequest {
    /// [`MAGIC`].
    pub magic: u64,
    /// [`PACKET_PROTOCOL`].
    pub protocol: u32,
    /// [`REQUEST_KEY`].
    pub kind: u32,
}

/// [`PacketRequest::kind`]: a key frame, please.
pub const REQUEST_KEY: u32 = 1;

/// Reads and checks a greeting of the packet protocol.
pub fn parse_packet_hello(bytes: &[u8]) -> Result<PacketHello, WireError> {
    check(bytes, PACKET_PROTOCOL)?;
    let hello: PacketHello = parse(bytes)?;
    if !matches!(hello.role, ROLE_READER | ROLE_MONITOR) {
        return Err(WireError::Role(hello.role));
    }
    Ok(hello)
}

/// Reads and checks an answer of the packet protocol. The geometry is only there if the answer is a yes.
pub fn parse_packet_welcome(
    bytes: &[u8],
) -> Result<(PacketWelcome, Option<PacketGeometry>), WireError> {
    check(bytes, PACKET_PROTOCOL)?;
    let welcome: PacketWelcome = parse(bytes)?;
    if welcome.status != ACCEPTED {
        return Ok((welcome, None));
    }
    let geometry = PacketGeometry::new(welcome.arena_bytes, welcome.entries, welcome.stream_bytes)?;
    Ok((welcome, Some(geometry)))
}

/// Reads and checks a reader's request.
pub fn parse_packet_request(bytes: &[u8]) -> Result<PacketRequest, WireError> {
    check(bytes, PACKET_PROTOCOL)?;
    parse(bytes)
}

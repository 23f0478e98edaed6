//! The memory of a ring of packets. `docs/design/packets.md` has the same as tables.
#![cfg_attr(loom, allow(dead_code))] // places within a map, which loom has not

use crate::layout::{GeometryError, MAGIC, MAX_AREA, STREAMS, StreamAreas};
use crate::sync::{AtomicU32, AtomicU64};

/// Version of the protocol of rings of packets.
pub const PACKET_PROTOCOL: u32 = 2;
/// Smallest and largest arena.
pub const MIN_ARENA: u64 = if cfg!(loom) { 16 } else { 4096 };
/// Largest arena.
pub const MAX_ARENA: u64 = 1 << 30;
/// Words of an index entry.
pub(crate) const ENTRY_WORDS: usize = 16;
/// Fewest and most entries of the index.
const ENTRIES: std::ops::RangeInclusive<u32> = if cfg!(loom) { 2..=8 } else { 64..=1 << 16 };
/// Absent time.
const NONE: u64 = u64::MAX;

const PAGE: u64 = 4096;

/// First page of a ring of packets. The constants at its start repeat the handshake.
#[repr(C, align(64))]
pub struct PacketHead {
    pub(crate) magic: AtomicU64,
    pub(crate) protocol: AtomicU32,
    pub(crate) entries: AtomicU32,
    pub(crate) arena_bytes: AtomicU64,
    pub(crate) instance: AtomicU64,
    pub(crate) generation: AtomicU64,
    pub(crate) _constants: [u64; 3],
    /// Number of the newest packet; written last of all that belongs to it.
    pub(crate) newest: AtomicU64,
    /// Number of the packet whose index entry is being written or was written last.
    pub(crate) claimed: AtomicU64,
    /// Position in the stream of bytes up to which the arena is being overwritten.
    pub(crate) reserved: AtomicU64,
    /// Number of the newest key packet, 0 for none.
    pub(crate) newest_key: AtomicU64,
    /// When the newest packet was published, CLOCK_MONOTONIC in ns.
    pub(crate) newest_ns: AtomicU64,
    pub(crate) stream_version: AtomicU64,
    /// As `Head::state` of a ring of slots.
    pub(crate) state: AtomicU32,
    /// 1 while the newest group of pictures does not fit.
    pub(crate) gop_too_large: AtomicU32,
    pub(crate) readers: AtomicU32,
}

/// An index entry: see [`PacketMeta::to_words`].
#[repr(C)]
pub struct PacketEntry {
    pub(crate) words: [AtomicU64; ENTRY_WORDS],
}

#[cfg(not(loom))]
const _: () = {
    use std::mem::{offset_of, size_of};
    assert!(offset_of!(PacketHead, generation) == 32);
    assert!(offset_of!(PacketHead, newest) == 64);
    assert!(offset_of!(PacketHead, reserved) == 80);
    assert!(offset_of!(PacketHead, state) == 112);
    assert!(offset_of!(PacketHead, readers) == 120);
    assert!(size_of::<PacketHead>() <= PAGE as usize);
    assert!(size_of::<PacketEntry>() == 128);
};

/// What is known of a packet beside its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketMeta {
    /// Presentation time in the writer's stream, ns.
    pub pts: Option<u64>,
    /// Decoding time, ns.
    pub dts: Option<u64>,
    /// Duration, ns.
    pub duration: Option<u64>,
    /// When it was captured, CLOCK_MONOTONIC in ns.
    pub capture_ns: Option<u64>,
    /// When it was captured, Unix time in ns.
    pub unix_ns: Option<u64>,
    /// A decoder can begin here.
    pub key: bool,
    /// Only headers (parameter sets).
    pub header: bool,
    /// Packets are missing before it, or the times jump.
    pub discont: bool,
    /// The stream ends here; such a packet has no bytes.
    pub eos: bool,
}

const KEY: u64 = 1;
const HEADER: u64 = 2;
const DELTA: u64 = 4;
const DISCONT: u64 = 8;
const EOS: u64 = 16;

/// An index entry as read: not yet believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RawEntry {
    pub(crate) number: u64,
    pub(crate) position: u64,
    pub(crate) len: u64,
    pub(crate) stream_version: u64,
    pub(crate) published_ns: u64,
    pub(crate) meta: PacketMeta,
}

impl RawEntry {
    pub(crate) fn to_words(self) -> [u64; ENTRY_WORDS] {
        let time = |time: Option<u64>| time.unwrap_or(NONE);
        let m = &self.meta;
        let flags = [
            (m.key, KEY),
            (m.header, HEADER),
            (!m.key && !m.eos, DELTA),
            (m.discont, DISCONT),
            (m.eos, EOS),
        ];
        let flags = flags.iter().filter(|(set, _)| *set).map(|(_, bit)| bit);
        let mut words = [0; ENTRY_WORDS];
        words[..12].copy_from_slice(&[
            self.number,
            self.position,
            self.len,
            time(m.pts),
            time(m.dts),
            time(m.duration),
            time(m.capture_ns),
            time(m.unix_ns),
            flags.sum(),
            self.stream_version,
            self.published_ns,
            0,
        ]);
        words
    }

    pub(crate) fn from_words(words: &[u64; ENTRY_WORDS]) -> Self {
        let time = |word: u64| (word != NONE).then_some(word);
        let flag = |bit| words[8] & bit != 0;
        Self {
            number: words[0],
            position: words[1],
            len: words[2],
            stream_version: words[9],
            published_ns: words[10],
            meta: PacketMeta {
                pts: time(words[3]),
                dts: time(words[4]),
                duration: time(words[5]),
                capture_ns: time(words[6]),
                unix_ns: time(words[7]),
                key: flag(KEY),
                header: flag(HEADER),
                discont: flag(DISCONT),
                eos: flag(EOS),
            },
        }
    }

    /// Whether the bytes lie inside an arena of this size.
    pub(crate) fn is_inside(&self, arena_bytes: u64) -> bool {
        self.position.is_multiple_of(8)
            && self
                .len
                .checked_add(self.position % arena_bytes)
                .is_some_and(|end| end <= arena_bytes)
    }
}

/// Sizes of a ring of packets and the places that follow from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketGeometry {
    arena_bytes: u64,
    entries: u32,
    stream_bytes: u32,
}

impl PacketGeometry {
    /// Checks the sizes.
    pub fn new(arena_bytes: u64, entries: u32, stream_bytes: u32) -> Result<Self, GeometryError> {
        if !(MIN_ARENA..=MAX_ARENA).contains(&arena_bytes) || !arena_bytes.is_power_of_two() {
            return Err(GeometryError::Arena(arena_bytes));
        }
        if !ENTRIES.contains(&entries) || !entries.is_power_of_two() {
            return Err(GeometryError::Entries(entries));
        }
        if stream_bytes > MAX_AREA {
            return Err(GeometryError::Area(stream_bytes));
        }
        Ok(Self {
            arena_bytes,
            entries,
            stream_bytes,
        })
    }

    /// For an arena of about this size: with an entry for each 1024 bytes, which is less than most packets have.
    pub fn for_arena(arena_bytes: u64, stream_bytes: u32) -> Result<Self, GeometryError> {
        let arena_bytes = arena_bytes.clamp(MIN_ARENA, MAX_ARENA).next_power_of_two();
        let entries = u32::try_from(arena_bytes / 1024).unwrap_or(u32::MAX);
        Self::new(
            arena_bytes,
            entries.clamp(*ENTRIES.start(), *ENTRIES.end()),
            stream_bytes,
        )
    }

    /// Bytes of the arena.
    pub fn arena_bytes(&self) -> u64 {
        self.arena_bytes
    }
    /// Entries of the index.
    pub fn entries(&self) -> u32 {
        self.entries
    }
    /// Bytes that a stream information may have.
    pub fn stream_bytes(&self) -> u32 {
        self.stream_bytes
    }
    pub(crate) fn entries_at(&self) -> usize {
        PAGE as usize
    }
    pub(crate) fn streams_at(&self) -> usize {
        self.entries_at() + self.entries as usize * size_of::<PacketEntry>()
    }
    /// 64-bit words of all stream areas.
    pub(crate) fn stream_words(&self) -> usize {
        STREAMS * (2 + (self.stream_bytes as usize).div_ceil(8))
    }
    pub(crate) fn arena_at(&self) -> usize {
        (self.streams_at() + self.stream_words() * 8).next_multiple_of(PAGE as usize)
    }
    /// Bytes of the whole ring, a multiple of the page size. What a budget has to count.
    pub fn total_bytes(&self) -> u64 {
        self.arena_at() as u64 + self.arena_bytes
    }
}

/// A ring of packets, wherever it lives.
#[derive(Clone, Copy)]
pub struct PacketView<'a> {
    pub(crate) head: &'a PacketHead,
    pub(crate) entries: &'a [PacketEntry],
    pub(crate) arena: &'a [AtomicU64],
    pub(crate) streams: &'a [AtomicU64],
}

impl<'a> PacketView<'a> {
    pub(crate) fn arena_bytes(&self) -> u64 {
        self.arena.len() as u64 * 8
    }
    pub(crate) fn entry(&self, number: u64) -> &'a PacketEntry {
        &self.entries[(number % self.entries.len() as u64) as usize]
    }
    /// Ends the ring as the writer does, for models.
    #[doc(hidden)]
    pub fn end(&self, state: u32) {
        self.head.state.store(state, crate::sync::Ordering::Release); // PAIR packet-state
    }
    #[cfg_attr(loom, allow(dead_code))]
    pub(crate) fn stream_areas(&self) -> StreamAreas<'a> {
        StreamAreas {
            newest: &self.head.stream_version,
            words: self.streams,
        }
    }
}

/// A ring of packets in ordinary memory, for models and tests.
#[doc(hidden)]
pub struct HeapPacketRing {
    head: PacketHead,
    entries: Vec<PacketEntry>,
    arena: Vec<AtomicU64>,
    streams: Vec<AtomicU64>,
}

impl HeapPacketRing {
    /// An empty ring of these sizes.
    pub fn new(arena_bytes: u64, entries: u32) -> Self {
        let words = |n: usize| (0..n).map(|_| AtomicU64::new(0)).collect();
        Self {
            head: PacketHead {
                magic: AtomicU64::new(MAGIC),
                protocol: AtomicU32::new(PACKET_PROTOCOL),
                entries: AtomicU32::new(entries),
                arena_bytes: AtomicU64::new(arena_bytes),
                instance: AtomicU64::new(0),
                generation: AtomicU64::new(0),
                _constants: [0; 3],
                newest: AtomicU64::new(0),
                claimed: AtomicU64::new(0),
                reserved: AtomicU64::new(0),
                newest_key: AtomicU64::new(0),
                newest_ns: AtomicU64::new(0),
                stream_version: AtomicU64::new(0),
                state: AtomicU32::new(crate::layout::OPEN),
                gop_too_large: AtomicU32::new(0),
                readers: AtomicU32::new(0),
            },
            entries: (0..entries)
                .map(|_| PacketEntry {
                    words: std::array::from_fn(|_| AtomicU64::new(0)),
                })
                .collect(),
            arena: words(arena_bytes as usize / 8),
            streams: words(STREAMS * 4),
        }
    }

    /// The ring.
    pub fn view(&self) -> PacketView<'_> {
        PacketView {
            head: &self.head,
            entries: &self.entries,
            arena: &self.arena,
            streams: &self.streams,
        }
    }

    /// Puts these words into the ring as a hostile writer may: head, index, arena, as far as they go.
    pub fn overwrite(&self, mut words: impl Iterator<Item = u64>) {
        use crate::sync::Ordering::Relaxed;
        let mut next = || words.next().unwrap_or(0);
        let head = &self.head;
        for word in [
            &head.newest,
            &head.claimed,
            &head.reserved,
            &head.newest_key,
            &head.stream_version,
        ] {
            word.store(next(), Relaxed);
        }
        head.state.store(next() as u32, Relaxed);
        let entries = self.entries.iter().flat_map(|entry| &entry.words);
        for word in entries.chain(&self.arena) {
            word.store(next(), Relaxed);
        }
    }
}

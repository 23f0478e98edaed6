//! What lies where in a ring and in a reader's control page. `docs/design/ring.md` has the same as tables.
#![cfg_attr(loom, allow(dead_code))] // places within a map, which loom has not

use crate::shm::Shared;
use crate::sync::{AtomicU32, AtomicU64, Futex, Ordering, fence};

/// First eight bytes of a ring, a control page and every handshake message.
pub const MAGIC: u64 = u64::from_le_bytes(*b"SHMRING\0");
/// Version of the protocol; both sides must have the same.
pub const PROTOCOL: u32 = 1;
/// Fewest slots a ring may have: the newest frame, the one being written and one for a reader.
pub const MIN_SLOTS: u32 = 3;
/// Most slots a ring may have (they are handled as bits of one word).
pub const MAX_SLOTS: u32 = 64;
/// Most readers of one ring.
pub const MAX_READERS: usize = 256;
/// Largest area per slot for metadata bytes, and largest area for stream information.
pub const MAX_AREA: u32 = 1 << 20;
/// Entries of the event index: how far back an event can be found.
pub const ENTRIES: usize = if cfg!(loom) { 4 } else { 128 };
/// Stream informations kept, so that a lagging reader still finds the one of an older frame.
pub const STREAMS: usize = if cfg!(loom) { 1 } else { 4 };
/// Lease words of a control page; a reader may use as many as it was granted.
pub const LEASES: usize = if cfg!(loom) { 2 } else { 64 };
/// Absent time or offset.
pub const NONE: u64 = u64::MAX;

const PAGE: u64 = 4096;
/// A control page's size in bytes.
pub const CONTROL_BYTES: usize = PAGE as usize;

/// `Head::state`: the writer is at work.
pub const OPEN: u32 = 0;
/// `Head::state`: the writer has gone in good order.
pub const CLOSED: u32 = 1;
/// `Head::state`: the ring goes on in the next generation, whose descriptors are in the socket.
pub const MOVED: u32 = 2;

/// Words of a slot header: with the event number before it, two cache lines.
pub const HEADER_WORDS: usize = 15;
/// A slot's header as it lies in memory; decoded and checked by [`crate::header::Header`].
pub type RawHeader = [u64; HEADER_WORDS];

/// First page of a ring. The constants at its start repeat what the handshake said.
#[repr(C, align(64))]
pub struct Head {
    pub(crate) magic: AtomicU64,
    pub(crate) protocol: AtomicU32,
    pub(crate) slots: AtomicU32,
    pub(crate) slot_bytes: AtomicU64,
    pub(crate) instance: AtomicU64,
    pub(crate) generation: AtomicU64,
    pub(crate) _constants: [u64; 3],
    /// Number of the newest event; written last of all that belongs to it.
    pub(crate) newest: AtomicU64,
    /// Number of the newest event that is a frame.
    pub(crate) newest_frame: AtomicU64,
    /// Frames published since the writer started.
    pub(crate) frames: AtomicU64,
    /// When the newest frame was published, CLOCK_MONOTONIC in ns.
    pub(crate) newest_ns: AtomicU64,
    /// Version of the newest stream information; 0 while there is none.
    pub(crate) stream_version: AtomicU64,
    pub(crate) state: AtomicU32,
    pub(crate) readers: AtomicU32,
}

/// One word of the event index plus what a gap carries.
#[repr(C)]
pub struct Entry {
    pub(crate) word: AtomicU64,
    pub(crate) a: AtomicU64,
    pub(crate) b: AtomicU64,
    pub(crate) _spare: u64,
}

/// What is known of a slot: the event number it holds (0: none, may be written to), and the frame's header.
#[repr(C, align(256))]
pub struct SlotMeta {
    pub(crate) seq: AtomicU64,
    pub(crate) header: Shared<RawHeader>,
}

/// A reader's control page: all a reader can say to the writer. Nothing in it is believed beyond the reader's grant.
#[repr(C, align(64))]
pub struct Control {
    pub(crate) magic: AtomicU64,
    pub(crate) protocol: AtomicU32,
    pub(crate) granted: AtomicU32,
    pub(crate) _constants: [u64; 6],
    /// While the reader sleeps or is about to: when it wants to be woken ([`crate::consumer::Call`]); 0 otherwise.
    pub(crate) waiting: AtomicU32,
    pub(crate) wake: Futex,
    pub(crate) _pad: [u64; 7],
    /// Slot index + 1 per lease, 0 for none.
    pub(crate) lease: [AtomicU32; LEASES],
    /// Newest event the reader has seen.
    pub(crate) cursor: AtomicU64,
    /// Frames received, skipped and copied, and age of the last frame at read in ns: as the reader says.
    pub(crate) received: AtomicU64,
    pub(crate) skipped: AtomicU64,
    pub(crate) copies: AtomicU64,
    pub(crate) age_ns: AtomicU64,
}

#[cfg(not(loom))]
const _: () = {
    use std::mem::{offset_of, size_of};
    assert!(size_of::<Head>() <= PAGE as usize);
    assert!(offset_of!(Head, slots) == 12);
    assert!(offset_of!(Head, slot_bytes) == 16);
    assert!(offset_of!(Head, instance) == 24);
    assert!(offset_of!(Head, generation) == 32);
    assert!(offset_of!(Head, newest) == 64);
    assert!(offset_of!(Head, state) == 104);
    assert!(offset_of!(Head, readers) == 108);
    assert!(size_of::<Entry>() == 32);
    assert!(size_of::<SlotMeta>() == 256);
    assert!(offset_of!(SlotMeta, header) == 8);
    assert!(offset_of!(Control, waiting) == 64);
    assert!(offset_of!(Control, wake) == 68);
    assert!(offset_of!(Control, lease) == 128);
    assert!(offset_of!(Control, cursor) == 384);
    assert!(size_of::<Control>() <= CONTROL_BYTES);
};

/// Kind of an event in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A frame, in this slot.
    Frame(u32),
    /// Nothing for a while.
    Gap,
    /// End of stream.
    Eos,
}

impl Entry {
    /// `seq` (48 bits: 8900 years at 1000 fps), kind and slot in one word, so that a frame's entry cannot be torn.
    pub(crate) fn pack(seq: u64, kind: Kind) -> u64 {
        let low = match kind {
            Kind::Frame(slot) => 1 << 8 | u64::from(slot),
            Kind::Gap => 2 << 8,
            Kind::Eos => 3 << 8,
        };
        seq << 16 | low
    }

    /// What the word says, if it is about event `seq` and makes sense.
    pub(crate) fn unpack(word: u64, seq: u64, slots: usize) -> Option<Kind> {
        if word >> 16 != seq & (u64::MAX >> 16) {
            return None;
        }
        let slot = (word & 0xff) as u32;
        match word >> 8 & 0xff {
            1 if (slot as usize) < slots => Some(Kind::Frame(slot)),
            2 => Some(Kind::Gap),
            3 => Some(Kind::Eos),
            _ => None,
        }
    }
}

/// Sizes of a ring and the places that follow from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    slots: u32,
    slot_bytes: u64,
    info_bytes: u32,
    stream_bytes: u32,
}

/// Why a [`Geometry`] is impossible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GeometryError {
    /// Too few or too many slots.
    #[error("{0} slots: a ring has {MIN_SLOTS} to {MAX_SLOTS}")]
    Slots(u32),
    /// Slot size of nothing or beyond reason.
    #[error("slots of {0} bytes: 1 byte to 4 GiB each and 1 TiB together are possible")]
    SlotBytes(u64),
    /// Arena size.
    #[error("arena of {0} bytes: a power of two from 4 KiB to 1 GiB is possible")]
    Arena(u64),
    /// Index size.
    #[error("index of {0} entries: a power of two from 64 to 65536 is possible")]
    Entries(u32),
    /// Metadata or stream area too large.
    #[error("metadata area of {0} bytes: at most {MAX_AREA} bytes are possible")]
    Area(u32),
}

impl Geometry {
    /// Checks the sizes.
    pub fn new(
        slots: u32,
        slot_bytes: u64,
        info_bytes: u32,
        stream_bytes: u32,
    ) -> Result<Self, GeometryError> {
        if !(MIN_SLOTS..=MAX_SLOTS).contains(&slots) {
            return Err(GeometryError::Slots(slots));
        }
        // With both within these bounds nothing below can overflow.
        if slot_bytes == 0
            || slot_bytes > 1 << 32
            || slot_bytes.saturating_mul(slots.into()) > 1 << 40
        {
            return Err(GeometryError::SlotBytes(slot_bytes));
        }
        for area in [info_bytes, stream_bytes] {
            if area > MAX_AREA {
                return Err(GeometryError::Area(area));
            }
        }
        Ok(Self {
            slots,
            slot_bytes,
            info_bytes,
            stream_bytes,
        })
    }

    /// Slots of the ring.
    pub fn slots(&self) -> u32 {
        self.slots
    }
    /// Payload bytes a slot has room for.
    pub fn slot_bytes(&self) -> u64 {
        self.slot_bytes
    }
    /// Metadata bytes a slot has room for.
    pub fn info_bytes(&self) -> u32 {
        self.info_bytes
    }
    /// Bytes a stream information may have.
    pub fn stream_bytes(&self) -> u32 {
        self.stream_bytes
    }
    pub(crate) fn entries_at(&self) -> usize {
        PAGE as usize
    }
    pub(crate) fn slots_at(&self) -> usize {
        (PAGE + 32 * ENTRIES as u64) as usize
    }
    fn streams_at_u64(&self) -> u64 {
        round_up(self.slots_at() as u64 + 256 * u64::from(self.slots), PAGE)
    }
    pub(crate) fn streams_at(&self) -> usize {
        self.streams_at_u64() as usize
    }
    /// 64-bit words of one stream area: version, length, bytes.
    pub(crate) fn stream_words(&self) -> usize {
        2 + (self.stream_bytes as usize).div_ceil(8)
    }
    fn infos_at(&self) -> u64 {
        round_up(
            self.streams_at_u64() + (STREAMS * self.stream_words() * 8) as u64,
            PAGE,
        )
    }
    fn info_stride(&self) -> u64 {
        round_up(self.info_bytes.into(), 64)
    }
    fn data_at(&self) -> u64 {
        round_up(
            self.infos_at() + self.info_stride() * u64::from(self.slots),
            PAGE,
        )
    }
    fn slot_stride(&self) -> u64 {
        round_up(self.slot_bytes, PAGE)
    }
    pub(crate) fn info_at(&self, slot: u32) -> usize {
        (self.infos_at() + self.info_stride() * u64::from(slot)) as usize
    }
    pub(crate) fn slot_at(&self, slot: u32) -> usize {
        (self.data_at() + self.slot_stride() * u64::from(slot)) as usize
    }
    /// The slot whose payload area holds this place, for a place within the map.
    pub(crate) fn slot_of(&self, place: usize) -> Option<u32> {
        let within = (place as u64).checked_sub(self.data_at())?;
        let slot = within / self.slot_stride();
        (slot < self.slots.into()).then_some(slot as u32)
    }
    /// Bytes of the whole ring, a multiple of the page size. What a budget has to count.
    pub fn total_bytes(&self) -> u64 {
        self.data_at() + self.slot_stride() * u64::from(self.slots)
    }
}

fn round_up(value: u64, to: u64) -> u64 {
    value.div_ceil(to) * to
}

/// A ring's control structures, wherever they live.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub(crate) head: &'a Head,
    pub(crate) entries: &'a [Entry],
    pub(crate) slots: &'a [SlotMeta],
    /// [`STREAMS`] areas of equal length.
    pub(crate) streams: &'a [AtomicU64],
}

/// What models do in place of writing pixels, reading them and breaking rules.
#[doc(hidden)]
impl View<'_> {
    /// Writes to a slot as its holder does.
    pub fn fill(&self, slot: u32, value: RawHeader) {
        self.slots[slot as usize].header.write(value);
    }
    /// Reads a slot as a reader with a lease does.
    pub fn look(&self, slot: u32) -> RawHeader {
        self.slots[slot as usize].header.read()
    }
    /// Ends the ring as the writer does: [`CLOSED`] or [`MOVED`].
    pub fn end(&self, state: u32) {
        self.head.state.store(state, Ordering::Release); // PAIR head-state
    }
}

impl<'a> View<'a> {
    pub(crate) fn entry(&self, seq: u64) -> &'a Entry {
        &self.entries[(seq % self.entries.len() as u64) as usize]
    }

    fn stream_areas(&self) -> StreamAreas<'a> {
        StreamAreas {
            newest: &self.head.stream_version,
            words: self.streams,
        }
    }

    /// Writes stream information under its version. Only the writer's thread may call this.
    pub fn put_stream(&self, version: u64, bytes: &[u8]) {
        self.stream_areas().put(version, bytes);
    }

    /// Copies the stream information of this version out, unless it has been overwritten.
    pub fn get_stream(&self, version: u64) -> Option<Vec<u8>> {
        self.stream_areas().get(version)
    }
}

/// The newest [`STREAMS`] stream informations of a ring, in areas of equal length: version, length, bytes.
#[derive(Clone, Copy)]
pub(crate) struct StreamAreas<'a> {
    pub(crate) newest: &'a AtomicU64,
    pub(crate) words: &'a [AtomicU64],
}

impl<'a> StreamAreas<'a> {
    fn area(&self, version: u64) -> &'a [AtomicU64] {
        let words = self.words.len() / STREAMS;
        let start = (version % STREAMS as u64) as usize * words;
        &self.words[start..start + words]
    }

    pub(crate) fn put(&self, version: u64, bytes: &[u8]) {
        let area = self.area(version);
        area[0].store(0, Ordering::Relaxed);
        fence(Ordering::Release); // PAIR stream-seqlock
        area[1].store(bytes.len() as u64, Ordering::Relaxed);
        for (word, bytes) in area[2..].iter().zip(bytes.chunks(8)) {
            let mut padded = [0; 8];
            padded[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_ne_bytes(padded), Ordering::Relaxed);
        }
        area[0].store(version, Ordering::Release); // PAIR stream-seqlock
        self.newest.store(version, Ordering::Release); // PAIR stream-version
    }

    pub(crate) fn get(&self, version: u64) -> Option<Vec<u8>> {
        let area = self.area(version);
        if version == 0 || area[0].load(Ordering::Acquire) != version {
            return None; // PAIR stream-seqlock
        }
        let len = area[1].load(Ordering::Relaxed) as usize;
        let words = area[2..].get(..len.div_ceil(8))?;
        let mut bytes = Vec::with_capacity(words.len() * 8);
        for word in words {
            bytes.extend_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
        bytes.truncate(len);
        fence(Ordering::Acquire); // PAIR stream-seqlock
        (area[0].load(Ordering::Relaxed) == version).then_some(bytes)
    }
}

/// A ring in ordinary memory: what loom, Miri and the unit tests run the protocol on.
#[doc(hidden)]
pub struct HeapRing {
    head: Head,
    entries: Vec<Entry>,
    slots: Vec<SlotMeta>,
    streams: Vec<AtomicU64>,
}

impl HeapRing {
    /// An empty ring of so many slots.
    pub fn new(slots: usize) -> Self {
        let stream_words = STREAMS * if cfg!(loom) { 3 } else { 10 };
        Self {
            head: Head {
                magic: AtomicU64::new(MAGIC),
                protocol: AtomicU32::new(PROTOCOL),
                slots: AtomicU32::new(slots as u32),
                slot_bytes: AtomicU64::new(0),
                instance: AtomicU64::new(0),
                generation: AtomicU64::new(0),
                _constants: [0; 3],
                newest: AtomicU64::new(0),
                newest_frame: AtomicU64::new(0),
                frames: AtomicU64::new(0),
                newest_ns: AtomicU64::new(0),
                stream_version: AtomicU64::new(0),
                state: AtomicU32::new(OPEN),
                readers: AtomicU32::new(0),
            },
            entries: (0..ENTRIES)
                .map(|_| Entry {
                    word: AtomicU64::new(0),
                    a: AtomicU64::new(0),
                    b: AtomicU64::new(0),
                    _spare: 0,
                })
                .collect(),
            slots: (0..slots)
                .map(|_| SlotMeta {
                    seq: AtomicU64::new(0),
                    header: Shared::new([0; HEADER_WORDS]),
                })
                .collect(),
            streams: (0..stream_words).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Puts these words into the ring as a hostile writer may: head, index, slots, streams, as far as they go.
    pub fn overwrite(&self, mut words: impl Iterator<Item = u64>) {
        let mut next = || words.next().unwrap_or(0);
        self.head.newest.store(next(), Ordering::Relaxed);
        self.head.newest_frame.store(next(), Ordering::Relaxed);
        self.head.stream_version.store(next(), Ordering::Relaxed);
        self.head.state.store(next() as u32, Ordering::Relaxed);
        for slot in &self.slots {
            slot.seq.store(next(), Ordering::Relaxed);
            slot.header.write(std::array::from_fn(|_| next()));
        }
        for entry in &self.entries {
            for word in [&entry.word, &entry.a, &entry.b] {
                word.store(next(), Ordering::Relaxed);
            }
        }
        for word in &self.streams {
            word.store(next(), Ordering::Relaxed);
        }
    }

    /// The structures the protocol works on.
    pub fn view(&self) -> View<'_> {
        View {
            head: &self.head,
            entries: &self.entries,
            slots: &self.slots,
            streams: &self.streams,
        }
    }
}

impl Control {
    /// Writes to the page as a reader that dies or lies does: a lease word, the cursor, the waiting word.
    #[doc(hidden)]
    pub fn scribble(&self, lease: Option<(u32, u32)>, cursor: Option<u64>, waiting: Option<u32>) {
        if let Some((lease, value)) = lease {
            self.lease[lease as usize].store(value, Ordering::Release);
        }
        if let Some(cursor) = cursor {
            self.cursor.store(cursor, Ordering::Relaxed);
        }
        if let Some(waiting) = waiting {
            self.waiting.store(waiting, Ordering::Relaxed);
        }
    }

    /// Wakes whoever sleeps on this page, after the reason for it was stored.
    #[doc(hidden)]
    pub fn cancel_wait(&self) {
        self.wake.wake();
    }

    /// A fresh control page in ordinary memory.
    #[doc(hidden)]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self {
            magic: AtomicU64::new(MAGIC),
            protocol: AtomicU32::new(PROTOCOL),
            granted: AtomicU32::new(0),
            _constants: [0; 6],
            waiting: AtomicU32::new(0),
            wake: Futex::new(),
            _pad: [0; 7],
            lease: std::array::from_fn(|_| AtomicU32::new(0)),
            cursor: AtomicU64::new(0),
            received: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            copies: AtomicU64::new(0),
            age_ns: AtomicU64::new(0),
        }
    }
}

//! A reader's half of the packet protocol: where it begins, which packet is next, and copying it.

use crate::layout::{CLOSED, MOVED};
use crate::packet::layout::{PacketMeta, PacketView, RawEntry};
use crate::sync::{Ordering, fence};

/// Where a reader begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// At the newest key packet; without one at the next.
    #[default]
    NewestKey,
    /// At the oldest key packet there is.
    OldestKey,
    /// With the next packet, key or not.
    Next,
    /// At the newest key packet captured at or before this time (CLOCK_MONOTONIC in ns), else at the oldest one.
    Capture(u64),
}

/// What [`PacketConsumer::poll`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketPoll {
    /// A packet; its bytes are in the buffer.
    Packet {
        /// Its number.
        number: u64,
        /// Packets left out before it.
        skipped: u64,
        /// Stream information that it belongs to.
        stream_version: u64,
        /// When it was published, CLOCK_MONOTONIC in ns.
        published_ns: u64,
        /// Times and flags.
        meta: PacketMeta,
    },
    /// Nothing new.
    Empty,
    /// All of this ring was seen and it goes on in another.
    Moved,
    /// All of this ring was seen and its writer is gone.
    Closed,
}

/// Why a packet cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lost {
    Overwritten,
    Nonsense,
}

/// A reader's place in a ring of packets.
#[derive(Clone, Debug)]
pub struct PacketConsumer {
    /// Number of the next packet to read.
    next: u64,
    /// Packets are left out until a key packet.
    needs_key: bool,
    skipped: u64,
    invalid: u64,
}

impl PacketConsumer {
    /// Begins in this ring.
    pub fn new(ring: PacketView<'_>, start: Start) -> Self {
        let newest = ring.head.newest.load(Ordering::Acquire); // PAIR packet-publish
        let at = |next| Self {
            next,
            needs_key: false,
            skipped: 0,
            invalid: 0,
        };
        let found = match start {
            Start::Next => return at(newest.saturating_add(1)),
            Start::NewestKey => {
                let key = ring.head.newest_key.load(Ordering::Relaxed);
                // It may be newer than what was seen of the ring: then it is the next one.
                let is_key = || entry(ring, key).is_ok_and(|entry| entry.meta.key);
                ((1..=newest).contains(&key) && is_key()).then_some(key)
            }
            Start::OldestKey => keys(ring, newest).last().map(|(number, _)| number),
            Start::Capture(time) => {
                let mut oldest = None;
                let mut found = None;
                for (number, captured) in keys(ring, newest) {
                    oldest = Some(number);
                    if captured.is_none_or(|captured| captured <= time) {
                        found = Some(number);
                        break;
                    }
                }
                found.or(oldest)
            }
        };
        match found {
            Some(key) => at(key),
            None => Self {
                needs_key: true,
                ..at(newest.saturating_add(1))
            },
        }
    }

    /// Number of the next packet.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Packets that made no sense.
    pub fn invalid(&self) -> u64 {
        self.invalid
    }

    /// Packets left out until a key packet since the last one read.
    pub fn waits_for_key(&self) -> bool {
        self.needs_key
    }

    /// Copies the next packet into `payload`, if there is one. Bounded work, whatever the shared memory says.
    pub fn poll(&mut self, ring: PacketView<'_>, payload: &mut Vec<u8>) -> PacketPoll {
        let state = ring.head.state.load(Ordering::Acquire); // PAIR packet-state
        for _ in 0..ring.entries.len() {
            let newest = ring.head.newest.load(Ordering::Acquire); // PAIR packet-publish
            if newest < self.next {
                return match state {
                    MOVED => PacketPoll::Moved,
                    CLOSED => PacketPoll::Closed,
                    _ => PacketPoll::Empty,
                };
            }
            if self.needs_key {
                let key = ring.head.newest_key.load(Ordering::Relaxed).min(newest);
                let ends = || entry(ring, newest).is_ok_and(|entry| entry.meta.eos);
                match key < self.next {
                    true if ends() => self.leave_out(newest),
                    true => {
                        self.leave_out(newest.saturating_add(1));
                        continue;
                    }
                    false => self.leave_out(key),
                }
            }
            match read(ring, self.next, payload) {
                Ok(entry) if self.needs_key && !entry.meta.key && !entry.meta.eos => {
                    self.leave_out(self.next.saturating_add(1));
                }
                Ok(entry) => {
                    self.next = self.next.saturating_add(1);
                    self.needs_key = false;
                    return PacketPoll::Packet {
                        number: entry.number,
                        skipped: std::mem::take(&mut self.skipped),
                        stream_version: entry.stream_version,
                        published_ns: entry.published_ns,
                        meta: entry.meta,
                    };
                }
                Err(lost) => {
                    self.invalid += u64::from(lost == Lost::Nonsense);
                    if self.needs_key || lost == Lost::Nonsense {
                        self.leave_out(self.next.saturating_add(1));
                    }
                    self.needs_key = true;
                }
            }
        }
        PacketPoll::Empty
    }

    fn leave_out(&mut self, until: u64) {
        self.skipped = self.skipped.saturating_add(until - self.next);
        self.next = until;
    }
}

/// Index entry of packet `number`, if it is whole and makes sense.
fn entry(ring: PacketView<'_>, number: u64) -> Result<RawEntry, Lost> {
    let words = &ring.entry(number).words;
    let words = std::array::from_fn(|at| words[at].load(Ordering::Relaxed));
    fence(Ordering::Acquire); // PAIR packet-seqlock
    let claimed = ring.head.claimed.load(Ordering::Relaxed);
    if claimed >= number.saturating_add(ring.entries.len() as u64) {
        return Err(Lost::Overwritten);
    }
    let entry = RawEntry::from_words(&words);
    if entry.number != number || !entry.is_inside(ring.arena_bytes()) {
        return Err(Lost::Nonsense);
    }
    let reserved = ring.head.reserved.load(Ordering::Relaxed);
    if reserved > entry.position.saturating_add(ring.arena_bytes()) {
        return Err(Lost::Overwritten);
    }
    Ok(entry)
}

/// Copies packet `number`, which has been published.
fn read(ring: PacketView<'_>, number: u64, payload: &mut Vec<u8>) -> Result<RawEntry, Lost> {
    let entry = entry(ring, number)?;
    let start = (entry.position % ring.arena_bytes() / 8) as usize;
    let len = entry.len as usize;
    let words = &ring.arena[start..start + len.div_ceil(8)];
    payload.clear();
    payload.reserve(words.len() * 8);
    for word in words {
        payload.extend_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
    }
    payload.truncate(len);
    fence(Ordering::Acquire); // PAIR packet-seqlock
    let reserved = ring.head.reserved.load(Ordering::Relaxed);
    if reserved > entry.position.saturating_add(ring.arena_bytes()) {
        return Err(Lost::Overwritten);
    }
    Ok(entry)
}

/// Number and capture time of the key packets that are whole, newest first.
fn keys(ring: PacketView<'_>, newest: u64) -> impl Iterator<Item = (u64, Option<u64>)> + '_ {
    let count = (ring.entries.len() as u64).min(newest);
    (0..count)
        .map(move |back| newest - back)
        .map_while(move |number| entry(ring, number).ok())
        .filter(|entry| entry.meta.key)
        .map(|entry| (entry.number, entry.meta.capture_ns))
}

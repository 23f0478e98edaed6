//! The writer's half of the packet protocol: where a packet goes, and what it overwrites.

use crate::packet::layout::{PacketMeta, PacketView, RawEntry};
use crate::sync::{Ordering, fence};

/// What a packet needs before it can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Nothing.
    Now,
    /// A larger ring, or it overwrites the beginning of its own group of pictures.
    Grow,
}

/// A writer's place in a ring of packets.
#[derive(Clone, Debug)]
pub struct PacketProducer {
    /// Number of the last packet written.
    newest: u64,
    /// Position in the stream of bytes after the last packet.
    end: u64,
    /// Number and position of the newest key packet that is still whole.
    key: Option<(u64, u64)>,
}

fn padded(len: usize) -> u64 {
    (len as u64).next_multiple_of(8)
}

impl PacketProducer {
    /// For an empty ring, whose first packet has the number after `newest`.
    pub fn new(newest: u64) -> Self {
        Self {
            newest,
            end: 0,
            key: None,
        }
    }

    /// Number of the last packet written.
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// Number of the newest key packet that is still whole.
    pub fn key(&self) -> Option<u64> {
        self.key.map(|(number, _)| number)
    }

    /// Where a packet of this length goes: all of it lies in one piece.
    fn place(&self, arena_bytes: u64, len: usize) -> u64 {
        let left = arena_bytes - self.end % arena_bytes;
        match padded(len) <= left {
            true => self.end,
            false => self.end + left,
        }
    }

    /// Whether a packet can be written without overwriting the group of pictures that it belongs to. It must not be
    /// longer than the arena.
    pub fn fit(&self, ring: PacketView<'_>, len: usize, key: bool) -> Fit {
        let arena = ring.arena_bytes();
        if padded(len) > arena {
            return Fit::Grow;
        }
        let Some((number, position)) = self.key.filter(|_| !key) else {
            return Fit::Now;
        };
        let end = self.place(arena, len) + padded(len);
        let whole = end - position <= arena && self.newest + 1 - number < ring.entries.len() as u64;
        if whole { Fit::Now } else { Fit::Grow }
    }

    /// Writes a packet that is not longer than the arena, and publishes it.
    pub fn write(
        &mut self,
        ring: PacketView<'_>,
        meta: &PacketMeta,
        (stream_version, published_ns): (u64, u64),
        payload: &[u8],
    ) -> u64 {
        let arena = ring.arena_bytes();
        assert!(padded(payload.len()) <= arena);
        let position = self.place(arena, payload.len());
        let end = position + padded(payload.len());
        let number = self.newest + 1;
        let head = ring.head;
        head.claimed.store(number, Ordering::Relaxed);
        head.reserved.store(end, Ordering::Relaxed);
        fence(Ordering::Release); // PAIR packet-seqlock
        let first = (position % arena / 8) as usize;
        let (whole, rest) = payload.as_chunks::<8>();
        let mut place = ring.arena[first..].iter();
        for (bytes, word) in whole.iter().zip(&mut place) {
            word.store(u64::from_ne_bytes(*bytes), Ordering::Relaxed);
        }
        if !rest.is_empty()
            && let Some(word) = ring.arena.get(first + whole.len())
        {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            word.store(u64::from_ne_bytes(last), Ordering::Relaxed);
        }
        let entry = RawEntry {
            number,
            position,
            len: payload.len() as u64,
            stream_version,
            published_ns,
            meta: *meta,
        };
        for (word, value) in ring.entry(number).words.iter().zip(entry.to_words()) {
            word.store(value, Ordering::Relaxed);
        }
        if meta.key {
            self.key = Some((number, position));
            head.newest_key.store(number, Ordering::Relaxed);
            head.gop_too_large.store(0, Ordering::Relaxed);
        } else if let Some((first, start)) = self.key
            && (end - start > arena || number - first >= ring.entries.len() as u64)
        {
            self.key = None;
            head.gop_too_large.store(1, Ordering::Relaxed);
        }
        head.newest_ns.store(published_ns, Ordering::Relaxed);
        self.newest = number;
        self.end = end;
        head.newest.store(number, Ordering::Release); // PAIR packet-publish
        number
    }

    /// Copies the newest group of pictures into an empty ring of a larger size. The producer of that ring, whose packets
    /// have the same numbers.
    pub fn move_to(&self, from: PacketView<'_>, to: PacketView<'_>) -> Self {
        let first = self.key.map_or(self.newest + 1, |(number, _)| number);
        let mut next = Self::new(first - 1);
        let mut payload = Vec::new();
        for number in first..=self.newest {
            let words = &from.entry(number).words;
            let words = std::array::from_fn(|at| words[at].load(Ordering::Relaxed));
            let entry = RawEntry::from_words(&words);
            let start = (entry.position % from.arena_bytes() / 8) as usize;
            let len = entry.len as usize;
            payload.clear();
            for word in &from.arena[start..start + len.div_ceil(8)] {
                payload.extend_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
            }
            payload.truncate(len);
            let times = (entry.stream_version, entry.published_ns);
            next.write(to, &entry.meta, times, &payload);
        }
        if first > self.newest {
            to.head.newest.store(self.newest, Ordering::Release); // PAIR packet-publish
        }
        next
    }
}

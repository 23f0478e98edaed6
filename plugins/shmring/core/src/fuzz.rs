//! What the property tests and cargo-fuzz both call: bytes in, no panic, and what comes out is within bounds.

use crate::consumer::{Consumer, LeaseTable, Policy, Poll};
use crate::header::Header;
use crate::layout::{Control, Geometry, HEADER_WORDS, HeapRing};
use crate::packet::{HeapPacketRing, PacketConsumer, PacketPoll, Start};
use crate::sync::Ordering;
use crate::wire::{self, Hello, Welcome};
use zerocopy::IntoBytes;

/// A message as it should be: greeting, acceptance, refusal.
pub fn example(kind: i32) -> Vec<u8> {
    let welcome = Welcome {
        magic: crate::layout::MAGIC,
        protocol: crate::layout::PROTOCOL,
        status: if kind == 1 {
            wire::ACCEPTED
        } else {
            wire::REFUSED_FULL
        },
        instance: 1,
        generation: 1,
        base: 0,
        slot_bytes: 1000,
        slots: 16,
        info_bytes: 64,
        stream_bytes: 64,
        granted: 4,
        granted_all: 4,
        readers: 1,
        named: 0,
        spare: 0,
    };
    match kind {
        0 => Hello::new(wire::ROLE_READER, 4, 8).as_bytes().to_vec(),
        _ => welcome.as_bytes().to_vec(),
    }
}

/// Handshake bytes, from either side.
pub fn handshake(bytes: &[u8]) {
    let _ = wire::parse_hello(bytes).map_err(|error| error.to_string());
    if let Ok((welcome, Some(geometry))) = wire::parse_welcome(bytes) {
        assert_eq!(welcome.status, wire::ACCEPTED);
        check(&geometry);
    }
}

/// No two areas of a ring overlap, and all are inside.
fn check(geometry: &Geometry) {
    let last = geometry.slots() - 1;
    let slots_end = geometry.slots_at() as u64 + 256 * u64::from(geometry.slots());
    assert!(slots_end <= geometry.streams_at() as u64);
    let streams_end = geometry.streams_at() + crate::layout::STREAMS * geometry.stream_words() * 8;
    assert!(streams_end <= geometry.info_at(0));
    let infos_end = geometry.info_at(last) + geometry.info_bytes() as usize;
    assert!(infos_end <= geometry.slot_at(0));
    let end = geometry.slot_at(last) as u64 + geometry.slot_bytes();
    assert!(end <= geometry.total_bytes());
    assert_eq!(geometry.slot_of(geometry.slot_at(last)), Some(last));
    assert_eq!(geometry.total_bytes() % 4096, 0);
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_ne_bytes(word)
    })
}

/// A slot's header.
pub fn header(bytes: &[u8]) {
    let mut raw = [0; HEADER_WORDS];
    for (place, word) in raw.iter_mut().zip(words(bytes)) {
        *place = word;
    }
    let Ok(geometry) = Geometry::new(4, 4096, 64, 64) else {
        return;
    };
    if let Ok(header) = Header::decode(&raw, &geometry) {
        assert!(header.range.start <= header.range.end && header.range.end <= 4096);
        assert!(header.info_len <= 64);
    }
}

/// A ring's control structures, as a hostile writer may leave them.
pub fn ring(bytes: &[u8]) {
    let ring = HeapRing::new(4);
    ring.overwrite(words(bytes));
    for policy in [Policy::Newest, Policy::EveryFrame { max_lag: 3 }] {
        let control = Control::new();
        let newest_frame = ring.view().head.newest_frame.load(Ordering::Relaxed);
        control.scribble(None, Some(newest_frame.saturating_sub(1)), None);
        let leases = LeaseTable::new(2);
        let mut consumer = Consumer::new(ring.view(), &control, policy);
        for _ in 0..8 {
            match consumer.poll(ring.view(), &control, &leases) {
                Poll::Frame { slot, lease, .. } => {
                    assert!(slot < 4 && lease < 2);
                    leases.release(&control, lease);
                }
                Poll::Empty | Poll::Moved | Poll::Closed => break,
                Poll::Gap { .. } | Poll::Eos | Poll::Unleased { .. } => {}
            }
        }
        assert_eq!(leases.held(), 0);
        for version in 0..3 {
            let _ = ring.view().get_stream(version);
        }
    }
}

/// A ring of packets, as a hostile writer may leave it, and the messages of its handshake.
pub fn packets(bytes: &[u8]) {
    let _ = crate::wire::parse_packet_hello(bytes);
    let _ = crate::wire::parse_packet_request(bytes);
    if let Ok((_, Some(geometry))) = crate::wire::parse_packet_welcome(bytes) {
        assert!(geometry.arena_at() % 4096 == 0 && geometry.streams_at() < geometry.arena_at());
    }
    let ring = HeapPacketRing::new(4096, 64);
    ring.overwrite(words(bytes));
    let mut payload = Vec::new();
    for start in [
        Start::NewestKey,
        Start::OldestKey,
        Start::Next,
        Start::Capture(words(bytes).next().unwrap_or(0)),
    ] {
        let mut consumer = PacketConsumer::new(ring.view(), start);
        for _ in 0..8 {
            match consumer.poll(ring.view(), &mut payload) {
                PacketPoll::Packet { .. } => assert!(payload.len() <= 4096),
                PacketPoll::Empty | PacketPoll::Moved | PacketPoll::Closed => break,
            }
        }
    }
}

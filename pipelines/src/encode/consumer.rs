//! A consumer's end of an encoded stream: a bounded queue.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::packet::Packet;
use crate::tasks::pipe::lock;

/// Packets a consumer may fall behind. At 30 frames a second that is half a minute.
const MOST_PACKETS: usize = 1024;
/// Bytes a consumer may fall behind.
const MOST_BYTES: usize = 64 << 20;

/// The packet with which a consumer begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The oldest key frame that the stream keeps.
    OldestKey,
    /// The key frame before this time of capture (nanoseconds of CLOCK_MONOTONIC), or the oldest that the stream keeps.
    Captured(u64),
    /// The newest key frame that the stream has sent.
    NewestKey,
    /// The next key frame. An encoder of ours makes one at once.
    Next,
}

/// What a consumer receives.
#[derive(Debug)]
pub enum Received {
    /// The next packet.
    Packet(Packet),
    /// Nothing came in time.
    Nothing,
    /// The stream has ended.
    Ended,
    /// The encoder, or what feeds it, failed.
    Failed(String),
}

#[derive(Debug, Default)]
struct State {
    packets: VecDeque<Packet>,
    bytes: usize,
    /// Packets are left out up to the next key frame.
    waits_for_key: bool,
    dropped: u64,
    /// The stream is over; the reason where it failed.
    end: Option<Option<String>>,
}

/// The queue between a stream and one consumer.
#[derive(Debug)]
pub(crate) struct Queue {
    /// What it may hold: what it began with, and as much as a consumer may fall behind.
    most_packets: usize,
    most_bytes: usize,
    state: Mutex<State>,
    changed: Condvar,
}

impl Queue {
    /// A queue that already holds `first`, which begins with a key frame where it is not empty.
    pub fn with(first: impl Iterator<Item = Packet>) -> Self {
        let packets: VecDeque<Packet> = first.collect();
        let bytes: usize = packets.iter().map(|packet| packet.buffer.size()).sum();
        Self {
            most_packets: packets.len() + MOST_PACKETS,
            most_bytes: bytes + MOST_BYTES,
            state: Mutex::new(State {
                bytes,
                waits_for_key: packets.is_empty(),
                packets,
                ..State::default()
            }),
            changed: Condvar::new(),
        }
    }

    /// Adds a packet, or drops it and what depends on it where the queue is full.
    pub fn push(&self, packet: &Packet) {
        let mut state = lock(&self.state);
        let full = state.packets.len() >= self.most_packets
            || state.bytes.saturating_add(packet.buffer.size()) > self.most_bytes;
        // A packet larger than the limit still goes through an empty queue.
        if full && !state.packets.is_empty() {
            state.waits_for_key = true;
            state.dropped += 1;
            return;
        }
        if state.waits_for_key && !packet.is_key {
            // Before its first packet a consumer has lost nothing.
            state.dropped += u64::from(state.dropped > 0);
            return;
        }
        state.waits_for_key = false;
        state.bytes += packet.buffer.size();
        state.packets.push_back(packet.clone());
        drop(state);
        self.changed.notify_all();
    }

    pub fn end(&self, reason: Option<String>) {
        lock(&self.state).end.get_or_insert(reason);
        self.changed.notify_all();
    }
}

/// One consumer of an encoded stream. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Consumer {
    pub(crate) queue: Arc<Queue>,
}

impl Consumer {
    /// Waits for the next packet, at most so long. The end comes after the last packet.
    pub fn receive(&self, wait: Duration) -> Received {
        let deadline = Instant::now() + wait;
        let mut state = lock(&self.queue.state);
        loop {
            if let Some(packet) = state.packets.pop_front() {
                state.bytes -= packet.buffer.size();
                return Received::Packet(packet);
            }
            match &state.end {
                Some(None) => return Received::Ended,
                Some(Some(reason)) => return Received::Failed(reason.clone()),
                None => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Received::Nothing;
            }
            let waited = self.queue.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Packets this consumer lost because it was too slow.
    pub fn dropped(&self) -> u64 {
        lock(&self.queue.state).dropped
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::capture::StreamId;

    /// Packet `number` of a stream with ten pictures a second.
    pub(crate) fn packet(number: u64, is_key: bool, bytes: usize) -> Packet {
        gst::init().unwrap();
        let time = number * 100 * gst::ClockTime::MSECOND;
        Packet {
            stream: StreamId::Encoded,
            version: 1,
            buffer: gst::Buffer::with_size(bytes).unwrap(),
            caps: gst::Caps::new_empty_simple("video/x-h264"),
            pts: time,
            dts: time,
            captured: time.nseconds(),
            is_key,
        }
    }

    fn consumer() -> Consumer {
        Consumer {
            queue: Arc::new(Queue::with(std::iter::empty())),
        }
    }

    fn numbers(consumer: &Consumer) -> Vec<u64> {
        let next = || match consumer.receive(Duration::ZERO) {
            Received::Packet(packet) => Some(packet.pts.mseconds() / 100),
            _ => None,
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn a_consumer_begins_with_a_key_frame_and_has_lost_nothing_before_it() {
        let consumer = consumer();
        for number in 5..30 {
            consumer.queue.push(&packet(number, number % 10 == 0, 10));
        }
        assert_eq!(numbers(&consumer), Vec::from_iter(10..30));
        assert_eq!(consumer.dropped(), 0);
    }

    #[test]
    fn a_slow_consumer_loses_whole_groups_which_are_counted() {
        let consumer = consumer();
        // 8 MiB each: the queue holds eight.
        for number in 0..24 {
            consumer
                .queue
                .push(&packet(number, number % 10 == 0, 8 << 20));
        }
        assert_eq!(consumer.dropped(), 16);
        assert_eq!(numbers(&consumer), Vec::from_iter(0..8));
        for number in 24..32 {
            consumer
                .queue
                .push(&packet(number, number % 10 == 0, 8 << 20));
        }
        assert_eq!(numbers(&consumer), [30, 31], "from the next key frame on");
        assert_eq!(consumer.dropped(), 16 + 6);
    }

    #[test]
    fn the_end_comes_after_the_last_packet_and_again_whenever_it_is_read() {
        let consumer = consumer();
        consumer.queue.push(&packet(0, true, 10));
        consumer.queue.end(Some("the encoder failed".into()));
        consumer.queue.end(None);
        assert_eq!(numbers(&consumer), [0]);
        for _ in 0..2 {
            let received = consumer.receive(Duration::ZERO);
            assert!(
                matches!(&received, Received::Failed(reason) if reason == "the encoder failed")
            );
        }
    }
}

//! The newest packets of a stream, from a key frame on.

use std::collections::VecDeque;
use std::time::Duration;

use super::packet::Packet;

/// Bytes a history may have, whatever time it is to cover.
const MOST_BYTES: usize = 64 << 20;

/// The newest group of pictures, and as many before it as the span needs. All are of one version.
#[derive(Debug, Default)]
pub(crate) struct History {
    packets: VecDeque<Packet>,
    bytes: usize,
    span: gst::ClockTime,
    /// Span that a pre-recording asked for at the start; less is never kept.
    least: gst::ClockTime,
}

impl History {
    /// An empty one that is to reach back so many seconds.
    pub fn new(seconds: f64) -> Self {
        let span = clock_time(seconds);
        Self {
            span,
            least: span,
            ..Self::default()
        }
    }

    /// Reaches back so many seconds from now on, and never less than it was made for.
    pub fn keep(&mut self, seconds: f64) {
        self.span = clock_time(seconds).max(self.least);
    }

    pub fn push(&mut self, packet: Packet) {
        let version = self.packets.back().map(|last| last.version);
        if version.is_some_and(|version| version != packet.version) {
            self.packets.clear();
            self.bytes = 0;
        }
        if self.packets.is_empty() && !packet.is_key {
            return;
        }
        self.bytes += packet.buffer.size();
        let newest = packet.pts;
        self.packets.push_back(packet);
        while self.bytes > MOST_BYTES || self.second_key_is_old_enough(newest) {
            if !self.drop_group() {
                break;
            }
        }
    }

    /// All packets, oldest first.
    pub fn all(&self) -> impl Iterator<Item = &Packet> {
        self.packets.iter()
    }

    /// The packets from the last key frame on that was captured at this time or before; all where none was.
    pub fn from(&self, captured: u64) -> impl Iterator<Item = &Packet> {
        let key = self
            .packets
            .iter()
            .rposition(|packet| packet.is_key && packet.captured <= captured);
        self.packets.iter().skip(key.unwrap_or(0))
    }

    /// The packets from the newest key frame on.
    pub fn newest_group(&self) -> impl Iterator<Item = &Packet> {
        let key = self.packets.iter().rposition(|packet| packet.is_key);
        self.packets.iter().skip(key.unwrap_or(self.packets.len()))
    }

    /// Time from its first to its last picture.
    pub fn covers(&self) -> Duration {
        let ends = self.packets.front().zip(self.packets.back());
        ends.map_or(Duration::ZERO, |(first, last)| {
            last.pts.saturating_sub(first.pts).into()
        })
    }

    /// Whether the history still reaches back far enough without its first group of pictures.
    fn second_key_is_old_enough(&self, newest: gst::ClockTime) -> bool {
        let second = self.packets.iter().skip(1).find(|packet| packet.is_key);
        second.is_some_and(|key| key.pts + self.span <= newest)
    }

    /// Drops the pictures before the second key frame. Without one all of them go, and the result is false.
    fn drop_group(&mut self) -> bool {
        let second = self.packets.iter().skip(1).position(|packet| packet.is_key);
        let count = second.map_or(self.packets.len(), |position| position + 1);
        for packet in self.packets.drain(..count) {
            self.bytes -= packet.buffer.size();
        }
        second.is_some()
    }
}

fn clock_time(seconds: f64) -> gst::ClockTime {
    gst::ClockTime::try_from_seconds_f64(seconds.max(0.0)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::consumer::tests::packet;
    use super::*;

    /// A history of two seconds, and ten pictures a second with a key frame every `group`.
    fn filled(pictures: u64, group: u64, bytes: usize) -> History {
        let mut history = History::new(2.0);
        for number in 0..pictures {
            history.push(packet(number, number % group == 0, bytes));
        }
        history
    }

    #[test]
    fn it_begins_with_a_key_frame_and_is_as_long_as_configured_but_hardly_longer() {
        for pictures in 1..100 {
            let history = filled(pictures, 7, 10);
            assert!(history.packets[0].is_key);
            let held = history.packets.len() as u64;
            assert!(
                held >= pictures.min(21) && held <= 21 + 7,
                "{held} of {pictures}"
            );
            assert_eq!(history.bytes as u64, held * 10);
            let newest: Vec<_> = history.newest_group().collect();
            assert_eq!(newest.len() as u64, (pictures - 1) % 7 + 1);
            assert!(newest[0].is_key);
        }
    }

    #[test]
    fn without_a_span_it_keeps_the_newest_group() {
        let mut history = History::new(0.0);
        for number in 0..50 {
            history.push(packet(number, number % 10 == 0, 10));
            assert!(history.packets[0].is_key);
            assert_eq!(history.packets.len() as u64, number % 10 + 1);
        }
    }

    #[test]
    fn it_never_has_more_bytes_than_allowed() {
        // One key frame and then none: nothing of it could begin a recording later.
        let endless = filled(200, 1000, 1 << 20);
        assert!(endless.bytes <= MOST_BYTES, "{}", endless.bytes);
        let large = filled(200, 2, 8 << 20);
        assert!(large.bytes <= MOST_BYTES && large.bytes > 0);
        assert!(large.packets[0].is_key);
    }

    #[test]
    fn it_is_read_from_the_key_frame_before_a_time() {
        let mut history = History::new(1.0);
        history.keep(3.0);
        for number in 0..60 {
            history.push(packet(number, number % 10 == 0, 10));
        }
        let first = |captured: u64| history.from(captured * 100_000_000).next().unwrap().pts;
        assert_eq!(first(45).mseconds(), 4_000);
        assert_eq!(first(50).mseconds(), 5_000);
        assert_eq!(first(0).mseconds(), 2_000, "the oldest that is kept");
    }

    #[test]
    fn a_new_version_begins_with_an_empty_history() {
        let mut history = filled(15, 5, 10);
        let mut other = packet(15, true, 10);
        other.version += 1;
        history.push(other);
        assert_eq!((history.packets.len(), history.bytes), (1, 10));
    }
}

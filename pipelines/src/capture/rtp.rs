//! RTP packets of an RTSP source: their times, and a payload that is not what the server announced.
//!
//! `rtpjitterbuffer` gives a packet whose timestamp lies further back than its latency the time of its arrival. Pictures
//! that are sent before those shown earlier (B-frames) do lie back, and so come out of order. [`RtpClock`] takes the
//! times from the RTP timestamps alone: how far pictures are reordered and how long to wait for a late packet are
//! different things.

use std::collections::VecDeque;
use std::sync::Mutex;

use gst::prelude::*;

use crate::fault::Fault;

/// Time over which the smallest transit counts.
const WINDOW: u64 = 60_000_000_000;
/// Transits are kept as the smallest of so long.
const BUCKET: u64 = 5_000_000_000;
/// The mapping follows the transit by at most this part of the time that passes, so that pictures stay in order.
const SLEW: i128 = 20;
/// Timestamps further ahead of the arrival, or further back, than this are a step of the camera's clock.
const STEP: i128 = 2_000_000_000;
/// Transit above the usual one that a backlog may have; longer than [`PATIENCE`] it is a step too.
const LATE: i128 = 5_000_000_000;
const PATIENCE: u64 = 2_000_000_000;

/// Maps RTP timestamps to the time of capture: arrival less the smallest transit of the last minute.
#[derive(Debug)]
pub(crate) struct RtpClock {
    rate: u32,
    last: Option<Last>,
    /// From media time to the time of capture.
    offset: i128,
    /// The latest media time.
    newest: i128,
    /// Beginning of each bucket and the smallest transit in it.
    transits: VecDeque<(u64, i128)>,
    late_since: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Last {
    source: u32,
    timestamp: u32,
    /// The timestamp without its overflows.
    ticks: i128,
    arrival: u64,
}

impl RtpClock {
    /// A clock for timestamps with so many ticks a second.
    pub fn new(rate: u32) -> Self {
        Self {
            rate: rate.max(1),
            last: None,
            offset: 0,
            newest: 0,
            transits: VecDeque::new(),
            late_since: None,
        }
    }

    /// The time of capture of a packet, in nanoseconds like its arrival.
    pub fn time(&mut self, source: u32, timestamp: u32, arrival: u64) -> u64 {
        let known = self.last.filter(|last| last.source == source);
        let ticks = known.map_or(i128::from(timestamp), |last| {
            let difference = timestamp.wrapping_sub(last.timestamp).cast_signed();
            last.ticks + i128::from(difference)
        });
        let media = ticks * 1_000_000_000 / i128::from(self.rate);
        let transit = i128::from(arrival) - media;
        if known.is_none_or(|last| self.has_stepped(last, media, transit, arrival)) {
            self.offset = transit;
            self.newest = media;
            self.transits.clear();
            self.late_since = None;
        }
        self.last = Some(Last {
            source,
            timestamp,
            ticks,
            arrival,
        });
        let smallest = self.smallest(transit, arrival);
        let passed = (media - self.newest).max(0);
        self.newest = self.newest.max(media);
        self.offset += (smallest - self.offset).clamp(-passed / SLEW, passed / SLEW);
        u64::try_from(media + self.offset).unwrap_or(0)
    }

    fn has_stepped(&mut self, last: Last, media: i128, transit: i128, arrival: u64) -> bool {
        let before = last.ticks * 1_000_000_000 / i128::from(self.rate);
        let passed = i128::from(arrival.saturating_sub(last.arrival));
        if before - media > STEP || media - before > passed + STEP {
            return true;
        }
        if transit - self.offset < LATE {
            self.late_since = None;
            return false;
        }
        let since = *self.late_since.get_or_insert(arrival);
        arrival.saturating_sub(since) > PATIENCE
    }

    fn smallest(&mut self, transit: i128, arrival: u64) -> i128 {
        match self.transits.back_mut() {
            Some((begin, least)) if arrival.saturating_sub(*begin) < BUCKET => {
                *least = transit.min(*least);
            }
            _ => self.transits.push_back((arrival, transit)),
        }
        while let Some((begin, _)) = self.transits.front()
            && arrival.saturating_sub(*begin) > WINDOW
        {
            self.transits.pop_front();
        }
        let least = self.transits.iter().map(|(_, transit)| *transit).min();
        least.unwrap_or(transit)
    }
}

/// What matters here of an RTP packet.
struct Header<'a> {
    source: u32,
    timestamp: u32,
    payload: &'a [u8],
}

fn header(packet: &[u8]) -> Option<Header<'_>> {
    let word = |at: usize| Some(u32::from_be_bytes(packet.get(at..at + 4)?.try_into().ok()?));
    let first = *packet.first()?;
    if first >> 6 != 2 {
        return None;
    }
    let mut at = 12 + 4 * usize::from(first & 0xf);
    if first & 0x10 != 0 {
        at += 4 + 4 * (word(at)? & 0xffff) as usize;
    }
    Some(Header {
        source: word(8)?,
        timestamp: word(4)?,
        payload: packet.get(at..)?,
    })
}

/// Finds out whether H.264 comes where H.265 was announced, or the other way round.
#[derive(Debug)]
struct Codec {
    announced_h265: bool,
    packets: u32,
    as_h264: u32,
    as_h265: u32,
    sets: bool,
}

/// Packets after which the codec is certain enough.
const CERTAIN: u32 = 50;

impl Codec {
    fn announced(encoding: &str) -> Option<Self> {
        let announced_h265 = match encoding {
            "H264" => false,
            "H265" => true,
            _ => return None,
        };
        Some(Self {
            announced_h265,
            packets: 0,
            as_h264: 0,
            as_h265: 0,
            sets: false,
        })
    }

    /// Takes a payload; true once it is certain that the other codec comes.
    fn is_other(&mut self, payload: &[u8]) -> bool {
        let &[first, second, ..] = payload else {
            return false;
        };
        // H.265 has a second byte in its header: layer 0, and a temporal id of at least 1.
        let h265 = first & 0x81 == 0 && second & 0xf8 == 0 && second & 7 != 0;
        // Slices, parameter sets, aggregates and fragments, with what their reference bits must be.
        let h264 = match (first & 0x1f, first & 0x60) {
            _ if first & 0x80 != 0 => false,
            (5 | 7 | 8, 0) => false,
            (1 | 5 | 7 | 8 | 24 | 28, _) => true,
            (6 | 9, bits) => bits == 0,
            _ => false,
        };
        self.packets += 1;
        self.as_h264 += u32::from(h264);
        self.as_h265 += u32::from(h265);
        self.sets |= match self.announced_h265 {
            true => h264 && !h265 && matches!(first & 0x1f, 7 | 8 | 24),
            false => h265 && matches!(first >> 1, 32..=34 | 48),
        };
        let (announced, other) = match self.announced_h265 {
            true => (self.as_h265, self.as_h264),
            false => (self.as_h264, self.as_h265),
        };
        // Bytes of the one can look like the other, but not for long.
        self.sets
            && self.packets >= CERTAIN
            && other * 10 >= self.packets * 9
            && announced * 2 < self.packets
    }

    fn fault(&self) -> Fault {
        let (announced, comes) = match self.announced_h265 {
            true => ("H.265", "H.264"),
            false => ("H.264", "H.265"),
        };
        Fault::source(format!(
            "the camera announces {announced} (SDP) but sends {comes}; set the codec in the camera again, or restart it"
        ))
    }
}

struct Watched {
    clock: RtpClock,
    codec: Option<Codec>,
    segment: Option<gst::FormattedSegment<gst::ClockTime>>,
}

/// Sets the times of the packets that come out of this pad of `rtspsrc`; a payload that was not announced is a fault.
pub(crate) fn watch(
    pad: &gst::Pad,
    caps: &gst::CapsRef,
    fault: impl Fn(Fault) + Send + Sync + 'static,
) {
    let Some(structure) = caps.structure(0) else {
        return;
    };
    let Some(rate) = structure
        .get::<i32>("clock-rate")
        .ok()
        .and_then(|rate| u32::try_from(rate).ok())
    else {
        return;
    };
    let segment = pad.sticky_event::<gst::event::Segment>(0);
    let encoding = structure.get::<&str>("encoding-name").unwrap_or_default();
    let watched = Mutex::new(Watched {
        clock: RtpClock::new(rate),
        codec: Codec::announced(encoding),
        segment: segment.and_then(|event| event.segment().downcast_ref().cloned()),
    });
    let types = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    pad.add_probe(types, move |pad, info| {
        let mut watched = watched.lock().expect("no panic while held");
        match &mut info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => {
                let now = pad
                    .parent_element()
                    .and_then(|element| element.current_running_time());
                let other = now.and_then(|now| watched.take(buffer, now));
                if let Some(other) = other {
                    drop(watched);
                    fault(other);
                }
            }
            Some(gst::PadProbeData::Event(event)) => {
                if let gst::EventView::Segment(segment) = event.view() {
                    watched.segment = segment.segment().downcast_ref().cloned();
                }
            }
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
}

impl Watched {
    fn take(&mut self, buffer: &mut gst::Buffer, now: gst::ClockTime) -> Option<Fault> {
        let (time, other) = {
            let map = buffer.map_readable().ok()?;
            let header = header(&map)?;
            let time = self
                .clock
                .time(header.source, header.timestamp, now.nseconds());
            let is_other = |codec: &mut Codec| codec.is_other(header.payload);
            (time, self.codec.as_mut().is_some_and(is_other))
        };
        let time = gst::ClockTime::from_nseconds(time);
        if let Some(time) = self
            .segment
            .as_ref()
            .and_then(|segment| segment.position_from_running_time(time))
        {
            let buffer = buffer.make_mut();
            buffer.set_pts(time);
            buffer.set_dts(gst::ClockTime::NONE);
        }
        // Reported once.
        other.then(|| self.codec.take().map(|codec| codec.fault()))?
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: u64 = 1_000_000;

    /// Times in ms of pictures with these timestamps (ms) and arrivals (ms).
    fn times(pictures: impl IntoIterator<Item = (u64, u64)>) -> Vec<u64> {
        let mut clock = RtpClock::new(90_000);
        let time = |(stamp, arrival): (u64, u64)| {
            let stamp = (stamp * 90) as u32;
            clock.time(1, stamp, arrival * MS) / MS
        };
        pictures.into_iter().map(time).collect()
    }

    #[test]
    fn reordered_pictures_keep_their_order_and_distance() {
        // Three B-frames at 25 fps, in the order of decoding, each sent when the next is taken.
        let order = [0, 4, 2, 1, 3, 8, 6, 5, 7, 12, 10, 9, 11];
        let pictures = order.iter().enumerate();
        let pictures = pictures.map(|(at, shown)| (4_000 + shown * 40, 10_000 + at as u64 * 40));
        let times = times(pictures);
        let mut shown: Vec<_> = order.into_iter().zip(times).collect();
        shown.sort_unstable();
        for pair in shown.windows(2) {
            // At first the mapping still approaches the smallest transit.
            let gap = pair[1].1.saturating_sub(pair[0].1);
            assert!((31..=41).contains(&gap), "{shown:?}");
        }
    }

    #[test]
    fn a_burst_at_the_start_keeps_its_distances_and_the_time_settles() {
        // A server sends the two seconds since the last key frame at once.
        let pictures =
            (0..1500u64).map(|at| (at * 40, 10_000 + (at * 40).saturating_sub(2_000).max(at)));
        let times = times(pictures);
        for pair in times.windows(2) {
            assert!((37..=41).contains(&(pair[1] - pair[0])), "{pair:?}");
        }
        let last = 10_000 + 1499 * 40 - 2_000;
        assert!(times[1499].abs_diff(last) < 10, "{} {last}", times[1499]);
    }

    #[test]
    fn a_step_of_the_clock_goes_on_with_the_arrival() {
        let first = (0..50u64).map(|at| (at * 40, 1_000 + at * 40));
        let second = (0..50u64).map(|at| (900_000 + at * 40, 3_000 + at * 40));
        let back = (0..50u64).map(|at| (at * 40, 5_000 + at * 40));
        let times = times(first.chain(second).chain(back));
        for (at, time) in times.iter().enumerate() {
            assert!(time.abs_diff(1_000 + at as u64 * 40) < 5, "{at}: {time}");
        }
    }

    #[test]
    fn timestamps_overflow_without_a_trace() {
        let mut clock = RtpClock::new(90_000);
        let mut last = clock.time(1, u32::MAX - 9_000, 1_000 * MS);
        for at in 1..20u64 {
            let stamp = (u32::MAX - 9_000).wrapping_add(at as u32 * 3_600);
            let time = clock.time(1, stamp, 1_000 * MS + at * 40 * MS);
            assert_eq!((time - last).div_ceil(MS), 40);
            last = time;
        }
    }

    proptest! {
        #[test]
        fn times_stay_in_order_within_jitter(
            jitter in proptest::collection::vec(0u64..200, 10..300),
            start in any::<u32>(),
        ) {
            let mut clock = RtpClock::new(90_000);
            let (mut last, mut arrival) = (None, 0);
            for (at, late) in jitter.into_iter().enumerate() {
                // Packets of one connection come in order.
                arrival = arrival.max(10_000 + at as u64 * 40 + late);
                let stamp = start.wrapping_add(at as u32 * 3_600);
                let time = clock.time(7, stamp, arrival * MS);
                if let Some(last) = last {
                    let gap = time - last;
                    prop_assert!((37 * MS..=43 * MS).contains(&gap), "{gap}");
                }
                last = Some(time);
            }
        }

        #[test]
        fn any_packet_is_read_without_harm(packet in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Some(header) = header(&packet) {
                prop_assert!(header.payload.len() <= packet.len() - 12);
                for encoding in ["H264", "H265"] {
                    Codec::announced(encoding).unwrap().is_other(header.payload);
                }
            }
        }
    }

    #[test]
    fn the_other_codec_is_recognised_and_the_announced_one_is_not_taken_for_it() {
        let h264: [&[u8]; 6] = [
            &[0x67, 0x64],
            &[0x68, 0xee],
            &[0x7c, 0x85],
            &[0x7c, 0x05],
            &[0x41, 0x9a],
            &[0x5c, 0x41],
        ];
        let h265: [&[u8]; 6] = [
            &[0x40, 0x01],
            &[0x42, 0x01],
            &[0x44, 0x01],
            &[0x62, 0x01],
            &[0x02, 0x01],
            &[0x26, 0x01],
        ];
        for (announced, payloads, expected) in [
            ("H265", h264, true),
            ("H264", h264, false),
            ("H264", h265, true),
            ("H265", h265, false),
        ] {
            let mut codec = Codec::announced(announced).unwrap();
            let mut payloads = payloads.iter().cycle().take(300);
            assert_eq!(payloads.any(|p| codec.is_other(p)), expected, "{announced}");
        }
        assert!(Codec::announced("JPEG").is_none());
    }
}

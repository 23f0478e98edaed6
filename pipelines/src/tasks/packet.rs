//! Encoded pictures on their way to recordings, and a buffer of the last seconds of them.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use super::pipe::lock;

/// Bytes a buffer of the past may have, whatever time it is to hold.
const BUFFER_BYTES: usize = 64 << 20;
/// Pictures a recording may fall behind before it is given up.
const BEHIND: usize = 1024;

/// One encoded picture, as MP4 wants it.
#[derive(Debug, Clone)]
pub(crate) struct Packet {
    pub buffer: gst::Buffer,
    pub caps: gst::Caps,
    /// Running times of the camera's pipeline.
    pub pts: gst::ClockTime,
    pub dts: gst::ClockTime,
    pub is_key: bool,
}

impl Packet {
    /// Whether both can be in one film.
    pub fn goes_with(&self, other: &Self) -> bool {
        let key = |packet: &Self| {
            let structure = packet.caps.structure(0)?;
            let side = |name| structure.get::<i32>(name).ok();
            let data = structure.get::<gst::Buffer>("codec_data").ok();
            let data = data.and_then(|data| Some(data.map_readable().ok()?.to_vec()));
            Some((
                structure.name().to_string(),
                side("width"),
                side("height"),
                data,
            ))
        };
        self.caps == other.caps || key(self) == key(other)
    }
}

/// What comes to a recording.
#[derive(Debug)]
pub(crate) enum Feed {
    Packet(Packet),
    /// The stream has ended.
    End,
    /// The encoder, or what feeds it, failed.
    Failed(String),
}

/// Told once how encoding ended; none: with the stream, or by request.
pub(crate) type OnEnd = Box<dyn FnOnce(Option<String>) + Send>;

/// Pictures from the last key frame that is old enough, and who else wants them.
#[derive(Default)]
pub(crate) struct Buffer {
    packets: VecDeque<Packet>,
    bytes: usize,
    /// How far back it is to reach.
    span: gst::ClockTime,
    listeners: Vec<SyncSender<Feed>>,
    /// Why nothing comes any more.
    pub ended: Option<String>,
    pub on_end: Option<OnEnd>,
}

impl Buffer {
    /// An empty one that is to reach back so many seconds.
    pub fn new(seconds: f64) -> Self {
        Self {
            span: gst::ClockTime::try_from_seconds_f64(seconds.max(0.0)).unwrap_or_default(),
            ..Self::default()
        }
    }

    pub fn push(&mut self, packet: Packet) {
        // A recording that cannot keep up is told nothing more: the gap would make it unplayable.
        self.listeners
            .retain(|listener| listener.try_send(Feed::Packet(packet.clone())).is_ok());
        if self.span.is_zero() {
            return;
        }
        // What was encoded otherwise does not go into one file with what comes now.
        if self
            .packets
            .back()
            .is_some_and(|last| !last.goes_with(&packet))
        {
            self.packets.clear();
            self.bytes = 0;
        }
        if self.packets.is_empty() && !packet.is_key {
            return;
        }
        self.bytes += packet.buffer.size();
        let newest = packet.pts;
        self.packets.push_back(packet);
        while self.bytes > BUFFER_BYTES || self.second_key_is_old_enough(newest) {
            if !self.drop_group() {
                break;
            }
        }
    }

    /// Everything it holds, from a key frame on, then all that comes.
    pub fn listen(&mut self) -> Result<Receiver<Feed>, String> {
        if let Some(reason) = &self.ended {
            return Err(reason.clone());
        }
        let (sender, receiver) = sync_channel(self.packets.len() + BEHIND);
        for packet in &self.packets {
            // There is room for all of them.
            let _ = sender.try_send(Feed::Packet(packet.clone()));
        }
        self.listeners.push(sender);
        Ok(receiver)
    }

    /// From its first to its last picture.
    pub fn held(&self) -> Duration {
        let ends = self.packets.front().zip(self.packets.back());
        ends.map_or(Duration::ZERO, |(first, last)| {
            last.pts.saturating_sub(first.pts).into()
        })
    }

    /// Whether the buffer still reaches back far enough without its first group of pictures.
    fn second_key_is_old_enough(&self, newest: gst::ClockTime) -> bool {
        let second = self.packets.iter().skip(1).find(|packet| packet.is_key);
        second.is_some_and(|key| key.pts + self.span <= newest)
    }

    /// Drops the pictures before the second key frame. False if there is none: then all of them go once they are too many.
    fn drop_group(&mut self) -> bool {
        let second = self.packets.iter().skip(1).position(|packet| packet.is_key);
        let count = second.map_or(self.packets.len(), |position| position + 1);
        for packet in self.packets.drain(..count) {
            self.bytes -= packet.buffer.size();
        }
        second.is_some()
    }
}

/// Nothing comes any more: tells all who listen.
pub(crate) fn end(buffer: &Mutex<Buffer>, reason: Option<String>) {
    let mut buffer = lock(buffer);
    for listener in buffer.listeners.drain(..) {
        let feed = match &reason {
            None => Feed::End,
            Some(reason) => Feed::Failed(reason.clone()),
        };
        // One that is full notices that nobody sends any more.
        let _ = listener.try_send(feed);
    }
    let words = reason
        .clone()
        .unwrap_or_else(|| "the camera's stream has ended".into());
    buffer.ended.get_or_insert(words);
    let on_end = buffer.on_end.take();
    drop(buffer);
    if let Some(on_end) = on_end {
        on_end(reason);
    }
}

/// The picture of a sample; `last` is the decoding time of the one before it.
pub(crate) fn of_sample(sample: &gst::Sample, last: &mut Option<gst::ClockTime>) -> Option<Packet> {
    let buffer = sample.buffer_owned()?;
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
    let pts = segment.to_running_time(buffer.pts().or(buffer.dts()))?;
    let dts = match segment.to_running_time_full(buffer.dts()) {
        Some(gst::Signed::Positive(dts)) => dts,
        Some(gst::Signed::Negative(_)) => gst::ClockTime::ZERO,
        None => pts,
    };
    // Times in a film only go forward; a camera that sets its clock back would end it.
    let dts = match *last {
        Some(last) if dts <= last => last + gst::ClockTime::from_useconds(1),
        _ => dts,
    };
    *last = Some(dts);
    Some(Packet {
        is_key: !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT),
        caps: sample.caps_owned()?,
        pts: pts.max(dts),
        dts,
        buffer,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A buffer that reaches back two seconds, and ten pictures a second with a key frame every `group`.
    fn filled(pictures: u64, group: u64, bytes: usize) -> Buffer {
        gst::init().unwrap();
        let caps: gst::Caps = "video/x-h264,width=640,height=360".parse().unwrap();
        let mut buffer = Buffer::new(2.0);
        for number in 0..pictures {
            buffer.push(Packet {
                buffer: gst::Buffer::with_size(bytes).unwrap(),
                caps: caps.clone(),
                pts: number * 100 * gst::ClockTime::MSECOND,
                dts: number * 100 * gst::ClockTime::MSECOND,
                is_key: number % group == 0,
            });
        }
        buffer
    }

    #[test]
    fn the_past_begins_with_a_key_frame_and_is_as_long_as_asked_but_hardly_longer() {
        for pictures in 1..100 {
            let buffer = filled(pictures, 7, 10);
            assert!(buffer.packets[0].is_key);
            let held = buffer.packets.len() as u64;
            assert!(
                held >= pictures.min(21) && held <= 21 + 7,
                "{held} of {pictures}"
            );
            assert_eq!(buffer.bytes as u64, held * 10);
        }
    }

    #[test]
    fn the_past_never_has_more_bytes_than_allowed() {
        // One key frame and then none: nothing of it could begin a recording later.
        let endless = filled(200, 1000, 1 << 20);
        assert!(endless.bytes <= BUFFER_BYTES, "{}", endless.bytes);
        let large = filled(200, 2, 8 << 20);
        assert!(large.bytes <= BUFFER_BYTES && large.bytes > 0);
        assert!(large.packets[0].is_key);
    }

    #[test]
    fn what_is_encoded_otherwise_begins_anew() {
        let mut buffer = filled(15, 5, 10);
        let mut other = buffer.packets[0].clone();
        other.caps = "video/x-h264,width=320,height=180".parse().unwrap();
        buffer.push(other);
        assert_eq!((buffer.packets.len(), buffer.bytes), (1, 10));
    }
}

//! A frame's header: what travels beside the payload, and its checked form in a slot.

use crate::layout::{Geometry, HEADER_WORDS, NONE, RawHeader};
use std::ops::Range;

/// What a frame carries besides payload and metadata bytes. Times are nanoseconds; `None` is carried as `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameHeader {
    /// Presentation time stamp.
    pub pts: Option<u64>,
    /// Decoding time stamp.
    pub dts: Option<u64>,
    /// Duration.
    pub duration: Option<u64>,
    /// Offset, as GStreamer means it (frame number, sample or byte).
    pub offset: Option<u64>,
    /// Last offset.
    pub offset_end: Option<u64>,
    /// Flags, opaque to the ring.
    pub flags: u64,
    /// CLOCK_MONOTONIC time in ns that `pts` stands for, so that a reader can map it to its own clock.
    pub capture_ns: Option<u64>,
}

/// A slot's header, decoded and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the writer's user gave.
    pub frame: FrameHeader,
    /// Frames published up to and with this one since the writer started.
    pub number: u64,
    /// When it was published, CLOCK_MONOTONIC in ns.
    pub published_ns: u64,
    /// Version of the stream information it belongs to; 0 for none.
    pub stream_version: u64,
    /// Where the payload lies within the slot.
    pub range: Range<usize>,
    /// Length of the metadata bytes.
    pub info_len: usize,
}

/// A slot header that cannot be true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Payload outside the slot.
    #[error("payload of {len} bytes at {start} in a slot of {slot_bytes} bytes")]
    Payload {
        /// Start within the slot.
        start: u64,
        /// Length.
        len: u64,
        /// Room in the slot.
        slot_bytes: u64,
    },
    /// Metadata longer than its area.
    #[error("{0} metadata bytes in an area of {1}")]
    Info(u64, u32),
}

fn some(value: u64) -> Option<u64> {
    (value != NONE).then_some(value)
}

impl Header {
    /// The form that lies in a slot.
    pub fn encode(&self) -> RawHeader {
        let none = |value: Option<u64>| value.unwrap_or(NONE);
        let mut raw = [0; HEADER_WORDS];
        raw[..13].copy_from_slice(&[
            self.number,
            none(self.frame.pts),
            none(self.frame.dts),
            none(self.frame.duration),
            none(self.frame.offset),
            none(self.frame.offset_end),
            self.frame.flags,
            none(self.frame.capture_ns),
            self.published_ns,
            self.stream_version,
            self.range.start as u64,
            self.range.len() as u64,
            self.info_len as u64,
        ]);
        raw
    }

    /// Reads a slot's header; whatever its words are, the result lies within the slot or is an error.
    pub fn decode(raw: &RawHeader, geometry: &Geometry) -> Result<Self, HeaderError> {
        let (start, len, info_len) = (raw[10], raw[11], raw[12]);
        let slot_bytes = geometry.slot_bytes();
        let end = start
            .checked_add(len)
            .filter(|end| *end <= slot_bytes)
            .ok_or(HeaderError::Payload {
                start,
                len,
                slot_bytes,
            })?;
        if info_len > geometry.info_bytes().into() {
            return Err(HeaderError::Info(info_len, geometry.info_bytes()));
        }
        Ok(Self {
            frame: FrameHeader {
                pts: some(raw[1]),
                dts: some(raw[2]),
                duration: some(raw[3]),
                offset: some(raw[4]),
                offset_end: some(raw[5]),
                flags: raw[6],
                capture_ns: some(raw[7]),
            },
            number: raw[0],
            published_ns: raw[8],
            stream_version: raw[9],
            range: start as usize..end as usize,
            info_len: info_len as usize,
        })
    }
}

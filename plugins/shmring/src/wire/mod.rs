//! What travels beside the pixels, as bytes: timestamps, flags and metadata of each frame, and caps and latency of the stream.
//!
//! Times, flags and offsets travel in the ring's own frame header. What is here is a frame's metadata: records of tag, length and
//! body, little endian and unaligned; a reader skips records with tags it does not know. The usual frame, whose video meta says
//! what its caps say, has none. Readers take nothing for granted: each function here that reads returns an error for bytes that
//! are not what they should be, and adds nothing to a buffer that would reach outside its memory.

#[cfg(feature = "v1_24")]
mod analytics;
mod bytes;
mod metas;
mod names;
mod stream;
#[cfg(test)]
mod tests;
mod value;

pub use stream::StreamInfo;

use bytes::{Get, Put};

/// Raised when the meaning of the bytes changes; writer and reader must agree.
pub const WIRE_VERSION: u16 = 1;

/// Why bytes from shared memory were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages say it
pub enum WireError {
    #[error("metadata ends early")]
    Truncated,
    #[error("metadata holds text that is not allowed there")]
    Text,
    #[error("metadata holds a value that is not allowed there")]
    Value,
    #[error("metadata is nested too deeply")]
    Depth,
    #[error("metadata of version {0}, this library reads version {WIRE_VERSION}")]
    Version(u16),
    #[error("metadata brings more new names than this process may remember")]
    Names,
    #[error("a video plane reaches outside the frame")]
    Plane,
}

/// Buffer flags that mean something only inside one process: those of the mini object below bit 4 and TAG_MEMORY.
pub const LOCAL_FLAGS: u32 = 0xf | 1 << 14;

/// In the upper half of a frame's flags: the buffer had a video meta that says exactly what its caps say.
pub const DEFAULT_VIDEO_META: u64 = 1 << 32;

/// The flags of a frame as they go into the ring.
pub fn encode_flags(buffer: &gst::BufferRef) -> u64 {
    u64::from(crate::raw::buffer_flags(buffer) & !LOCAL_FLAGS)
}

/// Writes a buffer's metadata to `out`, which is cleared first. `info` is what the caps say about video. Returns
/// [`DEFAULT_VIDEO_META`] or 0, to be added to the flags, and how many metas, or parts of them, could not be expressed and stay behind.
pub fn encode(
    out: &mut Vec<u8>,
    buffer: &gst::BufferRef,
    info: Option<&gst_video::VideoInfo>,
) -> (u64, u32) {
    out.clear();
    let mut dropped = 0;
    let default = metas::encode(&mut Put(out), buffer, info, &mut dropped);
    (if default { DEFAULT_VIDEO_META } else { 0 }, dropped)
}

/// Adds flags and metadata to a buffer whose memory is already in place. A record that is malformed stops the reading;
/// what came before it stays.
pub fn apply(
    flags: u64,
    records: &[u8],
    buffer: &mut gst::BufferRef,
    info: Option<&gst_video::VideoInfo>,
) -> Result<(), WireError> {
    crate::raw::add_buffer_flags(buffer, flags as u32 & !LOCAL_FLAGS);
    if flags & DEFAULT_VIDEO_META != 0
        && let Some(info) = info
    {
        metas::add_default_video_meta(buffer, info)?;
    }
    if records.is_empty() {
        Ok(())
    } else {
        metas::apply(Get(records), buffer)
    }
}

/// Entry for fuzzers: reads arbitrary bytes as each of the things a ring can hold. Must never panic.
pub fn fuzz(data: &[u8]) {
    let _ = StreamInfo::decode(data);
    let mut buffer = gst::Buffer::with_size(4096).expect("4 KiB can be allocated");
    let info = gst_video::VideoInfo::builder(gst_video::VideoFormat::I420, 32, 32).build();
    let flags = data.first().map_or(0, |b| u64::from(*b) << 28);
    let _ = apply(flags, data, buffer.make_mut(), info.ok().as_ref());
}

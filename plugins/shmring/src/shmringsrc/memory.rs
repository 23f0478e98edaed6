//! Frames of the ring as buffers: the slot itself as read-only memory, or a copy where downstream needs another layout.

use gst_video::{VideoFrameFlags, VideoFrameRef, VideoInfo, VideoMeta};
use shmring_core::Frame;

/// Keeps the lease for as long as somebody has the memory.
struct Lease(Frame);

impl AsRef<[u8]> for Lease {
    fn as_ref(&self) -> &[u8] {
        self.0.bytes()
    }
}

/// An empty buffer that says of its planes what the caps say.
pub(super) fn shell(info: &VideoInfo) -> Option<gst::Buffer> {
    let mut buffer = gst::Buffer::new();
    VideoMeta::add_full(
        buffer.make_mut(),
        VideoFrameFlags::empty(),
        info.format(),
        info.width(),
        info.height(),
        info.offset(),
        info.stride(),
    )
    .ok()?;
    Some(buffer)
}

/// Puts the frame in shared memory into a buffer. Writing to it makes GStreamer copy it first, as its memory is read-only.
pub(super) fn wrap(frame: Frame, buffer: &mut gst::BufferRef) {
    if !frame.bytes().is_empty() {
        buffer.append_memory(gst::Memory::from_slice(Lease(frame)));
    }
}

/// Whether planes lie elsewhere than caps alone say, so that whoever reads this must know about video meta.
pub(super) fn is_unusual(buffer: &gst::BufferRef, info: &VideoInfo) -> bool {
    buffer
        .meta::<VideoMeta>()
        .is_some_and(|m| m.stride() != info.stride() || m.offset() != info.offset())
}

/// Copies the picture into the layout that caps alone say, in ordinary memory.
pub(super) fn repack(buffer: &mut gst::Buffer, info: &VideoInfo) -> Result<(), glib::BoolError> {
    let mut packed = gst::Buffer::with_size(info.size())?;
    {
        let from = VideoFrameRef::from_buffer_ref_readable(buffer, info)?;
        let mut to = VideoFrameRef::from_buffer_ref_writable(packed.make_mut(), info)?;
        from.copy(&mut to)?;
    }
    let memory = packed.peek_memory(0).to_owned();
    let buffer = buffer.make_mut();
    buffer.replace_all_memory(memory);
    if let Some(meta) = buffer.meta_mut::<VideoMeta>() {
        meta.remove()?;
    }
    VideoMeta::add_from_info(buffer, VideoFrameFlags::empty(), info)?;
    Ok(())
}

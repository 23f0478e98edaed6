//! Frames whose planes lie where downstream does not look for them.

use gst_video::{VideoFrameFlags, VideoFrameRef, VideoInfo, VideoMeta};

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

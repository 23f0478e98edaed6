//! The only module of this plugin with `unsafe` in it: what the bindings do not reach in GStreamer's structures.

#![allow(unsafe_code)]

use glib::translate::{IntoGlib, IntoGlibPtr, ToGlibPtr};
use gst::subclass::prelude::*;
use gst_video::{VideoMeta, VideoRegionOfInterestMeta};

/// All flags of a buffer, those of video included, which the bindings cut off.
pub fn buffer_flags(buffer: &gst::BufferRef) -> u32 {
    // SAFETY: a BufferRef is a valid GstBuffer for as long as it is borrowed.
    unsafe { (*buffer.as_ptr()).mini_object.flags }
}

/// Sets flags of a buffer; only those above the mini object's own four bits.
pub fn add_buffer_flags(buffer: &mut gst::BufferRef, flags: u32) {
    // SAFETY: the buffer is borrowed mutably, so it is writable and nobody else changes its flags.
    unsafe { (*buffer.as_mut_ptr()).mini_object.flags |= flags & !0xf };
}

/// Whether the caller's references are the only ones to this buffer, its one memory and that memory's bytes, so that
/// nobody in this process can write to them later. Answers no when in doubt.
pub fn is_sole_owner(buffer: &gst::BufferRef) -> bool {
    if buffer.n_memory() != 1 {
        return false;
    }
    let memory = buffer.peek_memory(0);
    // SAFETY: buffer and memory are valid while borrowed. The counters are read as other threads may write them, therefore
    // atomically; a count of one cannot grow behind our back, as only a holder of a reference can take another.
    unsafe {
        let count = |p: *const std::ffi::c_int| {
            (*(p as *const std::sync::atomic::AtomicI32)).load(std::sync::atomic::Ordering::Acquire)
        };
        let b = buffer.as_ptr();
        let m = memory.as_ptr();
        count(&raw const (*b).mini_object.refcount) == 1
            && count(&raw const (*m).mini_object.refcount) == 1
            && (*m).parent.is_null()
    }
}

/// Sets the id of a video meta, which the bindings only read.
pub fn set_video_meta_id(meta: &mut gst::MetaRefMut<VideoMeta, gst::meta::Standalone>, id: i32) {
    // SAFETY: the meta is borrowed mutably and `id` is a plain field of it.
    unsafe { (*(meta.as_mut_ptr())).id = id };
}

/// The label of a region, `None` where it was made without one.
pub fn roi_label<'a>(meta: &'a gst::MetaRef<VideoRegionOfInterestMeta>) -> Option<&'a str> {
    // SAFETY: the meta is valid while borrowed; a quark that is not 0 has a string that lives for ever.
    let quark = unsafe { (*meta.as_ptr()).roi_type };
    (quark != 0).then(|| meta.roi_type())
}

/// Whether somebody in this process has registered a custom meta of this name.
pub fn is_custom_meta(name: &glib::GStr) -> bool {
    // SAFETY: the name ends in NUL; the answer is null or a meta info that lives for ever.
    unsafe {
        let info = gst::ffi::gst_meta_get_info(name.as_ptr());
        !info.is_null() && gst::ffi::gst_meta_info_is_custom(info) != glib::ffi::GFALSE
    }
}

/// Name under which a memory carries the mark of [`mark_substitute`].
fn substitute() -> glib::Quark {
    static QUARK: std::sync::OnceLock<glib::Quark> = std::sync::OnceLock::new();
    *QUARK.get_or_init(|| glib::Quark::from_str("shmring-substitute"))
}

/// Marks memory that was handed out for lack of a slot.
pub fn mark_substitute(memory: &mut gst::MemoryRef) {
    // SAFETY: the memory is borrowed mutably; the data is a mere number that needs no freeing.
    unsafe {
        gst::ffi::gst_mini_object_set_qdata(
            memory.as_mut_ptr().cast(),
            substitute().into_glib(),
            std::ptr::without_provenance_mut(1),
            None,
        );
    }
}

/// Whether [`mark_substitute`] was called on a buffer's first memory.
pub fn is_substitute(buffer: &gst::BufferRef) -> bool {
    if buffer.n_memory() == 0 {
        return false;
    }
    // SAFETY: memory is valid while the buffer is borrowed; getting takes the object's own lock.
    unsafe {
        let memory = buffer.peek_memory(0).as_mut_ptr();
        !gst::ffi::gst_mini_object_get_qdata(memory.cast(), substitute().into_glib()).is_null()
    }
}

/// Makes the pool a buffer belongs to, if any, give up the buffer's memory when the buffer comes back.
/// Does nothing for a buffer that others hold as well.
pub fn give_up_memory(buffer: &gst::Buffer) {
    if !is_sole_owner(buffer) {
        return;
    }
    let buffer: *mut gst::ffi::GstBuffer = buffer.to_glib_none().0;
    // SAFETY: the only reference is the caller's, so nobody else looks at the flags meanwhile; others can only see the
    // buffer again through the pool, after the caller has let go of it.
    unsafe {
        let flags = &raw mut (*buffer).mini_object.flags;
        flags.write(flags.read() | gst::ffi::GST_BUFFER_FLAG_TAG_MEMORY);
    }
}

// SAFETY: `alloc` returns a new memory with one reference that belongs to the caller, of an allocator of its own, which
// frees it; so `free` of this class is never called.
unsafe impl AllocatorImpl for crate::shmringsink::SlotAllocatorImp {
    unsafe fn alloc(
        &self,
        size: usize,
        params: &gst::AllocationParams,
    ) -> *mut gst::ffi::GstMemory {
        self.memory(size, params).into_glib_ptr()
    }
}

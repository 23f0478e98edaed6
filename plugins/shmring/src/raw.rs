//! The only module of this plugin with `unsafe` in it: what the bindings do not reach in GStreamer's structures.

#![allow(unsafe_code)]

use glib::translate::{FromGlibPtrBorrow, IntoGlib, IntoGlibPtr, ToGlibPtr, from_glib_full};
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_video::{VideoFrameFlags, VideoInfo, VideoMeta, VideoRegionOfInterestMeta};
use shmring_core::{Frame, WriteSlot};

use crate::shmringsink::{SinkImp, SlotAllocator};
use crate::shmringsrc::SrcImp;

/// What a chain function answers.
pub type FlowResult = Result<gst::FlowSuccess, gst::FlowError>;

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

/// Defines `event` and `query`, pad functions that call these methods of an element.
macro_rules! pad_functions {
    ($imp:ty, $event:ident, $query:ident) => {
        unsafe extern "C" fn event(
            pad: *mut gst::ffi::GstPad,
            parent: *mut gst::ffi::GstObject,
            event: *mut gst::ffi::GstEvent,
        ) -> glib::ffi::gboolean {
            // SAFETY: as the pad calls it: pad and parent are alive meanwhile, the event's reference is passed on.
            let (pad, parent, event) = unsafe {
                let parent = Option::<gst::Object>::from_glib_borrow(parent);
                (
                    gst::Pad::from_glib_borrow(pad),
                    parent,
                    gst::Event::from_glib_full(event),
                )
            };
            let parent = parent.as_ref().as_ref();
            <$imp>::catch_panic_pad_function(parent, || false, |imp| imp.$event(&pad, event))
                .into_glib()
        }
        unsafe extern "C" fn query(
            pad: *mut gst::ffi::GstPad,
            parent: *mut gst::ffi::GstObject,
            query: *mut gst::ffi::GstQuery,
        ) -> glib::ffi::gboolean {
            // SAFETY: as for `event`; the query is the caller's and writable.
            let (pad, parent, query) = unsafe {
                let parent = Option::<gst::Object>::from_glib_borrow(parent);
                (
                    gst::Pad::from_glib_borrow(pad),
                    parent,
                    gst::QueryRef::from_mut_ptr(query),
                )
            };
            let parent = parent.as_ref().as_ref();
            <$imp>::catch_panic_pad_function(parent, || false, |imp| imp.$query(&pad, query))
                .into_glib()
        }
    };
}

/// Sets the functions of the sink's pad. They have no user data: gst-validate puts its own functions in their place and
/// calls these without the data that they were set with.
pub fn set_sink_functions(pad: &gst::Pad) {
    pad_functions!(SinkImp, sink_event, sink_query);
    unsafe extern "C" fn chain(
        _pad: *mut gst::ffi::GstPad,
        parent: *mut gst::ffi::GstObject,
        buffer: *mut gst::ffi::GstBuffer,
    ) -> gst::ffi::GstFlowReturn {
        // SAFETY: as for `event`, with a buffer.
        let (parent, buffer) = unsafe {
            let parent = Option::<gst::Object>::from_glib_borrow(parent);
            (parent, gst::Buffer::from_glib_full(buffer))
        };
        let failed = || Err(gst::FlowError::Error);
        let parent = parent.as_ref().as_ref();
        let result = SinkImp::catch_panic_pad_function(parent, failed, |sink| sink.chain(buffer));
        gst::FlowReturn::from(result).into_glib()
    }
    let (pad, none): (*mut gst::ffi::GstPad, _) = (pad.to_glib_none().0, std::ptr::null_mut());
    // SAFETY: called while the element is made, before the pad is used; the functions need no user data.
    unsafe {
        gst::ffi::gst_pad_set_chain_function_full(pad, Some(chain), none, None);
        gst::ffi::gst_pad_set_event_function_full(pad, Some(event), none, None);
        gst::ffi::gst_pad_set_query_function_full(pad, Some(query), none, None);
    }
}

/// Sets the functions of the source's pad, without user data as those of [`set_sink_functions`].
pub fn set_src_functions(pad: &gst::Pad) {
    pad_functions!(SrcImp, src_event, src_query);
    unsafe extern "C" fn activate(
        _pad: *mut gst::ffi::GstPad,
        parent: *mut gst::ffi::GstObject,
        _mode: gst::ffi::GstPadMode,
        active: glib::ffi::gboolean,
    ) -> glib::ffi::gboolean {
        // SAFETY: as the pad calls it: the parent is alive meanwhile.
        let parent = unsafe { Option::<gst::Object>::from_glib_borrow(parent) };
        let parent = parent.as_ref().as_ref();
        let active = active != glib::ffi::GFALSE;
        SrcImp::catch_panic_pad_function(parent, || false, |src| src.activate(active)).into_glib()
    }
    let (pad, none): (*mut gst::ffi::GstPad, _) = (pad.to_glib_none().0, std::ptr::null_mut());
    // SAFETY: as for the sink.
    unsafe {
        gst::ffi::gst_pad_set_activatemode_function_full(pad, Some(activate), none, None);
        gst::ffi::gst_pad_set_event_function_full(pad, Some(event), none, None);
        gst::ffi::gst_pad_set_query_function_full(pad, Some(query), none, None);
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

/// Memory of a ring: a slot that upstream writes to, a frame that was read, or a part of either.
#[repr(C)]
struct RingMemory {
    memory: gst::ffi::GstMemory,
    start: *mut u8,
    hold: Hold,
}

/// What keeps the bytes of a [`RingMemory`] as they are.
enum Hold {
    /// Nothing yet, and no bytes: a [`Shell`]'s.
    Empty,
    /// The memory that this is a part of, which GStreamer holds.
    Parent,
    Slot(WriteSlot),
    Frame(#[allow(dead_code)] Frame),
}

// Memory is mapped and let go of in any thread.
const _: () = {
    const fn any_thread<T: Send + Sync>() {}
    any_thread::<WriteSlot>();
    any_thread::<Frame>();
};

/// The first `size` bytes of a slot as memory, which gives the slot back when nobody has it any more. When upstream has
/// written to it, readers are told that a frame is coming.
pub fn slot_memory(allocator: &SlotAllocator, mut slot: WriteSlot, size: usize) -> gst::Memory {
    let bytes = slot.bytes_mut();
    let (start, room) = (bytes.as_mut_ptr(), bytes.len());
    // SAFETY: the slot's bytes lie at `start` for as long as it is held. A new memory has one reference, the caller's.
    unsafe {
        from_glib_full(new_ring_memory(
            (start, Hold::Slot(slot)),
            (0, allocator.as_ptr().cast(), std::ptr::null_mut()),
            (room, 0, size.min(room)),
        ))
    }
}

/// A buffer for a frame to come, with all that can be made before it is there.
pub struct Shell(gst::Buffer);

impl Shell {
    /// A buffer with memory to be filled; of a picture it says of its planes what the caps say.
    pub fn new(allocator: &SlotAllocator, info: Option<&VideoInfo>) -> Self {
        let flags = gst::ffi::GST_MINI_OBJECT_FLAG_LOCK_READONLY;
        // SAFETY: no bytes, so no place is needed for them. A new memory has one reference, which is taken here.
        let memory = unsafe {
            from_glib_full(new_ring_memory(
                (std::ptr::null_mut(), Hold::Empty),
                (flags, allocator.as_ptr().cast(), std::ptr::null_mut()),
                (0, 0, 0),
            ))
        };
        let mut buffer = gst::Buffer::new();
        {
            let buffer = buffer.make_mut();
            buffer.append_memory(memory);
            if let Some(info) = info {
                // Fails only for sizes that caps cannot have; then the meta is missing, as without it.
                let _ = VideoMeta::add_full(
                    buffer,
                    VideoFrameFlags::empty(),
                    info.format(),
                    info.width(),
                    info.height(),
                    info.offset(),
                    info.stride(),
                );
            }
        }
        Self(buffer)
    }

    /// The buffer, with the frame in shared memory in it. Writing to it makes GStreamer copy it first.
    pub fn fill(self, frame: Frame) -> gst::Buffer {
        let memory = self.0.peek_memory(0).as_mut_ptr();
        // SAFETY: the memory is the empty one that `new` made, which nobody else has seen. The frame's bytes stay where
        // they are when it moves, and nobody writes to them: the memory is read-only.
        unsafe {
            let bytes = frame.bytes();
            (*memory).maxsize = bytes.len();
            (*memory).size = bytes.len();
            let ring = memory.cast::<RingMemory>();
            (*ring).start = bytes.as_ptr().cast_mut();
            (*ring).hold = Hold::Frame(frame);
        }
        self.0
    }
}

/// # Safety
/// The allocator must be a `SlotAllocator`, the parent null or a `RingMemory` of it that begins at `start`; there must
/// be `room` bytes at `start` for as long as `hold` or the parent lives, and offset and size within it.
unsafe fn new_ring_memory(
    (start, hold): (*mut u8, Hold),
    (flags, allocator, parent): (u32, *mut gst::ffi::GstAllocator, *mut gst::ffi::GstMemory),
    (room, offset, size): (usize, usize, usize),
) -> *mut gst::ffi::GstMemory {
    // SAFETY: a GstMemory of zeros is what gst_memory_init wants; the rest is the caller's promise. It takes its own
    // references to allocator and parent.
    unsafe {
        let memory = Box::new(RingMemory {
            memory: std::mem::zeroed(),
            start,
            hold,
        });
        let memory = Box::into_raw(memory).cast();
        gst::ffi::gst_memory_init(memory, flags, allocator, parent, room, 0, offset, size);
        memory
    }
}

unsafe extern "C" fn map_ring(
    memory: *mut gst::ffi::GstMemory,
    _room: usize,
    _flags: gst::ffi::GstMapFlags,
) -> glib::ffi::gpointer {
    // SAFETY: GStreamer calls this with memory of this allocator only, which is alive.
    unsafe { (*memory.cast::<RingMemory>()).start.cast() }
}

unsafe extern "C" fn unmap_ring(memory: *mut gst::ffi::GstMemory, info: *mut gst::ffi::GstMapInfo) {
    // SAFETY: as for `map_ring`; the map info is the caller's, and `slot` is only looked at.
    unsafe {
        if (*info).flags & gst::ffi::GST_MAP_WRITE != 0
            && let Hold::Slot(slot) = &(*memory.cast::<RingMemory>()).hold
        {
            slot.notify();
        }
    }
}

unsafe extern "C" fn share_ring(
    memory: *mut gst::ffi::GstMemory,
    offset: isize,
    size: isize,
) -> *mut gst::ffi::GstMemory {
    // SAFETY: as for `map_ring`. GStreamer has checked that offset and size lie within the memory; a negative size is
    // the rest of it. The part keeps the whole, and with it the slot, alive.
    unsafe {
        let whole = match (*memory).parent {
            parent if parent.is_null() => memory,
            parent => parent,
        };
        let size =
            usize::try_from(size).unwrap_or_else(|_| (*memory).size.saturating_add_signed(-offset));
        new_ring_memory(
            ((*memory.cast::<RingMemory>()).start, Hold::Parent),
            (
                (*whole).mini_object.flags | gst::ffi::GST_MINI_OBJECT_FLAG_LOCK_READONLY,
                (*memory).allocator,
                whole,
            ),
            (
                (*memory).maxsize,
                (*memory).offset.saturating_add_signed(offset),
                size,
            ),
        )
    }
}

/// Makes an allocator's memory what is made here.
pub fn init_allocator(allocator: &SlotAllocator) {
    let allocator: *mut gst::ffi::GstAllocator = allocator.as_ptr().cast();
    // SAFETY: called while the object is made, when nobody else has it; the functions fit the memory that it hands out,
    // and the name lives for ever.
    unsafe {
        (*allocator).mem_type = c"ShmRingSlot".as_ptr();
        (*allocator).mem_map = Some(map_ring);
        (*allocator).mem_unmap_full = Some(unmap_ring);
        (*allocator).mem_share = Some(share_ring);
    }
}

// SAFETY: `alloc` returns a new memory with one reference that belongs to the caller, of this allocator or of the
// system's, which frees it itself. `free` gets only what this allocator has made.
unsafe impl AllocatorImpl for crate::shmringsink::SlotAllocatorImp {
    unsafe fn alloc(
        &self,
        size: usize,
        params: &gst::AllocationParams,
    ) -> *mut gst::ffi::GstMemory {
        self.memory(size, params).into_glib_ptr()
    }

    unsafe fn free(&self, memory: *mut gst::ffi::GstMemory) {
        // SAFETY: made by `new_ring_memory` from a box, and nobody has a reference any more.
        drop(unsafe { Box::from_raw(memory.cast::<RingMemory>()) });
    }
}

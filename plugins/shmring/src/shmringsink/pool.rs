//! The slots of the ring as memory for upstream to write into: a buffer pool, and an allocator for those who bring their own pool.
//!
//! Neither keeps buffers: each one handed out is a fresh slot, and when the buffer comes back its slot goes back to the ring. So no
//! frame is ever written to again that a reader may still look at. They never wait: when readers could need the remaining slots, or
//! there is no ring yet, ordinary memory is handed out, whose content the sink then copies.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, RwLock, Weak};

use gst::subclass::prelude::*;
use gst_video::{VideoBufferPoolConfig, VideoFrameFlags, VideoInfo, VideoMeta};
use shmring_core::{Purpose, Writer};

use crate::raw;

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "shmringpool",
        gst::DebugColorFlags::empty(),
        Some("Memory of a ring's slots"),
    )
});

/// The ring that slots come from, once there is one. It does not live longer for this.
#[derive(Clone, Default)]
pub struct Slots(Arc<Mutex<Weak<RwLock<Writer>>>>);

impl Slots {
    pub fn set(&self, ring: &Arc<RwLock<Writer>>) {
        *self.0.lock().unwrap() = Arc::downgrade(ring);
    }

    fn ring(&self) -> Option<Arc<RwLock<Writer>>> {
        self.0.lock().unwrap().upgrade()
    }

    /// Memory of `size` bytes with `padding` more behind it.
    fn memory(
        &self,
        allocator: &SlotAllocator,
        padding: usize,
        size: usize,
    ) -> Option<gst::Memory> {
        let ring = self.ring()?;
        let ring = ring.read().unwrap();
        let needed = padding.checked_add(size)?;
        if ring.geometry().slot_bytes() < needed as u64 {
            return None;
        }
        let slot = ring.acquire(Purpose::Pool).ok()?;
        // The ring may have been replaced by one with smaller slots in between.
        (slot.bytes().len() >= needed).then(|| raw::slot_memory(allocator, slot, size))
    }
}

glib::wrapper! {
    pub struct SlotPool(ObjectSubclass<imp::SlotPool>) @extends gst::BufferPool, gst::Object;
}

impl SlotPool {
    pub fn new(slots: &Slots) -> Self {
        let pool: Self = glib::Object::new();
        pool.imp().allocator.set(SlotAllocator::new(slots)).ok();
        pool
    }
}

glib::wrapper! {
    pub struct SlotAllocator(ObjectSubclass<imp::SlotAllocator>) @extends gst::Allocator, gst::Object;
}

impl SlotAllocator {
    pub fn new(slots: &Slots) -> Self {
        let allocator: Self = glib::Object::new();
        allocator.imp().slots.set(slots.clone()).ok();
        allocator
    }
}

pub mod imp {
    use std::sync::OnceLock;

    use super::*;

    /// What each buffer is to be.
    #[derive(Default)]
    struct Shape {
        size: usize,
        video: Option<VideoInfo>,
    }

    pub struct SlotPool {
        pub(super) allocator: OnceLock<super::SlotAllocator>,
        shape: Mutex<Shape>,
        flushing: AtomicBool,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for SlotPool {
        const NAME: &'static str = "GstShmRingSlotPool";
        type Type = super::SlotPool;
        type ParentType = gst::BufferPool;

        fn new() -> Self {
            Self {
                allocator: OnceLock::new(),
                shape: Mutex::default(),
                flushing: AtomicBool::new(true),
            }
        }
    }

    impl ObjectImpl for SlotPool {}
    impl GstObjectImpl for SlotPool {}

    impl BufferPoolImpl for SlotPool {
        fn options() -> &'static [&'static str] {
            &[
                "GstBufferPoolOptionVideoMeta",
                "GstBufferPoolOptionVideoAlignment",
            ]
        }

        fn set_config(&self, config: &mut gst::BufferPoolConfigRef) -> bool {
            let Some((Some(caps), mut size, min, max)) = config.params() else {
                gst::warning!(CAT, imp = self, "configuration without caps");
                return false;
            };
            let mut video = None;
            if let Ok(mut info) = VideoInfo::from_caps(&caps)
                && config.has_option(gst_video::BUFFER_POOL_OPTION_VIDEO_META)
            {
                if config.has_option(gst_video::BUFFER_POOL_OPTION_VIDEO_ALIGNMENT)
                    && let Some(mut alignment) = config.video_alignment()
                {
                    if info.align(&mut alignment).is_err() {
                        return false;
                    }
                    config.set_video_alignment(&alignment);
                }
                size = size.max(info.size() as u32);
                video = Some(info);
            }
            let Some(ring) = self.allocator.get().and_then(|a| a.imp().ring()) else {
                return false;
            };
            let room = ring.read().unwrap().geometry().slot_bytes();
            if u64::from(size) > room {
                gst::info!(CAT, imp = self, "{size} bytes asked for, slots have {room}");
                return false;
            }
            config.set_params(Some(&caps), size, min, max);
            *self.shape.lock().unwrap() = Shape {
                size: size as usize,
                video,
            };
            self.parent_set_config(config)
        }

        /// Nothing is made in advance: slots stay with the ring until they are written to.
        fn start(&self) -> bool {
            true
        }

        fn flush_start(&self) {
            self.flushing.store(true, Ordering::Release);
            self.parent_flush_start();
        }

        fn flush_stop(&self) {
            self.parent_flush_stop();
            self.flushing.store(false, Ordering::Release);
        }

        fn acquire_buffer(
            &self,
            _params: Option<&gst::BufferPoolAcquireParams>,
        ) -> Result<gst::Buffer, gst::FlowError> {
            if self.flushing.load(Ordering::Acquire) {
                return Err(gst::FlowError::Flushing);
            }
            let shape = self.shape.lock().unwrap();
            let mut buffer = gst::Buffer::new();
            {
                let buffer = buffer.make_mut();
                let memory = self
                    .allocator
                    .get()
                    .and_then(|a| a.imp().slot(0, shape.size));
                buffer.append_memory(memory.unwrap_or_else(|| gst::Memory::with_size(shape.size)));
                if let Some(info) = &shape.video {
                    VideoMeta::add_full(
                        buffer,
                        VideoFrameFlags::empty(),
                        info.format(),
                        info.width(),
                        info.height(),
                        info.offset(),
                        info.stride(),
                    )
                    .map_err(|_| gst::FlowError::Error)?;
                }
            }
            Ok(buffer)
        }

        fn release_buffer(&self, buffer: gst::Buffer) {
            drop(buffer);
        }
    }

    #[derive(Default)]
    pub struct SlotAllocator {
        pub(super) slots: OnceLock<Slots>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for SlotAllocator {
        const NAME: &'static str = "GstShmRingSlotAllocator";
        type Type = super::SlotAllocator;
        type ParentType = gst::Allocator;
    }

    impl ObjectImpl for SlotAllocator {
        fn constructed(&self) {
            self.parent_constructed();
            raw::init_allocator(&self.obj());
        }
    }

    impl GstObjectImpl for SlotAllocator {}

    impl SlotAllocator {
        pub(super) fn ring(&self) -> Option<Arc<RwLock<Writer>>> {
            self.slots.get().and_then(Slots::ring)
        }

        /// Memory of `size` bytes with `padding` more behind it, if there is a slot.
        pub(super) fn slot(&self, padding: usize, size: usize) -> Option<gst::Memory> {
            self.slots.get()?.memory(&self.obj(), padding, size)
        }

        /// A slot if there is one, else ordinary memory that is marked as a substitute.
        pub fn memory(&self, size: usize, params: &gst::AllocationParams) -> gst::Memory {
            // Slots begin at a page, which is more alignment than anybody asks for.
            if params.prefix() == 0
                && let Some(memory) = self.slot(params.padding(), size)
            {
                return memory;
            }
            let mut memory = gst::Memory::with_size_and_params(size, params);
            // Upstream's pool would use it for ever, although there may be a slot next time.
            raw::mark_substitute(memory.make_mut());
            memory
        }
    }
}

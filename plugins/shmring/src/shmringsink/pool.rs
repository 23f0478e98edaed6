//! A buffer pool whose memory is the slots of the ring, for upstream to write into.
//!
//! It keeps no buffers: each one handed out is a fresh slot, and when the buffer comes back its slot goes back to the ring. So no
//! frame is ever written to again that a reader may still look at. It never waits: when readers could need the remaining slots,
//! ordinary memory is handed out, whose content the sink then copies.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, RwLock, Weak};

use gst::subclass::prelude::*;
use gst_video::{VideoBufferPoolConfig, VideoFrameFlags, VideoInfo, VideoMeta};
use shmring_core::{Purpose, Writer};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "shmringpool",
        gst::DebugColorFlags::empty(),
        Some("Pool of ring slots"),
    )
});

glib::wrapper! {
    pub struct SlotPool(ObjectSubclass<imp::SlotPool>) @extends gst::BufferPool, gst::Object;
}

impl SlotPool {
    /// A pool over a ring. The ring does not live longer for it.
    pub fn new(ring: Weak<RwLock<Writer>>) -> Self {
        let pool: Self = glib::Object::new();
        *pool.imp().ring.lock().unwrap() = ring;
        pool
    }
}

mod imp {
    use super::*;

    /// What each buffer is to be.
    #[derive(Default)]
    struct Shape {
        size: usize,
        video: Option<VideoInfo>,
    }

    pub struct SlotPool {
        pub(super) ring: Mutex<Weak<RwLock<Writer>>>,
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
                ring: Mutex::new(Weak::new()),
                shape: Mutex::default(),
                flushing: AtomicBool::new(true),
            }
        }
    }

    impl ObjectImpl for SlotPool {}
    impl GstObjectImpl for SlotPool {}

    impl SlotPool {
        fn slot_memory(&self, size: usize) -> Option<gst::Memory> {
            let ring = self.ring.lock().unwrap().upgrade()?;
            let slot = ring.read().unwrap().acquire(Purpose::Pool).ok()?;
            (slot.bytes().len() >= size).then(|| gst::Memory::from_mut_slice(slot))
        }
    }

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
            let Some(ring) = self.ring.lock().unwrap().upgrade() else {
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
                match self.slot_memory(shape.size) {
                    Some(memory) => {
                        buffer.append_memory(memory);
                        buffer.set_size(shape.size);
                    }
                    None => buffer.append_memory(gst::Memory::with_size(shape.size)),
                }
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
}

//! Publishes a stream to other processes through a ring in shared memory.
//!
//! Readers attach to a Unix socket with `shmringsrc`, get caps and the newest frame at once, and follow from there. They map the
//! frames read-only; however slow, stopped or dead they are, this element never waits for them and the others notice nothing, unless
//! `wait-for-readers` or `overrun=block` asks for that.
//!
//! Upstream elements that take a buffer pool (scalers, converters, many decoders) write straight into shared memory; what comes
//! in other memory is copied, once. A tee between the last of them and this element makes that copy necessary.
//!
//! ```text
//! gst-launch-1.0 videotestsrc is-live=true ! video/x-raw,width=640,height=360 ! shmringsink socket-path=/tmp/front.sock
//! ```

mod gate;
mod imp;
mod negotiate;
mod packets;
mod patience;
mod pool;
mod publish;
mod ring;
mod settings;
mod stats;

pub(crate) use imp::ShmRingSink as SinkImp;
pub(crate) use pool::imp::SlotAllocator as SlotAllocatorImp;
pub(crate) use pool::{SlotAllocator, Slots};

use gst::glib;
use gst::prelude::*;

/// Where the ring's memory comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstShmRingBacking")]
#[repr(u32)]
pub enum Backing {
    /// Anonymous and sealed: nobody can shrink it or map it for writing.
    #[default]
    #[enum_value(
        name = "Anonymous memory, sealed; not limited by the size of /dev/shm",
        nick = "memfd"
    )]
    Memfd,
    /// A file in /dev/shm.
    #[enum_value(
        name = "A named segment in /dev/shm; cannot be sealed, so readers of the same user are trusted",
        nick = "dev-shm"
    )]
    DevShm,
}

/// What happens when a reader that wants every frame is too slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstShmRingOverrun")]
#[repr(u32)]
pub enum Overrun {
    /// It misses frames.
    #[default]
    #[enum_value(
        name = "The reader skips frames; the writer never waits",
        nick = "skip"
    )]
    Skip,
    /// The writer waits.
    #[enum_value(
        name = "The writer waits until the reader has seen them",
        nick = "block"
    )]
    Block,
}

/// Kind of ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstShmRingMode")]
#[repr(u32)]
pub enum Mode {
    /// By the caps.
    #[default]
    #[enum_value(
        name = "Packets for encoded video with key frames and encoded audio, slots for all else",
        nick = "auto"
    )]
    Auto,
    /// Frames that readers hold without a copy.
    #[enum_value(
        name = "Slots of equal size: readers hold frames without a copy",
        nick = "slots"
    )]
    Slots,
    /// Packets of any size, which readers copy.
    #[enum_value(
        name = "Packets of any size: readers copy, and begin at the newest key frame",
        nick = "packets"
    )]
    Packets,
}

glib::wrapper! {
    /// The element `shmringsink`.
    pub struct ShmRingSink(ObjectSubclass<imp::ShmRingSink>)
        @extends gst::Element, gst::Object;
}

/// Registers the element.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(
        Some(plugin),
        "shmringsink",
        gst::Rank::NONE,
        ShmRingSink::static_type(),
    )
}

//! Reads a stream that another process publishes with `shmringsink`.
//!
//! Caps, timestamps, flags and metadata arrive as they were sent; frames are read-only maps of the writer's memory, given back
//! when the last reference to them is dropped. Timestamps are mapped to this pipeline's running time, so they say how old a frame is.
//!
//! If there is no writer yet, or it goes away, the element waits and goes on with DISCONT when one is there; see `reconnect`.
//!
//! ```text
//! gst-launch-1.0 shmringsrc socket-path=/tmp/front.sock ! videoconvert ! autovideosink
//! ```

mod flow;
mod frame;
mod imp;
mod memory;
mod settings;
mod source;
mod stamps;
mod stats;

pub(crate) use imp::ShmRingSrc as SrcImp;

use gst::glib;
use gst::prelude::*;

/// Which frames a reader gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstShmRingPolicy")]
#[repr(u32)]
pub enum Policy {
    /// All in order, falling back to the newest when too far behind.
    #[default]
    #[enum_value(
        name = "Every frame in order; jumps to the newest one when more than max-lag behind",
        nick = "every-frame"
    )]
    EveryFrame,
    /// Always the newest.
    #[enum_value(
        name = "Always the newest frame; those published meanwhile are skipped",
        nick = "newest"
    )]
    Newest,
}

/// What to do when the stream stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstShmRingReconnect")]
#[repr(u32)]
pub enum Reconnect {
    /// Ends with the stream, outlives a lost writer.
    #[default]
    #[enum_value(
        name = "Wait for a writer that stopped or died without EOS; end at EOS",
        nick = "on-loss"
    )]
    OnLoss,
    /// Never ends.
    #[enum_value(name = "Wait for the next writer in both cases", nick = "always")]
    Always,
    /// Ends in both cases.
    #[enum_value(
        name = "End at EOS and when the writer is lost; fail when there is none at the start",
        nick = "never"
    )]
    Never,
}

/// Where a reader of packets begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, glib::Enum)]
#[enum_type(name = "GstShmRingStart")]
#[repr(u32)]
pub enum Start {
    /// The newest key frame.
    #[default]
    #[enum_value(
        name = "At the newest key frame, or at the next one where there is none",
        nick = "newest-key"
    )]
    NewestKey,
    /// The oldest key frame.
    #[enum_value(name = "At the oldest key frame in the ring", nick = "oldest-key")]
    OldestKey,
    /// The next packet.
    #[enum_value(name = "With the next packet, key frame or not", nick = "next")]
    Next,
    /// A capture time.
    #[enum_value(
        name = "At the newest key frame captured at or before start-time",
        nick = "time"
    )]
    Time,
}

glib::wrapper! {
    /// The element `shmringsrc`.
    pub struct ShmRingSrc(ObjectSubclass<imp::ShmRingSrc>)
        @extends gst::Element, gst::Object;
}

/// Registers the element.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(
        Some(plugin),
        "shmringsrc",
        gst::Rank::NONE,
        ShmRingSrc::static_type(),
    )
}

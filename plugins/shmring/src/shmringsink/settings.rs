//! The properties of `shmringsink`.

use std::sync::LazyLock;

use gst::glib;
use gst::prelude::*;

use super::{Backing, Mode, Overrun};

/// What the user has set; the streaming thread reads `stats-interval` for each frame, so it lies beside this.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub socket_path: Option<String>,
    pub slots: u32,
    pub slot_size: u64,
    pub max_lease: u32,
    pub socket_mode: u32,
    pub socket_group: Option<String>,
    pub backing: Backing,
    pub mode: Mode,
    pub overrun: Overrun,
    pub max_bytes: u64,
    pub is_async: bool,
    pub qos: bool,
    /// Nanoseconds added to each due time with `sync=true`.
    pub ts_offset: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            socket_path: None,
            slots: 0,
            slot_size: 0,
            max_lease: 4,
            socket_mode: 0o600,
            socket_group: None,
            backing: Backing::Memfd,
            mode: Mode::default(),
            overrun: Overrun::default(),
            max_bytes: 64 << 20,
            is_async: false,
            qos: false,
            ts_offset: 0,
        }
    }
}

impl Settings {
    pub fn set(&mut self, name: &str, value: &glib::Value) {
        match name {
            "socket-path" => self.socket_path = value.get().expect("type checked"),
            "slots" => self.slots = value.get().expect("type checked"),
            "slot-size" => self.slot_size = value.get().expect("type checked"),
            "max-lease" => self.max_lease = value.get().expect("type checked"),
            "socket-mode" => self.socket_mode = value.get().expect("type checked"),
            "socket-group" => self.socket_group = value.get().expect("type checked"),
            "overrun" => self.overrun = value.get().expect("type checked"),
            "mode" => self.mode = value.get().expect("type checked"),
            "max-bytes" => self.max_bytes = value.get().expect("type checked"),
            "async" => self.is_async = value.get().expect("type checked"),
            "qos" => self.qos = value.get().expect("type checked"),
            "ts-offset" => self.ts_offset = value.get().expect("type checked"),
            "backing" => self.backing = value.get().expect("type checked"),
            _ => unreachable!("property {name} is not writable"),
        }
    }

    pub fn get(&self, name: &str) -> glib::Value {
        match name {
            "socket-path" => self.socket_path.to_value(),
            "slots" => self.slots.to_value(),
            "slot-size" => self.slot_size.to_value(),
            "max-lease" => self.max_lease.to_value(),
            "socket-mode" => self.socket_mode.to_value(),
            "socket-group" => self.socket_group.to_value(),
            "overrun" => self.overrun.to_value(),
            "mode" => self.mode.to_value(),
            "max-bytes" => self.max_bytes.to_value(),
            "async" => self.is_async.to_value(),
            "qos" => self.qos.to_value(),
            "ts-offset" => self.ts_offset.to_value(),
            "backing" => self.backing.to_value(),
            _ => unreachable!("unknown property {name}"),
        }
    }
}

/// All properties, with what `gst-inspect-1.0` says of them.
pub(super) static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
    let d = Settings::default();
    vec![
        glib::ParamSpecString::builder("socket-path")
            .nick("Socket path")
            .blurb("Unix socket that readers connect to (shmringsrc socket-path=...), at most 103 bytes; made here and removed at the end. A leftover of a writer that died is replaced")
            .mutable_ready()
            .build(),
        glib::ParamSpecUInt::builder("slots")
            .nick("Slots")
            .blurb("Frames the ring has room for, 3 to 64. All readers together can hold this many less two. 0: 16, or fewer, at least 6, where they would take more than 256 MiB")
            .maximum(64)
            .default_value(d.slots)
            .mutable_ready()
            .build(),
        glib::ParamSpecUInt64::builder("slot-size")
            .nick("Slot size")
            .blurb("Least bytes per slot. 0: as the caps of raw video say, else 1 MiB; the ring moves to larger slots by itself when a larger frame comes")
            .maximum(1 << 32)
            .default_value(d.slot_size)
            .mutable_ready()
            .build(),
        glib::ParamSpecEnum::builder_with_default("mode", d.mode)
            .nick("Mode")
            .blurb("Kind of ring. Readers of one kind are refused by the other with both named; shmringsrc reads both")
            .mutable_ready()
            .build(),
        glib::ParamSpecUInt::builder("wait-for-readers")
            .nick("Wait for readers")
            .blurb("Readers to wait for before the first frame is published, for files and tests; 0 for none")
            .maximum(64)
            .default_value(0)
            .mutable_playing()
            .build(),
        glib::ParamSpecEnum::builder_with_default("overrun", d.overrun)
            .nick("Overrun")
            .blurb("What happens when a reader that wants every frame lags by as many as are kept for it (slot mode). Blocking is for files and tests: a reader that stops then stops the writer and all others")
            .mutable_playing()
            .build(),
        glib::ParamSpecUInt64::builder("max-bytes")
            .nick("Maximum bytes of packets")
            .blurb("In packet mode: how large the ring may get to hold the newest group of pictures. A packet above a quarter of it is dropped with those up to the next key frame")
            .minimum(64 << 10)
            .maximum(1 << 30)
            .default_value(d.max_bytes)
            .mutable_ready()
            .build(),
        glib::ParamSpecUInt::builder("max-lease")
            .nick("Most frames per reader")
            .blurb("Frames one reader may hold at a time, if it asks for no less. Readers for which nothing is left get copies")
            .minimum(1)
            .maximum(62)
            .default_value(d.max_lease)
            .mutable_ready()
            .build(),
        glib::ParamSpecUInt::builder("socket-mode")
            .nick("Socket permissions")
            .blurb("Permissions of the socket as a number (384 is octal 0600, 432 is 0660; launch lines take 0660 too): who may connect may read the stream")
            .maximum(0o777)
            .default_value(d.socket_mode)
            .mutable_ready()
            .build(),
        glib::ParamSpecString::builder("socket-group")
            .nick("Socket group")
            .blurb("Group of the socket, by name or number; goes with a socket-mode such as 432 (0660)")
            .mutable_ready()
            .build(),
        glib::ParamSpecEnum::builder_with_default("backing", d.backing)
            .nick("Backing memory")
            .blurb("Where the frames lie. A segment in /dev/shm cannot be sealed: readers of the same user are trusted not to change frames")
            .mutable_ready()
            .build(),
        glib::ParamSpecBoolean::builder("sync")
            .nick("Sync")
            .blurb("Wait for the clock before a frame is published; off for live streams, which are published as they come")
            .default_value(false)
            .mutable_playing()
            .build(),
        glib::ParamSpecBoolean::builder("async")
            .nick("Async")
            .blurb("Wait for the first frame before the state change to PAUSED is complete")
            .default_value(d.is_async)
            .mutable_playing()
            .build(),
        glib::ParamSpecBoolean::builder("qos")
            .nick("QoS")
            .blurb("Send quality-of-service events upstream with sync=true")
            .default_value(d.qos)
            .mutable_playing()
            .build(),
        glib::ParamSpecInt64::builder("ts-offset")
            .nick("Timestamp offset")
            .blurb("Nanoseconds to publish later (or, negative, earlier) with sync=true")
            .default_value(d.ts_offset)
            .mutable_playing()
            .build(),
        glib::ParamSpecBoolean::builder("enable-last-sample")
            .nick("Keep last sample")
            .blurb("Keep the last frame for the property last-sample; such a frame has to be copied into the ring")
            .default_value(false)
            .mutable_playing()
            .build(),
        glib::ParamSpecBoxed::builder::<gst::Sample>("last-sample")
            .nick("Last sample")
            .blurb("The last frame published, with enable-last-sample=true")
            .read_only()
            .build(),
        glib::ParamSpecUInt::builder("stats-interval")
            .nick("Interval of statistics")
            .blurb("Milliseconds between element messages 'shmringsink-stats' with what the property stats says; 0 for none")
            .default_value(0)
            .mutable_playing()
            .build(),
        glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
            .nick("Statistics")
            .blurb("frames published; of those in-place (upstream wrote into the ring) and copied; dropped-no-slot, dropped-too-large, dropped-unreadable, metas-dropped, pool-refused, wakes (system calls to wake readers), refused and misbehaved connections, sizes, and per reader: pid, granted, leased, lag, received, skipped, copies, age in ns")
            .read_only()
            .build(),
    ]
});

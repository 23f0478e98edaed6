//! The properties of `shmringsrc`.

use std::sync::LazyLock;

use gst::glib;
use gst::prelude::*;

use super::{Policy, Reconnect, Start};

/// What the user has set; the streaming thread reads `stats-interval` for each frame, so it lies beside this.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub socket_path: Option<String>,
    pub is_live: bool,
    pub policy: Policy,
    pub max_lag: u32,
    pub history: u32,
    pub max_lease: u32,
    pub reconnect: Reconnect,
    pub early_wake: bool,
    pub num_buffers: i32,
    pub start: Start,
    pub start_time: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            socket_path: None,
            is_live: true,
            policy: Policy::default(),
            max_lag: 8,
            history: 0,
            max_lease: 0,
            reconnect: Reconnect::default(),
            early_wake: true,
            num_buffers: -1,
            start: Start::default(),
            start_time: 0,
        }
    }
}

impl Settings {
    pub fn policy(&self) -> shmring_core::Policy {
        match self.policy {
            Policy::EveryFrame => shmring_core::Policy::EveryFrame {
                max_lag: self.max_lag.into(),
            },
            Policy::Newest => shmring_core::Policy::Newest,
        }
    }

    pub fn start(&self) -> shmring_core::packet::Start {
        use shmring_core::packet::Start as To;
        match self.start {
            Start::NewestKey => To::NewestKey,
            Start::OldestKey => To::OldestKey,
            Start::Next => To::Next,
            Start::Time => To::Capture(self.start_time),
        }
    }

    pub fn set(&mut self, name: &str, value: &glib::Value) {
        match name {
            "socket-path" => self.socket_path = value.get().expect("type checked"),
            "is-live" => self.is_live = value.get().expect("type checked"),
            "policy" => self.policy = value.get().expect("type checked"),
            "max-lag" => self.max_lag = value.get().expect("type checked"),
            "history" => self.history = value.get().expect("type checked"),
            "max-lease" => self.max_lease = value.get().expect("type checked"),
            "reconnect" => self.reconnect = value.get().expect("type checked"),
            "early-wake" => self.early_wake = value.get().expect("type checked"),
            "start" => self.start = value.get().expect("type checked"),
            "start-time" => self.start_time = value.get().expect("type checked"),
            "num-buffers" => self.num_buffers = value.get().expect("type checked"),
            _ => unreachable!("property {name} is not writable"),
        }
    }

    pub fn get(&self, name: &str) -> glib::Value {
        match name {
            "socket-path" => self.socket_path.to_value(),
            "is-live" => self.is_live.to_value(),
            "policy" => self.policy.to_value(),
            "max-lag" => self.max_lag.to_value(),
            "history" => self.history.to_value(),
            "max-lease" => self.max_lease.to_value(),
            "reconnect" => self.reconnect.to_value(),
            "early-wake" => self.early_wake.to_value(),
            "start" => self.start.to_value(),
            "start-time" => self.start_time.to_value(),
            "num-buffers" => self.num_buffers.to_value(),
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
            .blurb("Unix socket of the writer (shmringsink socket-path=...). If nobody listens there yet, the element waits, see reconnect")
            .mutable_ready()
            .build(),
        glib::ParamSpecBoolean::builder("is-live")
            .nick("Live")
            .blurb("Timestamps say when a frame was captured, in this pipeline's running time, and the pipeline does not preroll. False: the first frame is at 0 and the distances are kept")
            .default_value(d.is_live)
            .mutable_ready()
            .build(),
        glib::ParamSpecEnum::builder_with_default("policy", d.policy)
            .nick("Policy")
            .blurb("Which frames to take when this reader is slower than the writer")
            .mutable_playing()
            .build(),
        glib::ParamSpecUInt::builder("max-lag")
            .nick("Most lag")
            .blurb("With policy=every-frame: frames to be behind before jumping to the newest one")
            .minimum(1)
            .maximum(62)
            .default_value(d.max_lag)
            .mutable_playing()
            .build(),
        glib::ParamSpecUInt::builder("history")
            .nick("History")
            .blurb("Frames the writer keeps for this reader while it lags, as far as its slots allow; 0 for as many as max-lag (policy=newest needs none). Taken at the next connection")
            .maximum(62)
            .default_value(d.history)
            .mutable_ready()
            .build(),
        glib::ParamSpecUInt::builder("max-lease")
            .nick("Most frames held")
            .blurb("Frames downstream may hold at a time without being given copies; one more is in use to take the next frame. 0 for as many as the writer's max-lease grants")
            .maximum(62)
            .default_value(d.max_lease)
            .mutable_ready()
            .build(),
        glib::ParamSpecEnum::builder_with_default("reconnect", d.reconnect)
            .nick("Reconnect")
            .blurb("What to do when the stream ends or the writer stops or dies; buffers go on with DISCONT after a wait")
            .mutable_playing()
            .build(),
        glib::ParamSpecBoolean::builder("early-wake")
            .nick("Wake up early")
            .blurb("Wake up already when upstream of the writer has written a frame, and wait awake, at most 60 us, until it is published: less latency, about as much processor time. Gives it up for a while where it leads to nothing")
            .default_value(d.early_wake)
            .mutable_ready()
            .build(),
        glib::ParamSpecEnum::builder_with_default("start", d.start)
            .nick("Start")
            .blurb("Where to begin in an encoded stream (packet mode)")
            .mutable_ready()
            .build(),
        glib::ParamSpecUInt64::builder("start-time")
            .nick("Start time")
            .blurb("Capture time to begin at with start=time, CLOCK_MONOTONIC in ns")
            .default_value(d.start_time)
            .mutable_ready()
            .build(),
        glib::ParamSpecInt::builder("num-buffers")
            .nick("Number of buffers")
            .blurb("Buffers to push before the end of the stream; -1: no end")
            .minimum(-1)
            .default_value(d.num_buffers)
            .mutable_ready()
            .build(),
        glib::ParamSpecBoolean::builder("do-timestamp")
            .nick("Do timestamp")
            .blurb("Stamp frames that the writer sends without a timestamp with the current time")
            .default_value(false)
            .mutable_playing()
            .build(),
        glib::ParamSpecUInt::builder("stats-interval")
            .nick("Interval of statistics")
            .blurb("Milliseconds between element messages 'shmringsrc-stats' with what the property stats says; 0 for none")
            .default_value(0)
            .mutable_playing()
            .build(),
        glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
            .nick("Statistics")
            .blurb("connected, frames received and skipped; copies (downstream held all but one lease), repacked (downstream does not know video meta), invalid frames and metas-invalid; age and max-age from publishing to reading in ns; connections, granted, leased, lag")
            .read_only()
            .build(),
    ]
});

//! When a buffer may pass: preroll in PAUSED, the clock with `sync=true`, and nothing while flushing or after EOS.

use std::sync::atomic::Ordering;

use gst::prelude::*;
use gst::subclass::prelude::*;

use super::imp::{CAT, ShmRingSink};

/// What decides whether a buffer passes. Guarded by a mutex; [`ShmRingSink::gate_changed`] follows each change.
#[derive(Debug, Default)]
pub(super) struct Gate {
    flushing: bool,
    playing: bool,
    /// The end of the stream has been published; nothing follows it before a flush.
    eos: Option<gst::Seqnum>,
    /// A state change to PAUSED or PLAYING waits for the first buffer (`async=true`).
    commit_due: bool,
    /// The streaming thread waits here with a buffer or an event.
    held: bool,
    clock_id: Option<gst::SingleShotClockId>,
    latency: gst::ClockTime,
}

impl Gate {
    fn unschedule(&mut self) {
        if let Some(id) = self.clock_id.take() {
            id.unschedule();
        }
    }

    /// Whether a state change has to wait for a buffer.
    fn needs_preroll(&self, is_async: bool) -> bool {
        is_async && !self.held && self.eos.is_none()
    }
}

impl ShmRingSink {
    /// Waits until a buffer with this running time may be published. `None` does not wait for the clock.
    pub(super) fn pass(&self, at: Option<gst::ClockTime>) -> Result<(), gst::FlowError> {
        loop {
            self.wait_playing()?;
            let Some(at) = at.filter(|_| self.sync.load(Ordering::Relaxed)) else {
                return Ok(());
            };
            let obj = self.obj();
            let (Some(clock), Some(base)) = (obj.clock(), obj.base_time()) else {
                return Ok(());
            };
            let (ts_offset, qos) = {
                let settings = self.settings.lock().unwrap();
                (settings.ts_offset, settings.qos)
            };
            let id = {
                let mut gate = self.gate.lock().unwrap();
                if gate.flushing || !gate.playing {
                    continue;
                }
                let due = (base + at + gate.latency).nseconds();
                let due = gst::ClockTime::from_nseconds(due.saturating_add_signed(ts_offset));
                let id = clock.new_single_shot_id(due);
                gate.clock_id = Some(id.clone());
                id
            };
            let (result, jitter) = id.wait();
            self.gate.lock().unwrap().clock_id = None;
            if result == Err(gst::ClockError::Unscheduled) {
                continue;
            }
            if qos {
                let kind = match jitter > 0 {
                    true => gst::QOSType::Underflow,
                    false => gst::QOSType::Overflow,
                };
                let event = gst::event::Qos::builder(kind, 1.0, jitter);
                self.sinkpad.push_event(event.timestamp(at).build());
            }
            return Ok(());
        }
    }

    /// Waits for a moment, unless buffers are refused meanwhile.
    pub(super) fn pause(&self, limit: std::time::Duration) -> Result<(), gst::FlowError> {
        let gate = self.gate.lock().unwrap();
        let (gate, _) = self
            .gate_changed
            .wait_timeout_while(gate, limit, |gate| !gate.flushing)
            .unwrap();
        if gate.flushing {
            return Err(gst::FlowError::Flushing);
        }
        drop(gate);
        self.wait_playing()
    }

    /// Waits for PLAYING, and completes a state change that waits for a buffer.
    fn wait_playing(&self) -> Result<(), gst::FlowError> {
        let mut gate = self.gate.lock().unwrap();
        loop {
            if gate.flushing {
                return Err(gst::FlowError::Flushing);
            }
            if gate.eos.is_some() {
                return Err(gst::FlowError::Eos);
            }
            if std::mem::take(&mut gate.commit_due) {
                gate.held = true;
                drop(gate);
                self.commit_state();
                gate = self.gate.lock().unwrap();
                gate.held = false;
                continue;
            }
            if gate.playing {
                return Ok(());
            }
            gate.held = true;
            gate = self.gate_changed.wait(gate).unwrap();
            gate.held = false;
        }
    }

    fn commit_state(&self) {
        let obj = self.obj();
        // A change to a lower state is under way: it has no use for this buffer.
        if !matches!(
            obj.pending_state(),
            gst::State::Paused | gst::State::Playing
        ) {
            return;
        }
        gst::debug!(CAT, imp = self, "prerolled");
        let _ = obj.continue_state(gst::StateChangeSuccess::Success);
        let done = gst::message::AsyncDone::builder().src(&*obj).build();
        let _ = obj.post_message(done);
    }

    /// Marks that a state change waits for a buffer, where it has to. Whether it has to.
    fn begin_preroll(&self, gate: &mut Gate) -> bool {
        let is_async = self.settings.lock().unwrap().is_async;
        gate.commit_due = gate.needs_preroll(is_async);
        gate.commit_due
    }

    /// The state change as far as buffers are concerned; call it before the pads are deactivated and after they are
    /// activated. Whether it waits for a buffer.
    pub(super) fn gate_transition(&self, transition: gst::StateChange) -> bool {
        let mut gate = self.gate.lock().unwrap();
        let mut post_eos = None;
        let waits = match transition {
            gst::StateChange::ReadyToPaused => {
                *gate = Gate::default();
                self.begin_preroll(&mut gate)
            }
            gst::StateChange::PausedToPlaying => {
                gate.playing = true;
                post_eos = gate.eos;
                gate.commit_due && self.begin_preroll(&mut gate)
            }
            gst::StateChange::PlayingToPaused => {
                gate.playing = false;
                gate.unschedule();
                self.begin_preroll(&mut gate)
            }
            gst::StateChange::PausedToReady => {
                gate.flushing = true;
                gate.playing = false;
                gate.commit_due = false;
                gate.unschedule();
                false
            }
            _ => false,
        };
        drop(gate);
        self.gate_changed.notify_all();
        if waits {
            let start = gst::message::AsyncStart::builder()
                .src(&*self.obj())
                .build();
            let _ = self.obj().post_message(start);
        }
        if let Some(seqnum) = post_eos {
            self.post_eos(seqnum);
        }
        waits
    }

    /// Lets go of what waits here; buffers are refused until [`Self::gate_flush_stop`].
    pub(super) fn gate_flush_start(&self) {
        {
            let mut gate = self.gate.lock().unwrap();
            gate.flushing = true;
            gate.unschedule();
        }
        self.gate_changed.notify_all();
        let _stream = self.sinkpad.stream_lock();
        if self.settings.lock().unwrap().is_async {
            self.gate.lock().unwrap().commit_due = true;
            self.obj().lost_state();
        }
    }

    pub(super) fn gate_flush_stop(&self) {
        let mut gate = self.gate.lock().unwrap();
        gate.flushing = false;
        gate.eos = None;
    }

    /// The end of the stream: passes like a buffer, then nothing more does.
    pub(super) fn gate_eos(&self, seqnum: gst::Seqnum) -> bool {
        match self.pass(None) {
            Ok(()) => {}
            Err(gst::FlowError::Eos) => return true,
            Err(_) => return false,
        }
        self.gate.lock().unwrap().eos = Some(seqnum);
        self.post_eos(seqnum);
        true
    }

    fn post_eos(&self, seqnum: gst::Seqnum) {
        let obj = self.obj();
        let _ = obj.post_message(
            gst::message::Eos::builder()
                .src(&*obj)
                .seqnum(seqnum)
                .build(),
        );
    }

    pub(super) fn set_latency(&self, latency: gst::ClockTime) {
        self.gate.lock().unwrap().latency = latency;
    }

    /// Whether the pipeline's latency can be told: a sink that waits for its first buffer cannot yet.
    pub(super) fn knows_latency(&self) -> bool {
        !self.gate.lock().unwrap().commit_due
    }
}

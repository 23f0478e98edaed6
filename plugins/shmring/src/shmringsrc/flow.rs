//! The streaming thread: waits for what happens on the ring, follows the writer through restarts, pushes.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_video::{VideoInfo, VideoMeta};
use shmring_core::{ConnectError, WaitError};

use super::Reconnect;
use super::frame::Made;
use super::imp::{CAT, ShmRingSrc, State};
use super::source::Next;
use crate::{report, wire};

/// How long to try before the reason why there is no writer is looked at again.
const PATIENCE: Duration = Duration::from_secs(5);

impl ShmRingSrc {
    /// Runs until the pad flushes, the stream ends or an error stops it.
    pub(super) fn task(&self) {
        let Some(mut state) = self.state.lock().unwrap().take() else {
            let _ = self.srcpad.pause_task();
            return;
        };
        let Err(error) = self.flow(&mut state);
        *self.state.lock().unwrap() = Some(state);
        gst::debug!(CAT, imp = self, "pausing: {error:?}");
        let _ = self.srcpad.pause_task();
        match error {
            gst::FlowError::Flushing => {}
            gst::FlowError::Eos => self.push_eos(),
            error => {
                // Posts nothing beside an error that says more.
                if !self.failed.load(Ordering::Relaxed) {
                    gst::element_imp_error!(
                        self,
                        gst::StreamError::Failed,
                        ("Internal data stream error."),
                        ["streaming stopped, reason {error:?}"]
                    );
                }
                self.push_eos();
            }
        }
    }

    fn push_eos(&self) {
        let event = match self.gate.lock().unwrap().eos.take() {
            Some(seqnum) => gst::event::Eos::builder().seqnum(seqnum).build(),
            None => gst::event::Eos::new(),
        };
        self.srcpad.push_event(event);
    }

    fn flow(&self, state: &mut State) -> Result<std::convert::Infallible, gst::FlowError> {
        self.failed.store(false, Ordering::Relaxed);
        if !std::mem::replace(&mut state.stream_started, true) {
            let id = self.srcpad.create_stream_id(&*self.obj(), None);
            let event = gst::event::StreamStart::builder(&id).group_id(gst::GroupId::next());
            self.srcpad.push_event(event.build());
        }
        loop {
            self.wait_playing()?;
            if self.buffers_left.load(Ordering::Relaxed) == 0 {
                return Err(gst::FlowError::Eos);
            }
            let buffer = self.next_buffer(state)?;
            self.wait_playing()?;
            if self.segment_due.take() {
                let segment = gst::FormattedSegment::<gst::ClockTime>::new();
                self.srcpad.push_event(gst::event::Segment::new(&segment));
            }
            if self.srcpad.check_reconfigure() {
                self.query_allocation(state);
            }
            let position = buffer.pts().map_or(u64::MAX, |pts| pts.nseconds());
            self.position.store(position, Ordering::Relaxed);
            self.srcpad.push(buffer)?;
            let left = self.buffers_left.load(Ordering::Relaxed);
            if left > 0 {
                self.buffers_left.store(left - 1, Ordering::Relaxed);
            }
        }
    }

    /// Passes on what the application has sent, and waits for PLAYING where the source is live.
    fn wait_playing(&self) -> Result<(), gst::FlowError> {
        let mut gate = self.gate.lock().unwrap();
        loop {
            if gate.flushing {
                return Err(gst::FlowError::Flushing);
            }
            if !gate.events.is_empty() {
                let events = std::mem::take(&mut gate.events);
                drop(gate);
                for event in events {
                    self.srcpad.push_event(event);
                }
                gate = self.gate.lock().unwrap();
                continue;
            }
            if gate.eos.is_some() {
                return Err(gst::FlowError::Eos);
            }
            if gate.playing || !gate.live {
                return Ok(());
            }
            gate = self.gate_changed.wait(gate).unwrap();
        }
    }

    fn next_buffer(&self, state: &mut State) -> Result<gst::Buffer, gst::FlowError> {
        loop {
            if self.policy_changed.take() {
                state
                    .reader
                    .set_policy(self.settings.lock().unwrap().policy());
            }
            if !state.is_connected() {
                self.connect(state)?;
            }
            state.prepare(); // now: the next frame may be there when this wakes up
            if let Some(buffer) = state.next.take() {
                return Ok(buffer);
            }
            let limit = match &state.held {
                None => None,
                Some(held) => match held.until.checked_sub(self.running_now(state)) {
                    Some(left @ 1..) => Some(Duration::from_nanos(left.cast_unsigned())),
                    _ => return Ok(state.release_held().expect("it was just seen")),
                },
            };
            match state.next_event(limit) {
                Ok(Next::Frame(frame)) => match self.buffer(state, frame)? {
                    Made::Buffer(buffer) => match state.release_held() {
                        Some(held) => {
                            state.next = Some(buffer);
                            return Ok(held);
                        }
                        None => return Ok(buffer),
                    },
                    Made::Later => {}
                },
                Ok(Next::Packet(packet)) => return Ok(self.packet_buffer(state, packet)),
                Ok(Next::Stream(bytes)) => self.new_stream(state, &bytes)?,
                Ok(Next::Coming) => {}
                Ok(Next::Gap { pts, duration }) => self.gap(state, pts, duration),
                Ok(Next::Eos) => {
                    gst::info!(CAT, imp = self, "end of stream");
                    if self.settings.lock().unwrap().reconnect != Reconnect::Always {
                        return self.last_buffer(state);
                    }
                    state.discont = true;
                }
                Ok(Next::NewGeneration(slot_bytes)) => {
                    gst::info!(
                        CAT,
                        imp = self,
                        "the ring has slots of {slot_bytes} bytes now"
                    );
                }
                Ok(Next::WriterGone) => {
                    gst::info!(CAT, imp = self, "the writer is gone");
                    self.shared.lock().unwrap().connected = false;
                    *self.key_requester.lock().unwrap() = None;
                    if self.settings.lock().unwrap().reconnect == Reconnect::Never {
                        return self.last_buffer(state);
                    }
                    self.post("shmringsrc-writer-lost");
                    state.discont = true;
                }
                Err(WaitError::Cancelled) => self.interrupted()?,
                Err(WaitError::Timeout | WaitError::NotConnected) => {}
            }
        }
    }

    /// The frame held back, then the end.
    fn last_buffer(&self, state: &mut State) -> Result<gst::Buffer, gst::FlowError> {
        let held = state.release_held().ok_or(gst::FlowError::Eos)?;
        self.buffers_left.store(1, Ordering::Relaxed);
        Ok(held)
    }

    /// A wait was interrupted: to flush, or for something the application has sent.
    fn interrupted(&self) -> Result<(), gst::FlowError> {
        if let Some(canceller) = &*self.canceller.lock().unwrap() {
            let gate = self.gate.lock().unwrap();
            if !gate.flushing {
                canceller.reset();
            }
        }
        self.wait_playing()
    }

    /// Waits until there is a writer.
    fn connect(&self, state: &mut State) -> Result<(), gst::FlowError> {
        let never = self.settings.lock().unwrap().reconnect == Reconnect::Never;
        let mut reason = String::new();
        loop {
            let limit = (!never && !reason.is_empty()).then_some(PATIENCE);
            let result = state.connect(limit);
            let error = match result {
                Ok(()) => break,
                Err(ConnectError::Cancelled) => {
                    self.interrupted()?;
                    continue;
                }
                Err(error) => error,
            };
            let hopeless = |source: &io::Error| {
                use io::ErrorKind::{InvalidFilename, PermissionDenied};
                matches!(source.kind(), PermissionDenied | InvalidFilename)
            };
            let may_pass = error.may_pass()
                && !matches!(&error, ConnectError::NoWriter { source, .. } if hopeless(source));
            if never || !may_pass {
                self.failed.store(true, Ordering::Relaxed);
                gst::element_imp_error!(self, gst::ResourceError::OpenRead, ("{error}"));
                return Err(gst::FlowError::Error);
            }
            let text = error.to_string();
            if text == reason {
                continue;
            }
            gst::warning!(CAT, imp = self, "waiting: {text}");
            let waiting = gst::Structure::builder("shmringsrc-waiting").field("reason", &text);
            report::post(self.obj().upcast_ref(), waiting.build());
            if !matches!(error, ConnectError::NoWriter { .. }) {
                gst::element_imp_warning!(self, gst::ResourceError::Busy, ("{text}"));
            }
            reason = text;
        }
        gst::info!(CAT, imp = self, "connected");
        self.shared.lock().unwrap().connected = true;
        *self.key_requester.lock().unwrap() = state.packets.key_requester();
        state.discont = true;
        if std::mem::replace(&mut state.was_connected, true) {
            self.post("shmringsrc-writer-back");
        }
        Ok(())
    }

    fn new_stream(&self, state: &mut State, bytes: &[u8]) -> Result<(), gst::FlowError> {
        let info = wire::StreamInfo::decode(bytes).map_err(|err| {
            self.failed.store(true, Ordering::Relaxed);
            gst::element_imp_error!(
                self,
                gst::StreamError::Format,
                ("the writer's stream information is unusable: {err}")
            );
            gst::FlowError::Error
        })?;
        let latency_changed = {
            let mut shared = self.shared.lock().unwrap();
            std::mem::replace(&mut shared.min_latency, info.min_latency) != info.min_latency
        };
        state.latency = info.min_latency;
        if latency_changed {
            let _ = self
                .obj()
                .post_message(gst::message::Latency::builder().src(&*self.obj()).build());
        }
        if state.caps.as_ref() == Some(&info.caps) {
            return Ok(());
        }
        gst::debug!(CAT, imp = self, "caps {}", info.caps);
        let structure = info.caps.structure(0);
        state.shell = None;
        state.video = structure
            .filter(|s| s.name() == "video/x-raw")
            .and_then(|_| VideoInfo::from_caps(&info.caps).ok());
        state.encoded = !structure.is_some_and(|s| s.name().ends_with("/x-raw"));
        let rate = structure
            .and_then(|s| s.get::<gst::Fraction>("framerate").ok())
            .filter(|r| r.numer() > 0);
        self.shared.lock().unwrap().frame_duration = rate.and_then(|rate| {
            gst::ClockTime::SECOND.mul_div_floor(rate.denom() as u64, rate.numer() as u64)
        });
        // Caps that are not taken are no error of the event, and that of the first buffer names none.
        let pad = &self.srcpad;
        if !pad.peer_query_accept_caps(&info.caps) {
            let peer = pad.peer();
            // The pipeline stops, from its end on.
            if [Some(pad.clone()), peer.clone()]
                .iter()
                .flatten()
                .any(|pad| pad.pad_flags().contains(gst::PadFlags::FLUSHING))
            {
                return Err(gst::FlowError::Flushing);
            }
            let next = peer.and_then(|peer| peer.parent_element());
            let next = next.map_or("the next element".into(), |next| next.name());
            self.failed.store(true, Ordering::Relaxed);
            gst::element_imp_error!(
                self,
                gst::StreamError::Format,
                (
                    "{next} does not take what the writer sends, {}; put an element that converts it, such as videoconvert, \
                     before it, or before shmringsink",
                    info.caps
                )
            );
            return Err(gst::FlowError::NotNegotiated);
        }
        // A frame held back is of the old caps.
        if let Some(held) = state.held.take() {
            gst::debug!(
                CAT,
                imp = self,
                "dropping {:?}, which is older than the caps",
                held.buffer
            );
        }
        if !pad.push_event(gst::event::Caps::new(&info.caps)) {
            let flushing = pad.pad_flags().contains(gst::PadFlags::FLUSHING);
            return Err(match flushing {
                true => gst::FlowError::Flushing,
                false => gst::FlowError::NotNegotiated,
            });
        }
        state.caps = Some(info.caps);
        pad.check_reconfigure();
        self.query_allocation(state);
        Ok(())
    }

    /// Memory comes from the writer; what downstream is asked is only whether it understands strides.
    fn query_allocation(&self, state: &State) {
        let mut query = gst::query::Allocation::new(state.caps.as_ref(), false);
        let takes = self.srcpad.peer_query(&mut query)
            && query.find_allocation_meta::<VideoMeta>().is_some();
        self.peer_takes_video_meta.store(takes, Ordering::Release);
    }

    fn gap(&self, state: &mut State, pts: Option<u64>, duration: Option<u64>) {
        let Some(pts) = pts.filter(|_| state.pushed) else {
            return;
        };
        let Ok(at) = u64::try_from(self.running_time(state, pts)) else {
            return; // before the start
        };
        let event = gst::event::Gap::builder(gst::ClockTime::from_nseconds(at));
        let event = event.duration(duration.and_then(|d| gst::ClockTime::try_from(d).ok()));
        self.srcpad.push_event(event.build());
    }

    fn post(&self, name: &str) {
        report::post(self.obj().upcast_ref(), gst::Structure::new_empty(name));
    }
}

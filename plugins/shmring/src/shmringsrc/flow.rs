//! The streaming thread: waits for what happens on the ring, follows the writer through restarts, pushes.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_video::VideoInfo;
use shmring_core::{ConnectError, Event, WaitError};

use super::Reconnect;
use super::imp::{CAT, ShmRingSrc, State};
use crate::{report, wire};

/// How long to try before saying again why there is no writer.
const PATIENCE: Duration = Duration::from_secs(5);

impl ShmRingSrc {
    /// Pushes frames until the base class is needed, which gets the next one. Its way from here to the pad is longer
    /// than all the rest from the writer's to downstream: for each frame it looks at what only changes with an event,
    /// a property or a state, and that is told here ([`Self::base_is_due`]).
    pub(super) fn flow(&self, state: &mut State) -> Result<gst::Buffer, gst::FlowError> {
        let obj = self.obj();
        let pad = obj.src_pad();
        let live = obj.is_live();
        // It counts buffers, or stamps them.
        let in_its_hands = obj.property::<i32>("num-buffers") >= 0 || obj.does_timestamp();
        self.eos_sent.store(false, Ordering::Relaxed);
        loop {
            let buffer = self.next_buffer(state)?;
            let is_due = self.base_is_due.take();
            if in_its_hands || is_due || !state.flowing || pad.needs_reconfigure() {
                state.flowing = true;
                return Ok(buffer);
            }
            if live && !self.playing.load(Ordering::Acquire) {
                obj.wait_playing()?;
            }
            let position = buffer.pts().map_or(u64::MAX, |pts| pts.nseconds());
            self.position.store(position, Ordering::Relaxed);
            pad.push(buffer)?;
            if self.eos_sent.load(Ordering::Relaxed) {
                return Err(gst::FlowError::Flushing); // which it takes for the end that it was told of
            }
            if live && !self.playing.load(Ordering::Acquire) {
                obj.wait_playing()?;
            }
        }
    }

    fn next_buffer(&self, state: &mut State) -> Result<gst::Buffer, gst::FlowError> {
        loop {
            if self.policy_changed.take() {
                state
                    .reader
                    .set_policy(self.settings.lock().unwrap().policy());
            }
            if !state.reader.is_connected() {
                self.connect(state)?;
            }
            state.prepare(); // now: the next frame may be there when this wakes up
            match state.reader.next(None) {
                Ok(Event::Frame(frame)) => return self.buffer(state, frame),
                Ok(Event::Stream { bytes, .. }) => self.new_stream(state, &bytes)?,
                Ok(Event::Coming) => {}
                Ok(Event::Gap { pts, duration }) => self.gap(state, pts, duration),
                Ok(Event::Eos) => {
                    gst::info!(CAT, imp = self, "end of stream");
                    if self.settings.lock().unwrap().reconnect != Reconnect::Always {
                        return Err(gst::FlowError::Eos);
                    }
                    state.discont = true;
                }
                Ok(Event::NewGeneration { geometry }) => {
                    gst::info!(
                        CAT,
                        imp = self,
                        "the ring has slots of {} bytes now",
                        geometry.slot_bytes()
                    );
                }
                Ok(Event::WriterGone) => {
                    gst::info!(CAT, imp = self, "the writer is gone");
                    self.shared.lock().unwrap().connected = false;
                    if self.settings.lock().unwrap().reconnect == Reconnect::Never {
                        return Err(gst::FlowError::Eos);
                    }
                    self.tell("shmringsrc-writer-lost");
                    state.discont = true;
                }
                Err(WaitError::Cancelled) => return Err(gst::FlowError::Flushing),
                Err(WaitError::Timeout | WaitError::NotConnected) => {}
            }
        }
    }

    /// Waits until there is a writer.
    fn connect(&self, state: &mut State) -> Result<(), gst::FlowError> {
        let never = self.settings.lock().unwrap().reconnect == Reconnect::Never;
        let mut told = false;
        loop {
            let result = if never {
                state.reader.try_connect()
            } else {
                state.reader.reconnect(Some(PATIENCE))
            };
            let error = match result {
                Ok(()) => break,
                Err(ConnectError::Cancelled) => return Err(gst::FlowError::Flushing),
                Err(error) => error,
            };
            let hopeless = |source: &io::Error| {
                use io::ErrorKind::{InvalidFilename, PermissionDenied};
                matches!(source.kind(), PermissionDenied | InvalidFilename)
            };
            let may_pass = !matches!(&error, ConnectError::NoWriter { source, .. } if hopeless(source))
                && matches!(
                    error,
                    ConnectError::NoWriter { .. }
                        | ConnectError::NoAnswer(_)
                        | ConnectError::RingFull { .. }
                        | ConnectError::TooManyReaders(_)
                );
            if never || !may_pass {
                gst::element_imp_error!(self, gst::ResourceError::OpenRead, ("{error}"));
                return Err(gst::FlowError::Error);
            }
            gst::info!(CAT, imp = self, "waiting: {error}");
            if !std::mem::replace(&mut told, true)
                && !matches!(error, ConnectError::NoWriter { .. })
            {
                gst::element_imp_warning!(self, gst::ResourceError::Busy, ("{error}"));
            }
        }
        gst::info!(CAT, imp = self, "connected");
        self.shared.lock().unwrap().connected = true;
        state.discont = true;
        if std::mem::replace(&mut state.was_connected, true) {
            self.tell("shmringsrc-writer-back");
        }
        Ok(())
    }

    fn new_stream(&self, state: &mut State, bytes: &[u8]) -> Result<(), gst::FlowError> {
        let info = wire::StreamInfo::decode(bytes).map_err(|err| {
            gst::element_imp_error!(
                self,
                gst::StreamError::Format,
                ("what the writer says of its stream is unusable: {err}")
            );
            gst::FlowError::Error
        })?;
        let latency_changed = {
            let mut shared = self.shared.lock().unwrap();
            std::mem::replace(&mut shared.min_latency, info.min_latency) != info.min_latency
        };
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
        let rate = structure
            .and_then(|s| s.get::<gst::Fraction>("framerate").ok())
            .filter(|r| r.numer() > 0);
        self.shared.lock().unwrap().frame_duration = rate.and_then(|rate| {
            gst::ClockTime::SECOND.mul_div_floor(rate.denom() as u64, rate.numer() as u64)
        });
        // Caps that are not taken are no error of the event, and that of the first buffer names none.
        let pad = self.obj().src_pad().clone();
        if !pad.peer_query_accept_caps(&info.caps) {
            let peer = pad.peer();
            // The pipeline stops, from its end on.
            if [Some(pad), peer.clone()]
                .iter()
                .flatten()
                .any(|pad| pad.pad_flags().contains(gst::PadFlags::FLUSHING))
            {
                return Err(gst::FlowError::Flushing);
            }
            let next = peer.and_then(|peer| peer.parent_element());
            let next = next.map_or("what follows".into(), |next| next.name());
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
        self.obj()
            .set_caps(&info.caps)
            .map_err(|_| gst::FlowError::NotNegotiated)?;
        state.caps = Some(info.caps);
        self.obj().negotiate(); // for the allocation query; there is nothing else to agree on
        Ok(())
    }

    fn gap(&self, state: &mut State, pts: Option<u64>, duration: Option<u64>) {
        let Some(pts) = pts.filter(|_| state.pushed) else {
            return;
        };
        let at = self.running_time(state, pts);
        let event = gst::event::Gap::builder(at);
        let event = event.duration(duration.and_then(|d| gst::ClockTime::try_from(d).ok()));
        self.obj().src_pad().push_event(event.build());
    }

    fn tell(&self, what: &str) {
        report::post(self.obj().upcast_ref(), gst::Structure::new_empty(what));
    }
}

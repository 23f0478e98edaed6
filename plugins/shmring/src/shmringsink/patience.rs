//! Waiting for readers, for files and tests: until there are some, and until the slowest has seen enough.

use std::sync::atomic::Ordering;
use std::time::Duration;

use gst::subclass::prelude::*;

use super::Overrun;
use super::imp::{CAT, ShmRingSink, State};

/// How often readers are looked at; their progress wakes nothing here.
const LOOK: Duration = Duration::from_millis(2);

impl ShmRingSink {
    /// With `wait-for-readers`, before the first buffer: until so many are connected.
    pub(super) fn wait_for_readers(&self, buffer: &gst::Buffer) -> Result<(), gst::FlowError> {
        let wanted = self.wait_for_readers.load(Ordering::Relaxed);
        if wanted == 0 {
            return Ok(());
        }
        let mut waits = false;
        loop {
            {
                let mut guard = self.state.lock().unwrap();
                let state = guard.as_mut().ok_or(gst::FlowError::Flushing)?;
                if state.readers_came {
                    return Ok(());
                }
                if state.ring.is_none() && state.packets.is_none() {
                    let room = Self::room_for(state, buffer.size() as u64);
                    let made = self.ensure_room(state, room);
                    made.map_err(|err| {
                        self.post_error_message(err);
                        gst::FlowError::Error
                    })?;
                }
                if Self::readers(state) >= wanted as usize {
                    state.readers_came = true;
                    return Ok(());
                }
            }
            if !std::mem::replace(&mut waits, true) {
                gst::info!(CAT, imp = self, "waiting for {wanted} readers");
            }
            self.pause(LOOK)?;
        }
    }

    /// With `overrun=block`: until no reader of every frame would miss one.
    pub(super) fn wait_for_room(&self) -> Result<(), gst::FlowError> {
        if self.settings.lock().unwrap().overrun != Overrun::Block {
            return Ok(());
        }
        loop {
            {
                let guard = self.state.lock().unwrap();
                let state = guard.as_ref().ok_or(gst::FlowError::Flushing)?;
                let overruns = |ring: &std::sync::RwLock<shmring_core::Writer>| {
                    ring.read().unwrap().would_overrun()
                };
                if !state.ring.as_deref().is_some_and(overruns) {
                    return Ok(());
                }
            }
            self.pause(LOOK)?;
        }
    }

    fn readers(state: &State) -> usize {
        match (&state.packets, &state.ring) {
            (Some(packets), _) => packets.readers(),
            (None, Some(ring)) => ring.read().unwrap().stats().readers.len(),
            (None, None) => 0,
        }
    }
}

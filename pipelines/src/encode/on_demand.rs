//! Starts a stream with its first use and stops it when it was unused for a while.

use std::time::{Duration, Instant};

use super::chain::EncoderSetup;
use super::stream::EncodedStream;
use crate::capture::Taps;
use crate::tasks::event::Events;

/// Time from the last use of a stream to its stop.
pub const UNUSED: Duration = Duration::from_secs(10);

/// Time from one start of a stream that is kept for pre-roll to the next.
const RETRY: Duration = Duration::from_secs(5);

/// A stream that runs while it is used.
#[derive(Debug, Default)]
pub struct OnDemand {
    running: Option<(EncodedStream, Instant)>,
    /// When it was started last, also without success.
    started: Option<Instant>,
}

impl OnDemand {
    /// The stream; started with these taps where it does not run.
    pub fn get(
        &mut self,
        taps: &Taps,
        setup: &EncoderSetup,
        events: &Events,
        now: Instant,
    ) -> Result<EncodedStream, String> {
        if let Some((stream, used)) = &mut self.running
            && !stream.is_over()
        {
            *used = now;
            return Ok(stream.clone());
        }
        self.started = Some(now);
        let stream = EncodedStream::start(taps, setup, events)?;
        self.running = Some((stream.clone(), now));
        Ok(stream)
    }

    /// Whether a stream that is kept for pre-roll is to be started: it does not run, and the last start was not just now.
    pub fn may_start(&self, now: Instant) -> bool {
        let is_due = |started| now.saturating_duration_since(started) >= RETRY;
        self.running().is_none() && self.started.is_none_or(is_due)
    }

    /// The stream, where it runs.
    pub fn running(&self) -> Option<&EncodedStream> {
        let stream = self.running.as_ref().map(|(stream, _)| stream);
        stream.filter(|stream| !stream.is_over())
    }

    /// Stops the stream where nothing has used it for [`UNUSED`]. `keep`: there is a use without a consumer, pre-roll.
    pub fn release(&mut self, keep: bool, now: Instant) {
        if let Some((stream, used)) = &mut self.running {
            if keep || stream.is_used() {
                *used = now;
            } else if now.saturating_duration_since(*used) >= UNUSED {
                self.running = None;
            }
        }
    }

    /// Lets go of the stream now: the camera is about to stop.
    pub fn stop(&mut self) {
        self.running = None;
        self.started = None;
    }
}

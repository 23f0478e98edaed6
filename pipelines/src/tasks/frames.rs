//! Single raw frames of a tap, each with the time at which it was taken.

use std::time::{Duration, Instant};

use gst::prelude::*;

use super::pipe::{Running, line};
use crate::capture::{Tap, TapLink};

/// A frame whose timestamp is further from the camera's clock than this has one that means nothing; its time then is
/// when it came.
const PLAUSIBLE: Duration = Duration::from_secs(10);

/// A frame.
pub(crate) struct Frame {
    pub sample: gst::Sample,
    /// When it was taken.
    pub taken: Instant,
}

/// What came of waiting for a frame.
pub(crate) enum Next {
    Frame(Frame),
    /// None within the time.
    Nothing,
    /// The camera has ended.
    Ended,
}

/// A connection to a tap for single frames. Of frames that nobody takes only the newest is kept.
pub(crate) struct Frames {
    // Let go first: then nobody feeds what is taken down.
    _link: TapLink,
    _running: Running,
    sink: gst_app::AppSink,
    tap: Tap,
}

impl Frames {
    /// `waiting` frames are kept until they are taken; older ones are let go.
    pub fn connect(tap: &Tap, waiting: u32) -> Result<Self, String> {
        let pipeline = gst::Pipeline::new();
        let source = gst_app::AppSrc::builder().build();
        let sink = gst_app::AppSink::builder()
            .sync(false)
            .max_buffers(waiting.max(1))
            .drop(true)
            .enable_last_sample(false)
            .build();
        line(&pipeline, &[source.clone().upcast(), sink.clone().upcast()])?;
        let link = tap.connect(&pipeline, &source, 2)?;
        Ok(Self {
            _running: Running::start(pipeline, "taking the camera's frames")?,
            sink,
            tap: tap.clone(),
            _link: link,
        })
    }

    /// Waits for the next frame.
    pub fn next(&self, limit: Duration) -> Next {
        let limit = gst::ClockTime::try_from(limit).unwrap_or(gst::ClockTime::MAX);
        match self.sink.try_pull_sample(limit) {
            Some(sample) => Next::Frame(Frame {
                taken: taken(&self.tap, &sample),
                sample,
            }),
            None if self.sink.is_eos() => Next::Ended,
            None => Next::Nothing,
        }
    }

    /// Waits for the first frame that was not taken before `earliest`.
    pub fn next_since(&self, earliest: Instant, deadline: Instant) -> Result<Frame, String> {
        let begun = Instant::now();
        let mut older = 0u64;
        loop {
            match self.next(deadline.saturating_duration_since(Instant::now())) {
                Next::Frame(frame) if frame.taken >= earliest => return Ok(frame),
                Next::Frame(_) => older += 1,
                Next::Ended => {
                    return Err("the camera's stream has ended".into());
                }
                Next::Nothing if Instant::now() >= deadline => {
                    let waited = begun.elapsed().as_secs_f64();
                    return Err(if older == 0 {
                        format!("no frame came from the camera within {waited:.1} s")
                    } else {
                        format!(
                            "only frames from before the request came from the camera within {waited:.1} s"
                        )
                    });
                }
                Next::Nothing => {}
            }
        }
    }
}

/// When a frame was taken, by its timestamp and the camera's clock.
fn taken(tap: &Tap, sample: &gst::Sample) -> Instant {
    let now = Instant::now();
    let running = sample
        .segment()
        .and_then(|segment| segment.downcast_ref::<gst::ClockTime>())
        .and_then(|segment| segment.to_running_time(sample.buffer()?.pts()));
    let age = running
        .zip(tap.running_time())
        .map(|(frame, clock)| i128::from(clock.nseconds()) - i128::from(frame.nseconds()));
    match age {
        Some(age) if age.unsigned_abs() < PLAUSIBLE.as_nanos() => {
            let distance = Duration::from_nanos(age.unsigned_abs() as u64);
            if age < 0 {
                now + distance
            } else {
                now.checked_sub(distance).unwrap_or(now)
            }
        }
        _ => now,
    }
}

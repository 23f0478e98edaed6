//! The camera's recorder: started with the stream of recordings, and again when that was interrupted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use watchpost_pipelines::encode::EncodedStream;
use watchpost_pipelines::record::{Order, Recorder};

use super::link::report;
use crate::protocol::CaptureReport;

/// Time between two attempts to start it.
const RETRY: Duration = Duration::from_secs(1);

/// The recorder of a camera.
pub struct Recording {
    camera: String,
    order: Order,
    recorder: Option<Recorder>,
    try_at: Instant,
    failure: Option<String>,
}

impl Recording {
    /// Nothing is recorded before there is an order.
    pub fn new(camera: &str) -> Self {
        Self {
            camera: camera.to_owned(),
            order: Order::default(),
            recorder: None,
            try_at: Instant::now(),
            failure: None,
        }
    }

    /// Takes another order.
    pub fn order(&mut self, order: Order) {
        if let Some(recorder) = &self.recorder {
            recorder.order(&order);
            if order.pre_roll == 0.0 {
                self.stop();
            }
        }
        self.order = order;
    }

    /// Whether it is to be started now.
    pub fn is_due(&self) -> bool {
        let over = self.recorder.as_ref().is_none_or(Recorder::is_over);
        self.order.pre_roll > 0.0 && over && Instant::now() >= self.try_at
    }

    /// Starts it with this stream.
    pub fn start(&mut self, stream: Result<EncodedStream, String>) {
        self.try_at = Instant::now() + RETRY;
        let events = Arc::new(|event| report(&CaptureReport::Record(event)));
        let started =
            stream.and_then(|stream| Recorder::start(stream, &self.camera, &self.order, events));
        match started {
            Ok(recorder) => (self.recorder, self.failure) = (Some(recorder), None),
            Err(reason) => {
                if self.failure.as_ref() != Some(&reason) {
                    tracing::warn!("recording: {reason}");
                    self.failure = Some(reason);
                }
            }
        }
    }

    /// Completes the segment.
    pub fn stop(&self) {
        if let Some(recorder) = &self.recorder {
            recorder.stop();
        }
    }

    /// Whether a segment is still being completed.
    pub fn is_writing(&self) -> bool {
        let recorder = self.recorder.as_ref();
        recorder.is_some_and(|recorder| !recorder.is_over())
    }
}

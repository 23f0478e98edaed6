//! What all pipelines of tasks have in common.

use std::sync::{Mutex, MutexGuard, PoisonError};

use gst::prelude::*;

/// Makes an element, or says which package has it.
pub(crate) fn element(factory: &str) -> Result<gst::Element, String> {
    gst::ElementFactory::make(factory).build().map_err(|_| {
        format!(
            "GStreamer element {factory} is missing; install GStreamer's base and good plugins and its Pango plugin \
             (Debian: gstreamer1.0-plugins-base, gstreamer1.0-plugins-good, gstreamer1.0-x)"
        )
    })
}

/// Puts elements into a pipeline and links them, one after the other.
pub(crate) fn line(pipeline: &gst::Pipeline, elements: &[gst::Element]) -> Result<(), String> {
    pipeline.add_many(elements).map_err(internal)?;
    gst::Element::link_many(elements).map_err(internal)
}

/// What can only go wrong by a mistake here.
pub(crate) fn internal(error: gst::glib::BoolError) -> String {
    error.to_string()
}

/// The first error on a pipeline's bus.
pub(crate) fn reason(pipeline: &gst::Pipeline) -> Option<String> {
    let message = pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
    match message.view() {
        gst::MessageView::Error(error) => Some(reason_of(error)),
        _ => None,
    }
}

/// An error in words: what GStreamer says, and the detail it hides in the debug text.
pub(crate) fn reason_of(error: &gst::message::Error) -> String {
    crate::gst::error_words(error)
}

/// A pipeline that is taken down when it is let go.
#[derive(Debug)]
pub(crate) struct Running(pub gst::Pipeline);

impl Running {
    /// Starts it; `what` is said not to start where it does not.
    pub fn start(pipeline: gst::Pipeline, what: &str) -> Result<Self, String> {
        let running = Self(pipeline);
        match running.0.set_state(gst::State::Playing) {
            Ok(_) => Ok(running),
            Err(_) => Err(match reason(&running.0) {
                Some(reason) => format!("{what} does not start: {reason}"),
                None => format!("{what} does not start"),
            }),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.set_state(gst::State::Null);
        if let Some(bus) = self.0.bus() {
            bus.unset_sync_handler();
        }
    }
}

/// Locks, also what somebody panicked with: no state here is left half changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! What both elements say on the bus: statistics every so often, and what happened.

use gst::prelude::*;

use crate::time::monotonic_ns;

/// When statistics were posted last; never, at first.
#[derive(Debug, Default)]
pub struct Reported(u64);

impl Reported {
    /// Whether they are due again, every so many milliseconds; with 0 never.
    pub fn is_due(&mut self, interval_ms: u32) -> bool {
        if interval_ms == 0 {
            return false;
        }
        let now = monotonic_ns();
        let is_due = now.saturating_sub(self.0) >= u64::from(interval_ms) * 1_000_000;
        if is_due {
            self.0 = now;
        }
        is_due
    }
}

/// Posts an element message. Without a bus nobody is there to hear it.
pub fn post(element: &gst::Element, structure: gst::Structure) {
    let message = gst::message::Element::builder(structure)
        .src(element)
        .build();
    let _ = element.post_message(message);
}

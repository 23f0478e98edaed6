//! A word from other threads to the streaming thread, which looks at each frame whether there is one.

use std::sync::atomic::{AtomicBool, Ordering};

/// Something is to be done before the next frame.
#[derive(Debug, Default)]
pub struct Flag(AtomicBool);

impl Flag {
    /// What was stored before is seen by who takes the flag.
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it was set since the last time. While it is not, this is a plain read: a swap per frame would take the
    /// cache line from whoever else uses it.
    pub fn take(&self) -> bool {
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::AcqRel)
    }
}

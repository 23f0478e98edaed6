//! What a pipeline posts, taken by the worker's loop.

use super::link::Waker;
use gst::prelude::*;
use std::sync::mpsc::{Receiver, channel};

/// The messages of a pipeline's bus.
///
/// Not the bus itself: its handler is called before the message is in the bus's queue, so that a loop it wakes may find
/// nothing there and wait on. Here the message is in the queue first.
#[derive(Debug)]
pub struct Messages {
    messages: Receiver<gst::Message>,
    /// Has them too, for who starts the pipeline and looks there for what went wrong.
    bus: gst::Bus,
}

impl Messages {
    /// Takes all messages from now on, and wakes the loop for each.
    pub fn of(pipeline: &gst::Pipeline, waker: &Waker) -> Self {
        let (sender, messages) = channel();
        let waker = waker.clone();
        let bus = pipeline.bus().expect("a pipeline has a bus");
        bus.set_sync_handler(move |_, message| {
            // Whoever listened has let go of the pipeline.
            let _ = sender.send(message.clone());
            waker.wake();
            gst::BusSyncReply::Pass
        });
        Self { messages, bus }
    }

    /// The next one that waits.
    pub fn next(&self) -> Option<gst::Message> {
        let message = self.messages.try_recv().ok()?;
        // One out for one in, so that they do not pile up there.
        drop(self.bus.pop());
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::link::Input;
    use std::sync::mpsc::sync_channel;
    use std::time::Duration;

    #[test]
    fn who_is_woken_finds_the_message() {
        gst::init().unwrap();
        let (sender, inputs) = sync_channel(1);
        let pipeline = gst::Pipeline::new();
        let messages = Messages::of(&pipeline, &Waker::to(sender));
        const COUNT: usize = 2000;
        let posting = std::thread::spawn(move || {
            for _ in 0..COUNT {
                let message = gst::message::Eos::builder().build();
                pipeline.bus().unwrap().post(message).unwrap();
            }
        });
        let mut found = 0;
        while found < COUNT {
            // The last message of all has nothing behind it that would wake this loop once more.
            inputs
                .recv_timeout(Duration::from_secs(60))
                .map(|input| assert!(matches!(input, Input::Wake)))
                .expect("woken");
            while messages.next().is_some() {
                found += 1;
            }
        }
        posting.join().unwrap();
    }
}

//! Warnings about properties. A launch line sets them before the element is in a pipeline, where nobody would hear.

use std::sync::{Mutex, PoisonError};

use gst::glib;
use gst::prelude::*;

/// Told when there is a bus to tell it on, else kept until the element starts.
#[derive(Debug, Default)]
pub struct Warnings(Mutex<Vec<String>>);

impl Warnings {
    /// More that is wrong is not told of.
    const MOST: usize = 32;

    /// Posts a warning about the settings of an element.
    pub fn tell(&self, element: &gst::Element, text: String) {
        if post(element, &text).is_err() {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() < Self::MOST {
                kept.push(text);
            }
        }
    }

    /// Posts what was kept: for the element's start.
    pub fn tell_kept(&self, element: &gst::Element) {
        let kept = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for text in kept {
            // Without a bus now there will be none.
            let _ = post(element, &text);
        }
    }
}

fn post(element: &gst::Element, text: &str) -> Result<(), glib::BoolError> {
    // JSON can hold a NUL character, GStreamer's texts cannot.
    let text = &text.replace('\0', "\\0");
    gst::warning!(gst::CAT_RUST, obj = element, "{text}");
    let message = gst::message::Warning::builder(gst::LibraryError::Settings, text)
        .src(element)
        .build();
    element.post_message(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_about_a_nul_character_is_posted() {
        gst::init().unwrap();
        let pipeline = gst::Pipeline::new();
        let warnings = Warnings::default();
        warnings.tell(pipeline.upcast_ref(), "unknown field `a\0b`".into());
        let message = pipeline.bus().unwrap().pop().unwrap();
        let gst::MessageView::Warning(warning) = message.view() else {
            panic!("{message:?}")
        };
        assert_eq!(warning.error().message(), r"unknown field `a\0b`");
    }
}

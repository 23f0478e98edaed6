//! What a pipeline's error means for the camera.

use gst::prelude::*;

use crate::fault::{Fault, FaultKind};
use crate::gst::error_words;
use crate::libcamera;

/// Reads an error message. `decoder` and `sink` are the elements of the pipeline an error may come from.
pub(crate) fn classify(
    error: &gst::message::Error,
    decoder: Option<&gst::Element>,
    sink: Option<&gst::Element>,
) -> Fault {
    let source = error.src();
    let from = |element: &gst::Element| {
        source.is_some_and(|source| {
            source == element.upcast_ref::<gst::Object>() || source.has_as_ancestor(element)
        })
    };
    let cause = error.error();
    let failed_decoder = decoder.filter(|decoder| from(decoder));
    let without_video = without_video(error);
    let of_libcamera = libcamera::cause_of(error);
    let kind = if let Some((kind, _)) = of_libcamera {
        kind
    } else if failed_decoder.is_some() {
        FaultKind::Decode
    } else if without_video {
        FaultKind::Source
    } else if cause.matches(gst::ResourceError::NotAuthorized) {
        FaultKind::Auth
    } else if sink.is_some_and(from) && cause.matches(gst::ResourceError::NoSpaceLeft) {
        FaultKind::Memory
    } else if cause.matches(gst::CoreError::MissingPlugin)
        || cause.matches(gst::StreamError::CodecNotFound)
        || cause.matches(gst::LibraryError::Settings)
    {
        FaultKind::Permanent
    } else {
        FaultKind::Source
    };
    let mut reason = if without_video {
        "the camera offers no video, or none over the transport in use; see `transport` of this source".into()
    } else {
        error_words(error)
    };
    if let Some(decoder) = failed_decoder {
        reason = format!("decoder {}: {reason}", factory_name(decoder));
    }
    if let Some((_, advice)) = of_libcamera {
        reason = format!("{reason}; {advice}");
    }
    Fault {
        decoder: failed_decoder.map(factory_name),
        ..Fault::new(kind, reason)
    }
}

/// Whether `rtspsrc` found nothing to take. What a camera sends may be set right there, so it is asked again.
pub(super) fn without_video(error: &gst::message::Error) -> bool {
    error.error().matches(gst::StreamError::CodecNotFound) && rtspsrc(error).is_some()
}

/// The `rtspsrc` that an error comes from.
pub(super) fn rtspsrc(error: &gst::message::Error) -> Option<&gst::Element> {
    let source = error.src()?.downcast_ref::<gst::Element>()?;
    (factory_name(source) == "rtspsrc").then_some(source)
}

pub(crate) fn factory_name(element: &gst::Element) -> String {
    element
        .factory()
        .map_or_else(|| element.name().to_string(), |f| f.name().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_its_cause_and_hides_the_password() {
        gst::init().unwrap();
        let source = gst::ElementFactory::make("fakesrc").build().unwrap();
        let sink = gst::ElementFactory::make("fakesink").build().unwrap();
        let message = gst::message::Error::builder(
            gst::ResourceError::NotAuthorized,
            "Could not open resource for reading.",
        )
        .debug("rtspsrc.c(1): open (): /GstRTSPSrc:a:\nUnauthorized for rtsp://u:geheim@h/1")
        .src(&source)
        .build();
        let gst::MessageView::Error(error) = message.view() else {
            unreachable!()
        };
        let fault = classify(error, Some(&sink), Some(&sink));
        assert_eq!(fault.kind, FaultKind::Auth);
        assert_eq!(
            fault.reason,
            "Could not open resource for reading: Unauthorized for rtsp://u:***@h/1"
        );
        let fault = classify(error, Some(&source), Some(&sink));
        assert_eq!(fault.kind, FaultKind::Decode);
        assert_eq!(fault.decoder.as_deref(), Some("fakesrc"));
    }
}

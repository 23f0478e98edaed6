//! Sinks of the application that take frames whatever their strides.

use gst::prelude::*;

/// Makes an appsink say that it reads `GstVideoMeta`. Without it whoever fills the frames has to copy them into frames without padding.
pub(crate) fn are_taken_by(sink: &gst_app::AppSink) {
    let pad = sink.static_pad("sink").expect("an appsink has a pad");
    pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, |_, info| {
        match info.query_mut().map(gst::QueryRef::view_mut) {
            Some(gst::QueryViewMut::Allocation(query)) => {
                query.add_allocation_meta::<gst_video::VideoMeta>(None);
                gst::PadProbeReturn::Handled
            }
            _ => gst::PadProbeReturn::Ok,
        }
    });
}

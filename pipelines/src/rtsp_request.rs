//! What `rtspsrc` is about to send. This is the crate's one module with `unsafe`: the bindings do not read requests.
#![allow(unsafe_code)]

use std::ptr;

use gst::glib;
use gst::glib::translate::ToGlibPtr;
use gst_rtsp::ffi;

/// Method of an RTSP request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Method(ffi::GstRTSPMethod);

/// The method of the message in the argument of the signal `before-send`.
pub(crate) fn method(value: &glib::Value) -> Option<Method> {
    let message = value.get::<gst_rtsp::rtsp_message::RTSPMessage>().ok()?;
    let mut method = ffi::GST_RTSP_INVALID;
    // SAFETY: the message is a valid copy that lives until the end of this function. The call reads it, writes `method`,
    // and accepts null for what is not asked for; it returns an error for a message that is not a request.
    let result = unsafe {
        ffi::gst_rtsp_message_parse_request(
            message.to_glib_none().0,
            &mut method,
            ptr::null_mut(),
            ptr::null_mut(),
        )
    };
    (result == ffi::GST_RTSP_OK).then_some(Method(method))
}

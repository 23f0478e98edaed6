//! Pads as other tools meet them: functions that are replaced, and caps that are asked for before they are set.

mod support;

use gst::prelude::*;
use support::*;

/// Replaces a pad's chain and event functions by ones that call the old ones, without the old ones' user data: as
/// gst-validate does.
#[allow(unsafe_code)]
mod monitor {
    use gst::ffi;
    use gst::glib::translate::ToGlibPtr;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    static CHAIN: Mutex<ffi::GstPadChainFunction> = Mutex::new(None);
    static EVENT: Mutex<ffi::GstPadEventFunction> = Mutex::new(None);
    static QUERY: Mutex<ffi::GstPadQueryFunction> = Mutex::new(None);
    pub static BUFFERS: AtomicUsize = AtomicUsize::new(0);

    unsafe extern "C" fn chain(
        pad: *mut ffi::GstPad,
        parent: *mut ffi::GstObject,
        buffer: *mut ffi::GstBuffer,
    ) -> ffi::GstFlowReturn {
        BUFFERS.fetch_add(1, Ordering::Relaxed);
        let before = CHAIN.lock().unwrap().expect("there was one");
        // SAFETY: called as the pad calls it.
        unsafe { before(pad, parent, buffer) }
    }

    unsafe extern "C" fn event(
        pad: *mut ffi::GstPad,
        parent: *mut ffi::GstObject,
        event: *mut ffi::GstEvent,
    ) -> gst::glib::ffi::gboolean {
        let before = EVENT.lock().unwrap().expect("there was one");
        // SAFETY: called as the pad calls it.
        unsafe { before(pad, parent, event) }
    }

    unsafe extern "C" fn query(
        pad: *mut ffi::GstPad,
        parent: *mut ffi::GstObject,
        query: *mut ffi::GstQuery,
    ) -> gst::glib::ffi::gboolean {
        let before = QUERY.lock().unwrap().expect("there was one");
        // SAFETY: called as the pad calls it.
        unsafe { before(pad, parent, query) }
    }

    pub fn wrap(pad: &gst::Pad) {
        let pad: *mut ffi::GstPad = pad.to_glib_none().0;
        // SAFETY: the pad is alive and not yet active. Setting a function drops the old one's user data.
        unsafe {
            *CHAIN.lock().unwrap() = (*pad).chainfunc;
            *EVENT.lock().unwrap() = (*pad).eventfunc;
            *QUERY.lock().unwrap() = (*pad).queryfunc;
            let none = std::ptr::null_mut();
            if (*pad).chainfunc.is_some() {
                ffi::gst_pad_set_chain_function_full(pad, Some(chain), none, None);
            }
            ffi::gst_pad_set_event_function_full(pad, Some(event), none, None);
            ffi::gst_pad_set_query_function_full(pad, Some(query), none, None);
        }
    }
}

#[test]
fn functions_that_gst_validate_replaces_still_work_when_it_calls_them() {
    let place = Place::new();
    let writer = Pipeline::new(&format!(
        "videotestsrc num-buffers=30 ! video/x-raw,format=I420,width=64,height=64 \
         ! shmringsink name=ring socket-path={}",
        place.socket().display()
    ));
    monitor::wrap(&writer.by_name("ring").static_pad("sink").unwrap());
    writer.0.set_state(gst::State::Playing).unwrap();
    writer.wait_for(&[gst::MessageType::Eos]);
    assert_eq!(count(&writer.stats("ring"), "frames"), 30);
    let seen = monitor::BUFFERS.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(seen, 30);
}

/// Plays a line to its end; how many frames were published, or the error.
fn published(line: &str) -> Result<u64, String> {
    let place = Place::new();
    let writer = Pipeline::play(&format!(
        "{line} ! shmringsink name=ring socket-path={}",
        place.socket().display()
    ));
    let end = writer.wait_for(&[gst::MessageType::Eos, gst::MessageType::Error]);
    match end.view() {
        gst::MessageView::Error(error) => Err(error.error().to_string()),
        _ => Ok(count(&writer.stats("ring"), "frames")),
    }
}

#[test]
fn upstream_elements_negotiate_what_can_be_shared() {
    init();
    for (line, needs) in [
        ("videotestsrc num-buffers=5 ! timeoverlay", "timeoverlay"),
        (
            "videotestsrc num-buffers=5 ! textoverlay text=x ! videoconvert",
            "textoverlay",
        ),
        (
            "videotestsrc num-buffers=5 ! glupload ! glcolorconvert ! gldownload",
            "gldownload",
        ),
        ("audiotestsrc num-buffers=5 ! audioconvert", "audioconvert"),
        // Prefers planar audio where it is taken.
        (
            "audiotestsrc num-buffers=5 ! audio/x-raw,layout=non-interleaved ! audioconvert",
            "audioconvert",
        ),
    ] {
        if gst::ElementFactory::find(needs).is_none() {
            eprintln!("{needs} is not installed: {line} not tried");
            continue;
        }
        match published(line) {
            Ok(frames) => assert_eq!(frames, 5, "{line}"),
            // There is no display, which is not the ring's business.
            Err(err) if needs == "gldownload" && !err.contains("shared") => {
                eprintln!("{line}: {err}")
            }
            Err(err) => panic!("{line}: {err}"),
        }
    }
}

/// A decoder that offers device memory first, as those of VA-API and V4L2 do.
#[test]
fn device_memory_that_is_offered_first_is_not_chosen() {
    let place = Place::new();
    let writer = Pipeline::play(&format!(
        "appsrc name=in format=time ! capsfilter name=offer ! shmringsink name=ring socket-path={}",
        place.socket().display()
    ));
    let pad = writer.by_name("ring").static_pad("sink").unwrap();
    let offer: gst::Caps = "video/x-raw(memory:VAMemory), format=NV12, width=64, height=64; \
         video/x-raw(memory:DMABuf), format=NV12; video/x-raw, format={ NV12, P010_10LE }"
        .parse()
        .unwrap();
    let allowed = pad.query_caps(Some(&offer));
    let first = allowed.structure(0).unwrap();
    assert_eq!(first.get::<&str>("format"), Ok("NV12"));
    assert!(!allowed.to_string().contains("memory:"), "{allowed}");
    for (caps, taken) in [
        (
            "video/x-raw(memory:VAMemory), format=NV12, width=64, height=64",
            false,
        ),
        ("video/x-raw, format=NV12, width=64, height=64", true),
        ("audio/x-raw, layout=non-interleaved", false),
        ("audio/x-raw, layout=interleaved", true),
        ("video/x-h264, stream-format=byte-stream", true),
    ] {
        let caps: gst::Caps = caps.parse().unwrap();
        assert_eq!(pad.query_accept_caps(&caps), taken, "{caps}");
    }
}

#[test]
fn a_source_that_makes_any_format_makes_a_usual_one() {
    let place = Place::new();
    let writer = Pipeline::play(&format!(
        "videotestsrc num-buffers=1 ! shmringsink name=ring socket-path={}",
        place.socket().display()
    ));
    writer.wait_for(&[gst::MessageType::Eos]);
    let caps = writer
        .by_name("ring")
        .static_pad("sink")
        .unwrap()
        .current_caps();
    let caps = caps.expect("it was negotiated");
    assert_eq!(caps.structure(0).unwrap().get::<&str>("format"), Ok("I420"));
}

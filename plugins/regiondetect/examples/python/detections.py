#!/usr/bin/env python3
"""Prints what is seen in a video, in Python: detections and the ids of the objects they belong to.

    detections.py VIDEO MODEL [FRAMES]

Needs python3-gi and gir1.2-gst-plugins-base-1.0. GStreamer must find the plugins regiondetect and objecttrack
(GST_PLUGIN_PATH or installed). One line per object:

    12.400 s person 0.87 at 0.41 0.22 0.49 0.71 object 3
"""
import ctypes
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
gi.require_version("GstVideo", "1.0")
from gi.repository import GLib, Gst, GstApp, GstVideo  # noqa: E402,F401

# The introspected iterator over metas cannot be used from Python (its state is a bare pointer); the C function can.
libgst = ctypes.CDLL("libgstreamer-1.0.so.0")
libvideo = ctypes.CDLL("libgstvideo-1.0.so.0")


class Roi(ctypes.Structure):
    """GstVideoRegionOfInterestMeta."""

    _fields_ = [
        ("flags", ctypes.c_int),
        ("info", ctypes.c_void_p),
        ("roi_type", ctypes.c_uint32),
        ("id", ctypes.c_int),
        ("parent_id", ctypes.c_int),
        ("x", ctypes.c_uint),
        ("y", ctypes.c_uint),
        ("w", ctypes.c_uint),
        ("h", ctypes.c_uint),
        ("params", ctypes.c_void_p),
    ]


libgst.gst_buffer_iterate_meta_filtered.restype = ctypes.POINTER(Roi)
libgst.gst_buffer_iterate_meta_filtered.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p), ctypes.c_size_t]
libvideo.gst_video_region_of_interest_meta_api_get_type.restype = ctypes.c_size_t
libvideo.gst_video_region_of_interest_meta_get_param.restype = ctypes.c_void_p
libvideo.gst_video_region_of_interest_meta_get_param.argtypes = [ctypes.POINTER(Roi), ctypes.c_char_p]
libgst.gst_structure_get_double.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(ctypes.c_double)]
libgst.gst_structure_get_int.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.POINTER(ctypes.c_int)]


def rois(buffer):
    """All regions of interest on a buffer."""
    state = ctypes.c_void_p()
    kind = libvideo.gst_video_region_of_interest_meta_api_get_type()
    while True:
        roi = libgst.gst_buffer_iterate_meta_filtered(hash(buffer), ctypes.byref(state), kind)
        if not roi:
            return
        yield roi


def detections(buffer):
    """(label, confidence, (x1, y1, x2, y2) in fractions of the frame, object id or None) of each detection."""
    for roi in rois(buffer):
        structure = libvideo.gst_video_region_of_interest_meta_get_param(roi, b"detection")
        if not structure:
            continue  # motion boxes have none
        number = ctypes.c_double()

        def field(name):
            found = libgst.gst_structure_get_double(structure, name, ctypes.byref(number))
            return number.value if found else float("nan")

        box = tuple(field(name) for name in (b"x_min", b"y_min", b"x_max", b"y_max"))
        identity = None
        tracked = libvideo.gst_video_region_of_interest_meta_get_param(roi, b"object_id")
        if tracked:
            value = ctypes.c_int()
            if libgst.gst_structure_get_int(tracked, b"id", ctypes.byref(value)):
                identity = value.value
        yield GLib.quark_to_string(roi.contents.roi_type), field(b"confidence"), box, identity


def main():
    Gst.init(None)
    if len(sys.argv) < 3:
        sys.exit(f"usage: {sys.argv[0]} VIDEO MODEL [FRAMES]")
    frames = int(sys.argv[3]) if len(sys.argv) > 3 else None

    pipeline = Gst.parse_launch(
        "filesrc name=file ! decodebin ! videorate drop-only=true ! video/x-raw,framerate=5/1 ! videoconvert"
        " ! motiondetect ! regiondetect name=detect ! objecttrack ! appsink name=seen sync=false max-buffers=2"
    )
    pipeline.get_by_name("file").set_property("location", sys.argv[1])
    pipeline.get_by_name("detect").set_property("model", sys.argv[2])
    sink = pipeline.get_by_name("seen")
    pipeline.set_state(Gst.State.PLAYING)
    try:
        count = 0
        while frames is None or count < frames:
            sample = sink.try_pull_sample(10 * Gst.SECOND)
            if sample is None:
                message = pipeline.get_bus().pop_filtered(Gst.MessageType.ERROR)
                if message:
                    sys.exit(str(message.parse_error()))
                break
            buffer = sample.get_buffer()
            for label, confidence, box, identity in detections(buffer):
                corners = " ".join(f"{v:.2f}" for v in box)
                known = "" if identity is None else f" object {identity}"
                print(f"{buffer.pts / Gst.SECOND:.3f} s {label} {confidence:.2f} at {corners}{known}")
            count += 1
        print(f"{count} frames")
    finally:
        pipeline.set_state(Gst.State.NULL)


if __name__ == "__main__":
    main()

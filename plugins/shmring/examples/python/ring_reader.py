#!/usr/bin/env python3
"""Reads a camera's frames from another process, in Python.

    ring_reader.py SOCKET-PATH [FRAMES]

Needs python3-gi and gir1.2-gst-plugins-base-1.0. GStreamer must find the plugin (GST_PLUGIN_PATH or installed).
With numpy, np.frombuffer(view, np.uint8) on the view below is the frame itself, without a copy.
"""
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
gi.require_version("GstVideo", "1.0")
from gi.repository import Gst, GstApp, GstVideo  # noqa: E402,F401  (GstApp adds the methods of appsink)


def main():
    Gst.init(None)
    if len(sys.argv) < 2:
        sys.exit(f"usage: {sys.argv[0]} SOCKET-PATH [FRAMES]")
    frames = int(sys.argv[2]) if len(sys.argv) > 2 else 10

    pipeline = Gst.parse_launch("shmringsrc name=ring ! appsink name=frames sync=false max-buffers=2 drop=true")
    pipeline.get_by_name("ring").set_property("socket-path", sys.argv[1])
    sink = pipeline.get_by_name("frames")
    pipeline.set_state(Gst.State.PLAYING)
    try:
        for _ in range(frames):
            sample = sink.try_pull_sample(10 * Gst.SECOND)
            if sample is None:
                sys.exit(f"no frame: the stream has ended, or there is no writer at {sys.argv[1]}")
            video = GstVideo.VideoInfo.new_from_caps(sample.get_caps())
            buffer = sample.get_buffer()
            ok, info = buffer.map(Gst.MapFlags.READ)
            if not ok:
                sys.exit("the frame cannot be read")
            view = memoryview(info.data)
            print(
                f"frame {buffer.offset} at {buffer.pts / Gst.SECOND:.3f}: {video.finfo.name}"
                f" {video.width}x{video.height}, {len(view)} bytes, mean of every 97th {sum(view[::97]) / len(view[::97]):.1f}"
            )
            del view
            buffer.unmap(info)
    finally:
        pipeline.set_state(Gst.State.NULL)


if __name__ == "__main__":
    main()

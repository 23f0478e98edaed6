/* Reads a camera's frames from another process, in C.
 *
 *   ring-reader SOCKET-PATH [FRAMES]
 *
 * Build: see the Makefile beside this file. GStreamer must find the plugin (GST_PLUGIN_PATH or installed).
 * The frames are maps of the writer's memory: they cost no copy, are read-only, and do not change while they are held. Holding
 * one costs the writer nothing; a reader that holds many gets copies from then on.
 */
#include <gst/app/gstappsink.h>
#include <gst/gst.h>
#include <gst/video/video.h>
#include <stdio.h>
#include <stdlib.h>

/* Prints what a detector upstream of the ring has found in the frame. */
static void print_regions(GstBuffer *buffer) {
  gpointer state = NULL;
  GstMeta *meta;
  while ((meta = gst_buffer_iterate_meta_filtered(buffer, &state, GST_VIDEO_REGION_OF_INTEREST_META_API_TYPE))) {
    GstVideoRegionOfInterestMeta *roi = (GstVideoRegionOfInterestMeta *)meta;
    GstStructure *detection = gst_video_region_of_interest_meta_get_param(roi, "detection");
    gdouble confidence = 0;
    if (detection)
      gst_structure_get_double(detection, "confidence", &confidence);
    printf("  %s %u,%u %ux%u confidence %.2f\n", g_quark_to_string(roi->roi_type), roi->x, roi->y, roi->w, roi->h, confidence);
  }
}

int main(int argc, char **argv) {
  gst_init(&argc, &argv);
  if (argc < 2) {
    fprintf(stderr, "usage: %s SOCKET-PATH [FRAMES]\n", argv[0]);
    return 2;
  }
  int frames = argc > 2 ? atoi(argv[2]) : 10;

  GError *error = NULL;
  GstElement *pipeline = gst_parse_launch("shmringsrc name=ring ! appsink name=frames sync=false max-buffers=2 drop=true", &error);
  if (!pipeline || error) {
    fprintf(stderr, "%s\n", error ? error->message : "no pipeline");
    return 1;
  }
  GstElement *ring = gst_bin_get_by_name(GST_BIN(pipeline), "ring");
  g_object_set(ring, "socket-path", argv[1], NULL);
  gst_util_set_object_arg(G_OBJECT(ring), "policy", "newest");
  GstElement *sink = gst_bin_get_by_name(GST_BIN(pipeline), "frames");
  gst_element_set_state(pipeline, GST_STATE_PLAYING);

  int got = 0;
  while (got < frames) {
    GstSample *sample = gst_app_sink_try_pull_sample(GST_APP_SINK(sink), 10 * GST_SECOND);
    if (!sample) {
      fprintf(stderr, "no frame: the stream has ended, or there is no writer at %s\n", argv[1]);
      break;
    }
    GstVideoInfo info;
    GstVideoFrame frame;
    GstBuffer *buffer = gst_sample_get_buffer(sample);
    if (gst_video_info_from_caps(&info, gst_sample_get_caps(sample)) && gst_video_frame_map(&frame, &info, buffer, GST_MAP_READ)) {
      guint64 sum = 0;
      int width = GST_VIDEO_FRAME_COMP_WIDTH(&frame, 0), height = GST_VIDEO_FRAME_COMP_HEIGHT(&frame, 0);
      for (int y = 0; y < height; y++) {
        const guint8 *row = (guint8 *)GST_VIDEO_FRAME_COMP_DATA(&frame, 0) + (gsize)y * GST_VIDEO_FRAME_COMP_STRIDE(&frame, 0);
        for (int x = 0; x < width; x++)
          sum += row[x * GST_VIDEO_FRAME_COMP_PSTRIDE(&frame, 0)];
      }
      printf("frame %" G_GUINT64_FORMAT " at %" GST_TIME_FORMAT ": %dx%d, mean of the first component %.1f\n", GST_BUFFER_OFFSET(buffer),
             GST_TIME_ARGS(GST_BUFFER_PTS(buffer)), width, height, (double)sum / width / height);
      gst_video_frame_unmap(&frame);
      print_regions(buffer);
      got++;
    }
    gst_sample_unref(sample); /* gives the slot back to the ring */
  }

  gst_element_set_state(pipeline, GST_STATE_NULL);
  gst_object_unref(sink);
  gst_object_unref(ring);
  gst_object_unref(pipeline);
  return got == frames ? 0 : 1;
}

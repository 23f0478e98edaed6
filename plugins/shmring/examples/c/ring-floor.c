/* The least that a sink and a source between two processes can do: what is left of the ring without everything that makes it
 * one. The sink stores which frame is the newest and wakes who waits; the source sleeps, wakes, and pushes a buffer that it
 * made when it started. No leases, no caps that change, no timestamps, no metadata, no checks, no error handling: no use but
 * to measure how much of the latency and processor time is GStreamer's and the kernel's.
 *
 *   make ring-floor && GST_PLUGIN_PATH=$PWD ring_bench    (which compares with it when it finds it)
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <gst/gst.h>
#include <gst/video/video.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FRAMES 20 /* more than the pool of any upstream that this is measured with */
#define PAGE 4096

/* The file's first page; frames follow, each from a page of its own. */
typedef struct {
  _Atomic uint32_t published; /* frames; the futex that readers sleep on */
  _Atomic uint32_t waiting;
  _Atomic uint32_t newest; /* index of the newest frame */
  _Atomic uint64_t size;   /* bytes of a frame; 0 until the writer knows its caps */
  char caps[512];
} Head;

static gsize frame_at(gsize size, guint index) { return PAGE + index * ((size + PAGE - 1) & ~(gsize)(PAGE - 1)); }

static void futex(Head *head, int what, uint32_t value) { syscall(SYS_futex, &head->published, what, value, NULL, NULL, 0); }

static Head *map_file(const char *path, gsize size) {
  gsize bytes = size ? frame_at(size, FRAMES) : PAGE;
  int fd = open(path, O_RDWR | O_CREAT, 0600);
  if (fd < 0 || (size && ftruncate(fd, bytes) < 0))
    g_error("ringfloor: cannot make %s", path);
  void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
  close(fd);
  return at == MAP_FAILED ? NULL : at;
}

static void install_path(gpointer klass, void (*set)(GObject *, guint, const GValue *, GParamSpec *)) {
  G_OBJECT_CLASS(klass)->set_property = set;
  g_object_class_install_property(klass, 1, g_param_spec_string("path", "Path", "File that the frames lie in", NULL, G_PARAM_WRITABLE));
}

/* The file's frames as memory for upstream to write to. */

typedef struct {
  GstAllocator parent;
  char *path;
  Head *head;
  guint used;
} FloorAllocator;
typedef GstAllocatorClass FloorAllocatorClass;
typedef struct {
  GstMemory memory;
  guint8 *start;
  guint index;
} FloorMemory;
G_DEFINE_TYPE(FloorAllocator, floor_allocator, GST_TYPE_ALLOCATOR)

static gpointer memory_map(GstMemory *memory, gsize size, GstMapFlags flags) { return ((FloorMemory *)memory)->start; }
static void memory_unmap(GstMemory *memory) {}

static GstMemory *allocator_alloc(GstAllocator *base, gsize size, GstAllocationParams *params) {
  FloorAllocator *self = (FloorAllocator *)base;
  FloorMemory *memory = g_new0(FloorMemory, 1);
  if (!self->head)
    self->head = map_file(self->path, size);
  memory->index = self->used++ % FRAMES;
  memory->start = (guint8 *)self->head + frame_at(size, memory->index);
  gst_memory_init(&memory->memory, 0, base, NULL, size, 0, 0, size);
  return &memory->memory;
}
static void allocator_free(GstAllocator *base, GstMemory *memory) { g_free(memory); }

static void floor_allocator_init(FloorAllocator *self) {
  self->parent.mem_type = "RingFloor";
  self->parent.mem_map = memory_map;
  self->parent.mem_unmap = memory_unmap;
}
static void floor_allocator_class_init(FloorAllocatorClass *klass) {
  klass->alloc = allocator_alloc;
  klass->free = allocator_free;
}

/* The sink. */

typedef struct {
  GstElement parent;
  FloorAllocator *allocator;
} FloorSink;
typedef GstElementClass FloorSinkClass;
G_DEFINE_TYPE(FloorSink, floor_sink, GST_TYPE_ELEMENT)
static GstStaticPadTemplate sink_template = GST_STATIC_PAD_TEMPLATE("sink", GST_PAD_SINK, GST_PAD_ALWAYS, GST_STATIC_CAPS_ANY);

static GstFlowReturn sink_chain(GstPad *pad, GstObject *parent, GstBuffer *buffer) {
  Head *head = ((FloorSink *)parent)->allocator->head;
  head->newest = ((FloorMemory *)gst_buffer_peek_memory(buffer, 0))->index;
  head->published++;
  if (atomic_exchange(&head->waiting, 0))
    futex(head, FUTEX_WAKE, INT_MAX);
  gst_buffer_unref(buffer);
  return GST_FLOW_OK;
}

static gboolean sink_event(GstPad *pad, GstObject *parent, GstEvent *event) {
  FloorAllocator *allocator = ((FloorSink *)parent)->allocator;
  if (GST_EVENT_TYPE(event) == GST_EVENT_EOS)
    gst_element_post_message(GST_ELEMENT(parent), gst_message_new_eos(parent));
  if (GST_EVENT_TYPE(event) == GST_EVENT_CAPS) {
    GstCaps *caps;
    GstVideoInfo info;
    gst_event_parse_caps(event, &caps);
    gst_video_info_from_caps(&info, caps);
    if (!allocator->head)
      allocator->head = map_file(allocator->path, info.size);
    gchar *text = gst_caps_to_string(caps);
    g_strlcpy(allocator->head->caps, text, sizeof allocator->head->caps);
    g_free(text);
    allocator->head->size = info.size;
  }
  gst_event_unref(event);
  return TRUE;
}

static gboolean sink_query(GstPad *pad, GstObject *parent, GstQuery *query) {
  if (GST_QUERY_TYPE(query) != GST_QUERY_ALLOCATION)
    return gst_pad_query_default(pad, parent, query);
  gst_query_add_allocation_param(query, GST_ALLOCATOR(((FloorSink *)parent)->allocator), NULL);
  return TRUE;
}

static void sink_set(GObject *object, guint id, const GValue *value, GParamSpec *pspec) {
  ((FloorSink *)object)->allocator->path = g_value_dup_string(value);
}

static void floor_sink_init(FloorSink *self) {
  GstPad *pad = gst_pad_new_from_static_template(&sink_template, "sink");
  gst_pad_set_chain_function(pad, sink_chain);
  gst_pad_set_event_function(pad, sink_event);
  gst_pad_set_query_function(pad, sink_query);
  gst_element_add_pad(&self->parent, pad);
  GST_OBJECT_FLAG_SET(self, GST_ELEMENT_FLAG_SINK);
  self->allocator = g_object_new(floor_allocator_get_type(), NULL);
}
static void floor_sink_class_init(FloorSinkClass *klass) {
  install_path(klass, sink_set);
  gst_element_class_add_static_pad_template(klass, &sink_template);
  gst_element_class_set_static_metadata(klass, "Floor of a ring, sink", "Sink", "To measure beside", "Watchpost");
}

/* The source. */

typedef struct {
  GstElement parent;
  GstPad *pad;
  char *path;
  Head *head;
  uint32_t seen;
  GstBuffer *frames[FRAMES];
  _Atomic gboolean stop;
} FloorSrc;
typedef GstElementClass FloorSrcClass;
G_DEFINE_TYPE(FloorSrc, floor_src, GST_TYPE_ELEMENT)
static GstStaticPadTemplate src_template = GST_STATIC_PAD_TEMPLATE("src", GST_PAD_SRC, GST_PAD_ALWAYS, GST_STATIC_CAPS_ANY);

static gboolean src_begin(FloorSrc *self) {
  Head *head = map_file(self->path, 0);
  while (!head->size && !self->stop)
    g_usleep(1000);
  if (self->stop)
    return FALSE;
  gsize size = head->size;
  self->head = map_file(self->path, size);
  for (guint i = 0; i < FRAMES; i++)
    self->frames[i] = gst_buffer_new_wrapped_full(GST_MEMORY_FLAG_READONLY, (guint8 *)self->head + frame_at(size, i), size, 0, size, NULL, NULL);
  GstCaps *caps = gst_caps_from_string(self->head->caps);
  GstSegment segment;
  gst_segment_init(&segment, GST_FORMAT_TIME);
  gst_pad_push_event(self->pad, gst_event_new_stream_start("ring-floor"));
  gst_pad_push_event(self->pad, gst_event_new_caps(caps));
  gst_pad_push_event(self->pad, gst_event_new_segment(&segment));
  gst_caps_unref(caps);
  self->seen = self->head->published;
  return TRUE;
}

static void src_loop(gpointer user_data) {
  FloorSrc *self = user_data;
  if (!self->head && !src_begin(self))
    return;
  Head *head = self->head;
  uint32_t published;
  while ((published = head->published) == self->seen && !self->stop) {
    head->waiting = 1;
    futex(head, FUTEX_WAIT, published);
  }
  self->seen = published;
  if (!self->stop)
    gst_pad_push(self->pad, gst_buffer_ref(self->frames[head->newest]));
}

static GstStateChangeReturn src_change_state(GstElement *element, GstStateChange transition) {
  FloorSrc *self = (FloorSrc *)element;
  if (transition == GST_STATE_CHANGE_PAUSED_TO_READY) {
    self->stop = TRUE;
    if (self->head) {
      self->head->published++; /* ends the sleep; there is no more to read */
      futex(self->head, FUTEX_WAKE, INT_MAX);
    }
    gst_pad_stop_task(self->pad);
  }
  GstStateChangeReturn result = GST_ELEMENT_CLASS(floor_src_parent_class)->change_state(element, transition);
  if (transition == GST_STATE_CHANGE_READY_TO_PAUSED)
    gst_pad_start_task(self->pad, src_loop, self, NULL);
  gboolean live = transition == GST_STATE_CHANGE_READY_TO_PAUSED || transition == GST_STATE_CHANGE_PLAYING_TO_PAUSED;
  return live ? GST_STATE_CHANGE_NO_PREROLL : result;
}

static void src_set(GObject *object, guint id, const GValue *value, GParamSpec *pspec) { ((FloorSrc *)object)->path = g_value_dup_string(value); }

static void floor_src_init(FloorSrc *self) {
  self->pad = gst_pad_new_from_static_template(&src_template, "src");
  gst_element_add_pad(&self->parent, self->pad);
  GST_OBJECT_FLAG_SET(self, GST_ELEMENT_FLAG_SOURCE);
}
static void floor_src_class_init(FloorSrcClass *klass) {
  install_path(klass, src_set);
  klass->change_state = src_change_state;
  gst_element_class_add_static_pad_template(klass, &src_template);
  gst_element_class_set_static_metadata(klass, "Floor of a ring, source", "Source", "To measure beside", "Watchpost");
}

static gboolean plugin_init(GstPlugin *plugin) {
  return gst_element_register(plugin, "ringfloorsink", GST_RANK_NONE, floor_sink_get_type()) &&
         gst_element_register(plugin, "ringfloorsrc", GST_RANK_NONE, floor_src_get_type());
}

#define PACKAGE "ring-floor"
GST_PLUGIN_DEFINE(1, 22, ringfloor, "The least that a ring can be, to measure beside", plugin_init, "1", "MIT/X11", PACKAGE, "https://localhost/")

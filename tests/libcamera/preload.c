/*
 * Lets libcamera's virtual cameras run on any kernel, at a rate, and without a defect of libcamera 0.7.2. For tests only.
 *
 * - The cameras want their buffers from /dev/udmabuf, which containers do not have. Opening it gives a memfd here, and a
 *   "DMA buffer" made from a memfd is that memfd. No device reads them, so ordinary memory does.
 * - They fill a buffer as soon as it is queued. To fill it they map it for writing, so that is what waits for the time of
 *   the next frame: WATCHPOST_VIRTUAL_FPS a second (30), each size of buffer by itself.
 * - They read a request after they have completed it, when the application may have deleted it. What is deleted is
 *   therefore kept for a while. With VIRTUAL_CRASH set it is not, and the process dies of SIGSEGV sooner or later.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/udmabuf.h>
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DEVICE "/dev/udmabuf"
#define SECOND 1000000000LL

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Inode of the memfd that stands for the device. */
static ino_t device_inode;

static int open_device(void)
{
    static int device = -1;
    int fd;
    struct stat about;

    pthread_mutex_lock(&lock);
    if (device < 0) {
        device = memfd_create("udmabuf device", MFD_CLOEXEC);
        if (device >= 0 && fstat(device, &about) == 0)
            device_inode = about.st_ino;
    }
    fd = device < 0 ? -1 : fcntl(device, F_DUPFD_CLOEXEC, 3);
    pthread_mutex_unlock(&lock);
    return fd;
}

static int is_device(int fd)
{
    struct stat about;
    return device_inode != 0 && fstat(fd, &about) == 0 && about.st_ino == device_inode;
}

#define OPEN(name)                                                                  \
    int name(const char *path, int flags, ...)                                      \
    {                                                                               \
        int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, #name);              \
        mode_t mode = 0;                                                            \
        if (strcmp(path, DEVICE) == 0)                                              \
            return open_device();                                                   \
        if (flags & (O_CREAT | __O_TMPFILE)) {                                      \
            va_list rest;                                                           \
            va_start(rest, flags);                                                  \
            mode = va_arg(rest, mode_t);                                            \
            va_end(rest);                                                           \
        }                                                                           \
        return real(path, flags, mode);                                             \
    }

OPEN(open)
OPEN(open64)

int ioctl(int fd, unsigned long request, ...)
{
    int (*real)(int, unsigned long, ...) = dlsym(RTLD_NEXT, "ioctl");
    va_list rest;
    void *argument;
    int result;

    va_start(rest, request);
    argument = va_arg(rest, void *);
    va_end(rest);
    if (request == UDMABUF_CREATE && is_device(fd))
        return fcntl(((struct udmabuf_create *)argument)->memfd, F_DUPFD_CLOEXEC, 3);
    result = real(fd, request, argument);
    /* Ordinary memory needs no synchronisation, and says so by not knowing the request. */
    return result < 0 && errno == ENOTTY && request == DMA_BUF_IOCTL_SYNC ? 0 : result;
}

/* Waits until the next frame in buffers of this size is due. */
static void wait_for_frame(size_t size)
{
    static struct {
        size_t size;
        long long due;
    } streams[16];
    const char *rate = getenv("WATCHPOST_VIRTUAL_FPS");
    long long period = SECOND / (rate && atoi(rate) > 0 ? atoi(rate) : 30);
    struct timespec time;
    long long now, due = 0;
    size_t i;

    clock_gettime(CLOCK_MONOTONIC, &time);
    now = time.tv_sec * SECOND + time.tv_nsec;
    pthread_mutex_lock(&lock);
    for (i = 0; i < sizeof streams / sizeof *streams; i++) {
        if (streams[i].size != 0 && streams[i].size != size)
            continue;
        streams[i].size = size;
        due = streams[i].due;
        /* A camera that has stood still begins anew. */
        if (due < now - period || due > now + period)
            due = now;
        streams[i].due = due + period;
        break;
    }
    pthread_mutex_unlock(&lock);
    if (due > now) {
        time.tv_sec = due / SECOND;
        time.tv_nsec = due % SECOND;
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
    }
}

static void before_mapping(size_t size, int protection, int fd)
{
    struct stat about;
    /* A buffer is a sealed memfd; nothing else is mapped for writing alone. */
    if (protection == PROT_WRITE && fd >= 0 && fcntl(fd, F_GET_SEALS) > 0 && fstat(fd, &about) == 0)
        wait_for_frame(size);
}

#define MMAP(name, offset_type)                                                               \
    void *name(void *at, size_t size, int protection, int flags, int fd, offset_type offset)  \
    {                                                                                         \
        void *(*real)(void *, size_t, int, int, int, offset_type) = dlsym(RTLD_NEXT, #name);  \
        before_mapping(size, protection, fd);                                                 \
        return real(at, size, protection, flags, fd, offset);                                 \
    }

MMAP(mmap, off_t)
MMAP(mmap64, off64_t)

#define KEPT 1024
#define LARGEST_KEPT 1024

/* operator delete: small objects are freed once KEPT more were deleted. */
static void delete_later(void *object)
{
    static void *kept[KEPT];
    static size_t next;
    void *oldest;

    if (object == NULL || getenv("VIRTUAL_CRASH") || malloc_usable_size(object) > LARGEST_KEPT) {
        free(object);
        return;
    }
    pthread_mutex_lock(&lock);
    oldest = kept[next];
    kept[next] = object;
    next = (next + 1) % KEPT;
    pthread_mutex_unlock(&lock);
    free(oldest);
}

void _ZdlPv(void *object)
{
    delete_later(object);
}

void _ZdlPvm(void *object, size_t size)
{
    (void)size;
    delete_later(object);
}

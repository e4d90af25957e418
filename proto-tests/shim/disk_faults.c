/* Makes calls of a process that change files below one folder fail: the n-th of some kinds, or some in a row. Preloaded into a running `serve`.
 *
 * The orders stand in a small file that both sides map: DISK_FAULTS names it, DISK_FAULTS_BELOW the folder. A call that fails has done nothing. What is not
 * an armed kind is not counted. Without both variables nothing happens. Not here: calls that bypass libc.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { WRITE = 1, SYNC = 2, TRUNCATE = 4, RENAME = 8, OPEN = 16 };

/* As proto-tests/src/shim.rs writes them. */
struct orders {
    uint64_t seen;   /* calls of the armed kinds so far: written here only */
    uint64_t failed; /* of these, how many were made to fail: written here only */
    uint64_t from;   /* the first that fails */
    uint64_t count;  /* how many fail */
    uint32_t kinds;
    int32_t error;
};

#define DESCRIPTORS 65536

static struct orders *orders;
static char below[PATH_MAX];
static size_t below_len;
static unsigned char ours[DESCRIPTORS];

__attribute__((constructor)) static void begin(void) {
    const char *file = getenv("DISK_FAULTS"), *folder = getenv("DISK_FAULTS_BELOW");
    if (!file || !folder || strlen(folder) >= sizeof below) return;
    int (*real_open)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
    int fd = real_open(file, O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    void *map = mmap(NULL, sizeof *orders, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) return;
    strcpy(below, folder);
    below_len = strlen(folder);
    orders = map;
}

static int is_below(const char *path) {
    return orders && strncmp(path, below, below_len) == 0 && (path[below_len] == '/' || path[below_len] == 0);
}

/* Whether this call fails; sets errno. */
static int fails(enum kind kind) {
    if (!orders || !(__atomic_load_n(&orders->kinds, __ATOMIC_ACQUIRE) & kind)) return 0;
    uint64_t number = __atomic_fetch_add(&orders->seen, 1, __ATOMIC_SEQ_CST);
    if (number < orders->from || number - orders->from >= orders->count) return 0;
    __atomic_fetch_add(&orders->failed, 1, __ATOMIC_SEQ_CST);
    errno = orders->error;
    return 1;
}

static int fails_on(enum kind kind, int fd) {
    return fd >= 0 && fd < DESCRIPTORS && ours[fd] && fails(kind);
}

static int opened(int fd, const char *path) {
    if (fd >= 0 && fd < DESCRIPTORS) ours[fd] = is_below(path);
    return fd;
}

#define REAL(result, name, ...) \
    static result (*real)(__VA_ARGS__); \
    if (!real) real = dlsym(RTLD_NEXT, #name)

#define OPENING(name) \
    int name(const char *path, int flags, ...) { \
        REAL(int, name, const char *, int, ...); \
        mode_t mode = 0; \
        if (flags & (O_CREAT | O_TMPFILE)) { \
            va_list list; \
            va_start(list, flags); \
            mode = va_arg(list, mode_t); \
            va_end(list); \
        } \
        if ((flags & O_CREAT) && is_below(path) && fails(OPEN)) return -1; \
        return opened(real(path, flags, mode), path); \
    }

OPENING(open)
OPENING(open64)

#define ON_DESCRIPTOR(kind, result, name, arguments, values, ...) \
    result name arguments { \
        REAL(result, name, __VA_ARGS__); \
        if (fails_on(kind, fd)) return -1; \
        return real values; \
    }

ON_DESCRIPTOR(WRITE, ssize_t, write, (int fd, const void *from, size_t len), (fd, from, len), int, const void *, size_t)
ON_DESCRIPTOR(WRITE, ssize_t, writev, (int fd, const struct iovec *from, int count), (fd, from, count), int, const struct iovec *, int)
ON_DESCRIPTOR(WRITE, ssize_t, pwrite64, (int fd, const void *from, size_t len, off64_t at), (fd, from, len, at), int, const void *, size_t, off64_t)
ON_DESCRIPTOR(WRITE, ssize_t, pwritev, (int fd, const struct iovec *from, int count, off_t at), (fd, from, count, at), int, const struct iovec *, int, off_t)
ON_DESCRIPTOR(WRITE, ssize_t, pwritev64, (int fd, const struct iovec *from, int count, off64_t at), (fd, from, count, at), int, const struct iovec *, int, off64_t)
ON_DESCRIPTOR(SYNC, int, fsync, (int fd), (fd), int)
ON_DESCRIPTOR(SYNC, int, fdatasync, (int fd), (fd), int)
ON_DESCRIPTOR(TRUNCATE, int, ftruncate, (int fd, off_t len), (fd, len), int, off_t)
ON_DESCRIPTOR(TRUNCATE, int, ftruncate64, (int fd, off64_t len), (fd, len), int, off64_t)

int rename(const char *from, const char *to) {
    REAL(int, rename, const char *, const char *);
    if (is_below(from) && fails(RENAME)) return -1;
    return real(from, to);
}

int close(int fd) {
    REAL(int, close, int);
    if (fd >= 0 && fd < DESCRIPTORS) ours[fd] = 0;
    return real(fd);
}

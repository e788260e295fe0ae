/* Lets the n-th call of this process that writes, renames, syncs or creates a file fail, or the n-th
 * large allocation. Loaded with LD_PRELOAD; counts from `fail_at` on, and calls of other kinds or on
 * pipes and terminals pass. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FILES = 1, MEMORY = 2, LARGE = 1 << 16 };
static atomic_long calls = 0, first = 0;
static atomic_int kind = 0, lasting = 0;

/* From now on the n-th call of a kind fails, and where it lasts all later ones; 0: none. */
void fail_at(long n, int of_kind, int lasts) {
    kind = 0;
    calls = 0;
    first = n;
    lasting = lasts;
    kind = of_kind;
}

long calls_seen(void) { return calls; }

static int fails(int of_kind, int with) {
    if (kind != of_kind) return 0;
    long number = ++calls;
    if (!first || (lasting ? number < first : number != first)) return 0;
    errno = with;
    return 1;
}

static int is_file(int fd) {
    struct stat found;
    return fd > 2 && !fstat(fd, &found) && S_ISREG(found.st_mode); /* not of what it says */
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define ON_FD(type, name, params, args, with)                                    \
    type name params {                                                           \
        static __typeof__(&name) next;                                           \
        if (!next) next = NEXT(name);                                            \
        return kind == FILES && is_file(fd) && fails(FILES, with) ? -1 : next args; \
    }
#define ON_PATH(name, params, args)                                 \
    int name params {                                               \
        static __typeof__(&name) next;                              \
        if (!next) next = NEXT(name);                               \
        return fails(FILES, ENOSPC) ? -1 : next args;               \
    }
/* Of open and its kind; `INTO` and `FOLDER` are what openat has in front of a path. */
#define INTO int folder,
#define FOLDER folder,
#define OPENING(name, parameter, argument)                                              \
    int name(parameter const char *path, int flags, ...) {                              \
        static __typeof__(&name) next;                                                  \
        if (!next) next = NEXT(name);                                                   \
        va_list more;                                                                   \
        va_start(more, flags);                                                          \
        mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;                       \
        va_end(more);                                                                   \
        if (flags & O_CREAT && fails(FILES, ENOSPC)) return -1;                         \
        return next(argument path, flags, mode);                                        \
    }

ON_FD(ssize_t, write, (int fd, const void *bytes, size_t count), (fd, bytes, count), ENOSPC)
ON_FD(ssize_t, writev, (int fd, const struct iovec *parts, int count), (fd, parts, count), ENOSPC)
ON_FD(ssize_t, pwrite, (int fd, const void *bytes, size_t count, off_t at), (fd, bytes, count, at), ENOSPC)
ON_FD(ssize_t, pwrite64, (int fd, const void *bytes, size_t count, off64_t at), (fd, bytes, count, at), ENOSPC)
ON_FD(int, ftruncate, (int fd, off_t size), (fd, size), ENOSPC)
ON_FD(int, ftruncate64, (int fd, off64_t size), (fd, size), ENOSPC)
ON_FD(int, fsync, (int fd), (fd), EIO)
ON_FD(int, fdatasync, (int fd), (fd), EIO)
ON_PATH(rename, (const char *from, const char *to), (from, to))
ON_PATH(renameat, (int a, const char *from, int b, const char *to), (a, from, b, to))
ON_PATH(mkdir, (const char *path, mode_t mode), (path, mode))
OPENING(open, , )
OPENING(open64, , )
OPENING(openat, INTO, FOLDER)
OPENING(openat64, INTO, FOLDER)

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);

void *malloc(size_t size) { return size >= LARGE && fails(MEMORY, ENOMEM) ? NULL : __libc_malloc(size); }

void *calloc(size_t count, size_t size) {
    return count * size >= LARGE && fails(MEMORY, ENOMEM) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size) {
    return size >= LARGE && fails(MEMORY, ENOMEM) ? NULL : __libc_realloc(old, size);
}

void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset) {
    static __typeof__(&mmap) next;
    if (!next) next = NEXT(mmap);
    if (flags & MAP_ANONYMOUS && size >= LARGE && fails(MEMORY, ENOMEM)) return MAP_FAILED;
    return next(at, size, protection, flags, fd, offset);
}

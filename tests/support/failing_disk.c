/* A disk that refuses. Preloaded into a process (LD_PRELOAD), it answers whatever would change a file under FAILING_UNDER
   with the errno that stands in the file FAILING_ERRNO, for as long as there is one: a remount, or a quota, that comes and goes
   under files that are open, which a kernel does by itself only where a disk breaks. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int under(const char *path)
{
    const char *folder = getenv("FAILING_UNDER");
    return folder && path && strncmp(path, folder, strlen(folder)) == 0;
}

static int refused(const char *path, int fd)
{
    char text[16] = "", place[PATH_MAX] = "", link[40];
    const char *file = getenv("FAILING_ERRNO");
    int control = file ? (int)syscall(SYS_openat, AT_FDCWD, file, O_RDONLY | O_CLOEXEC) : -1;
    if (control < 0)
        return 0;
    long n = syscall(SYS_read, control, text, sizeof text - 1);
    syscall(SYS_close, control);
    if (n <= 0)
        return 0;
    if (!path) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        if (readlink(link, place, sizeof place - 1) < 0)
            return 0;
        path = place;
    }
    return under(path) ? atoi(text) : 0;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define GUARD(path, fd) do { int why = refused(path, fd); if (why) { errno = why; return -1; } } while (0)

ssize_t write(int fd, const void *data, size_t n) { GUARD(NULL, fd); return REAL(write)(fd, data, n); }
ssize_t pwrite(int fd, const void *data, size_t n, off_t at) { GUARD(NULL, fd); return REAL(pwrite)(fd, data, n, at); }
ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at) { GUARD(NULL, fd); return REAL(pwrite64)(fd, data, n, at); }
int ftruncate(int fd, off_t n) { GUARD(NULL, fd); return REAL(ftruncate)(fd, n); }
int ftruncate64(int fd, off64_t n) { GUARD(NULL, fd); return REAL(ftruncate64)(fd, n); }
int mkdir(const char *path, mode_t mode) { GUARD(path, -1); return REAL(mkdir)(path, mode); }
int rename(const char *from, const char *to) { GUARD(to, -1); return REAL(rename)(from, to); }
int unlink(const char *path)
{
    if (refused(path, -1) == EROFS) { errno = EROFS; return -1; } /* a quota takes nothing from who gives back */
    return REAL(unlink)(path);
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) \
    { \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = va_arg(more, mode_t); \
        va_end(more); \
        if (flags & (O_WRONLY | O_RDWR)) { \
            int why = refused(path, -1); \
            if (why == EROFS || (why && (flags & O_CREAT) && access(path, F_OK))) { errno = why; return -1; } \
        } \
        return REAL(name)(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

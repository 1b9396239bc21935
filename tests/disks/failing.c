/* A disk that fails: put before the C library (LD_PRELOAD), it counts what is written to the files of
   one folder, and refuses some of it. `failing_arm` says which. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char folder[4096];
static long first, count; /* the first one that fails, and how many do */
static int number;        /* what they fail with; 0: a write that only a part found room for */
static long seen, failed;

void failing_arm(const char *path, long at, long how_many, int error)
{
    strncpy(folder, path, sizeof folder - 1);
    first = at;
    count = how_many;
    number = error;
    seen = failed = 0;
}

long failing_failed(void) { return failed; }

static int is_ours(int fd)
{
    char link[64], path[4096];
    ssize_t length;
    int before = errno;
    if (!folder[0])
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, path, sizeof path - 1);
    errno = before;
    if (length < 0)
        return 0;
    path[length] = 0;
    return !strncmp(path, folder, strlen(folder));
}

/* Whether this one fails. */
static int fails(int fd)
{
    long here;
    if (!is_ours(fd))
        return 0;
    here = __atomic_add_fetch(&seen, 1, __ATOMIC_SEQ_CST);
    if (here < first || here >= first + count)
        return 0;
    __atomic_add_fetch(&failed, 1, __ATOMIC_SEQ_CST);
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define REFUSE { errno = number ? number : ENOSPC; return -1; }

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    if (fails(fd)) {
        if (number || size < 2)
            REFUSE
        return REAL(pwrite)(fd, data, size / 2, at);
    }
    return REAL(pwrite)(fd, data, size, at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t at) { return pwrite(fd, data, size, at); }

ssize_t write(int fd, const void *data, size_t size)
{
    if (fails(fd)) {
        if (number || size < 2)
            REFUSE
        return REAL(write)(fd, data, size / 2);
    }
    return REAL(write)(fd, data, size);
}

ssize_t pwritev(int fd, const struct iovec *parts, int n, off_t at)
{
    if (fails(fd)) {
        if (number || !n)
            REFUSE
        return REAL(pwrite)(fd, parts[0].iov_base, parts[0].iov_len / 2, at);
    }
    return REAL(pwritev)(fd, parts, n, at);
}

ssize_t writev(int fd, const struct iovec *parts, int n)
{
    if (fails(fd)) {
        if (number || !n)
            REFUSE
        return REAL(write)(fd, parts[0].iov_base, parts[0].iov_len / 2);
    }
    return REAL(writev)(fd, parts, n);
}

int fdatasync(int fd)
{
    if (fails(fd))
        REFUSE
    return REAL(fdatasync)(fd);
}

int fsync(int fd)
{
    if (fails(fd))
        REFUSE
    return REAL(fsync)(fd);
}

int ftruncate(int fd, off_t size)
{
    if (fails(fd))
        REFUSE
    return REAL(ftruncate)(fd, size);
}

int ftruncate64(int fd, off_t size) { return ftruncate(fd, size); }

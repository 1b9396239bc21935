/* Loaded before libc into a process that writes a store: notes, in order, each write to data.mdb, each
 * sync of it, and each line on standard output.
 *
 * A record is a kind, an offset and a length (native byte order), and then the bytes:
 *   'W' a write that is about to be made     'D' a write that is made, and was synchronous
 *   'S' all writes so far were synced        'A' a line on standard output, which is about to be written
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int journal = -1;

struct record {
    uint64_t kind, offset, length;
};

static void put(const void *data, size_t left)
{
    const char *at = data;
    while (left) {
        ssize_t done = syscall(SYS_write, journal, at, left);
        if (done <= 0)
            abort();
        at += done;
        left -= (size_t)done;
    }
}

static void note(char kind, uint64_t offset, const struct iovec *parts, int count)
{
    struct record record = {(uint64_t)kind, offset, 0};
    for (int part = 0; part < count; part++)
        record.length += parts[part].iov_len;
    if (journal < 0) {
        journal = open(getenv("RECORDING"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (journal < 0)
            abort();
    }
    put(&record, sizeof record);
    for (int part = 0; part < count; part++)
        put(parts[part].iov_base, parts[part].iov_len);
}

static int is_data(int fd)
{
    char link[64], name[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, name, sizeof name);
    return length > 9 && !memcmp(name + length - 9, "/data.mdb", 9);
}

static int is_synchronous(int fd)
{
    return (fcntl(fd, F_GETFL) & O_DSYNC) != 0;
}

static ssize_t written(int fd, const struct iovec *parts, int count, off_t offset)
{
    static ssize_t (*real)(int, const struct iovec *, int, off_t);
    if (!real)
        real = dlsym(RTLD_NEXT, "pwritev");
    if (!is_data(fd))
        return real(fd, parts, count, offset);
    pthread_mutex_lock(&lock);
    note('W', (uint64_t)offset, parts, count);
    ssize_t done = real(fd, parts, count, offset);
    if (done >= 0 && is_synchronous(fd))
        note('D', (uint64_t)offset, parts, count);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
    return written(fd, parts, count, offset);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset)
{
    struct iovec whole = {(void *)data, length};
    return written(fd, &whole, 1, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off_t offset)
{
    return pwrite(fd, data, length, offset);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t offset)
{
    return written(fd, parts, count, offset);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    static ssize_t (*real)(int, const struct iovec *, int);
    if (!real)
        real = dlsym(RTLD_NEXT, "writev");
    return is_data(fd) ? written(fd, parts, count, lseek(fd, 0, SEEK_CUR)) : real(fd, parts, count);
}

ssize_t write(int fd, const void *data, size_t length)
{
    static ssize_t (*real)(int, const void *, size_t);
    if (!real)
        real = dlsym(RTLD_NEXT, "write");
    if (fd == STDOUT_FILENO) {
        struct iovec line = {(void *)data, length};
        pthread_mutex_lock(&lock);
        note('A', 0, &line, 1);
        pthread_mutex_unlock(&lock);
    }
    if (is_data(fd))
        return pwrite(fd, data, length, lseek(fd, 0, SEEK_CUR));
    return real(fd, data, length);
}

static int synced(int fd, const char *name)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    if (!is_data(fd))
        return real(fd);
    pthread_mutex_lock(&lock);
    int failed = real(fd);
    if (!failed)
        note('S', 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    return failed;
}

int fdatasync(int fd)
{
    return synced(fd, "fdatasync");
}

int fsync(int fd)
{
    return synced(fd, "fsync");
}

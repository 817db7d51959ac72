/*
 * Time, files and the console without a C library.
 */
#ifndef NODEOS_IO_H
#define NODEOS_IO_H

#include <asm/errno.h>
#include <asm/fcntl.h>
#include <linux/random.h>
#include <linux/time.h>

#include "text.h"

/* Kernel ABI whose headers pull in a C library, or keep it to themselves: linux/fcntl.h. */
#define AT_FDCWD -100

#define SECOND 1000000L

/* Microseconds since boot. */
static inline long now(void)
{
    struct timespec t;
    sys2(__NR_clock_gettime, CLOCK_MONOTONIC, &t);
    return t.tv_sec * SECOND + t.tv_nsec / 1000;
}

static inline void rest(long microseconds)
{
    struct timespec t = {microseconds / SECOND, microseconds % SECOND * 1000};
    sys2(__NR_nanosleep, &t, 0);
}

static inline long open_at(const char *path, int flags)
{
    return sys4(__NR_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0644);
}

/* Descriptors 0 to 2 are always something: a machine need not have a console, and whatever took their place would be
 * written to. */
static inline void hold_standard(void)
{
    long fd;
    while ((fd = sys4(__NR_openat, AT_FDCWD, "/dev/null", O_RDWR, 0)) >= 0 && fd < 3)
        ;
    if (fd >= 0)
        sys1(__NR_close, fd);
}

static inline void write_all(long fd, const char *bytes, size_t n)
{
    while (n > 0) {
        long done = sys3(__NR_write, fd, bytes, n);
        if (done <= 0)
            return;
        bytes += done;
        n -= done;
    }
}

/* Writes to a file that is there, such as a setting of the kernel. Returns success. */
static inline int write_file(const char *path, const char *content)
{
    long fd = open_at(path, O_WRONLY);
    if (fd < 0)
        return 0;
    long done = sys3(__NR_write, fd, content, length(content));
    sys1(__NR_close, fd);
    return done >= 0;
}

/* Reads the start of a small file in a folder as a string. Returns its length, 0 if it cannot be read. */
static inline size_t read_file_in(long folder, const char *path, char *bytes, size_t size)
{
    long fd = sys4(__NR_openat, folder, path, O_RDONLY | O_CLOEXEC, 0);
    size_t n = 0;
    if (fd >= 0) {
        long got;
        while (n < size - 1 && (got = sys3(__NR_read, fd, bytes + n, size - 1 - n)) > 0)
            n += got;
        sys1(__NR_close, fd);
    }
    bytes[n] = 0;
    return n;
}

static inline size_t read_file(const char *path, char *bytes, size_t size)
{
    return read_file_in(AT_FDCWD, path, bytes, size);
}

/* So early nothing is more random; before Linux 5.6 there is no such wish. */
static inline void random_bytes(void *bytes, size_t n)
{
    if (sys3(__NR_getrandom, bytes, n, GRND_INSECURE) < 0)
        sys3(__NR_getrandom, bytes, n, GRND_NONBLOCK);
}

static inline void write_to_output(const char *bytes, size_t n)
{
    write_all(1, bytes, n);
}

/* How a line gets to whoever reads it. */
static void (*say_with)(const char *bytes, size_t n) = write_to_output;

/* A line on the console, from parts up to a null pointer. */
static inline void say(const char *const *parts)
{
    struct text line = {0};
    add(&line, "nodeos: ");
    while (*parts)
        add(&line, *parts++);
    add(&line, "\n");
    say_with(line.bytes, line.length);
}
#define SAY(...) say((const char *const[]){__VA_ARGS__, 0})

/* What the kernel refuses, in words where an operator may meet them. */
static inline void add_error(struct text *t, long error)
{
    static const struct { int number; const char *words; } ERRORS[] = {
        {ENOENT, "no such file"},
        {EIO, "input/output error"},
        {ENXIO, "no such device"},
        {EBUSY, "busy"},
        {ENODEV, "no such device"},
        {EINVAL, "invalid argument"},
        {EROFS, "read-only"},
        {EUCLEAN, "the filesystem is damaged"},
        {ENETUNREACH, "network is unreachable (does the command line have ip=?)"},
        {EADDRNOTAVAIL, "there is no address to connect from"},
        {ECONNRESET, "the server hung up"},
        {EPIPE, "the server hung up"},
        {EBADMSG, "a checksum is wrong"},
        {ETIMEDOUT, "no answer in time"},
        {ECONNREFUSED, "connection refused"},
        {EHOSTUNREACH, "no route to host"},
    };
    for (size_t i = 0; i < sizeof ERRORS / sizeof *ERRORS; i++)
        if (ERRORS[i].number == -error) {
            add(t, ERRORS[i].words);
            return;
        }
    add(t, "error ");
    add_number(t, -error);
}

#endif

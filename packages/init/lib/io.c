#include <linux/random.h>

#include "io.h"
#include "text.h"

long io_open_in(long folder, const char *path, int flags)
{
    return sys4(__NR_openat, folder, path, flags | O_CLOEXEC, 0644);
}

long io_open(const char *path, int flags)
{
    return io_open_in(AT_FDCWD, path, flags);
}

long io_move_high(long fd)
{
    long copy = sys3(__NR_fcntl, fd, F_DUPFD_CLOEXEC, 10);
    sys1(__NR_close, fd);
    return copy;
}

void io_hold_standard(void)
{
    long fd;
    while ((fd = sys4(__NR_openat, AT_FDCWD, "/dev/null", O_RDWR, 0)) >= 0 && fd < 3)
        ;
    if (fd >= 0)
        sys1(__NR_close, fd);
}

void io_write_all(long fd, const char *bytes, size_t n)
{
    while (n > 0) {
        long done = sys3(__NR_write, fd, bytes, n);
        if (done <= 0)
            return;
        bytes += done;
        n -= done;
    }
}

int io_write_file(const char *path, const char *content)
{
    long fd = io_open(path, O_WRONLY);
    if (fd < 0)
        return 0;
    long done = sys3(__NR_write, fd, content, text_length(content));
    sys1(__NR_close, fd);
    return done >= 0;
}

size_t io_read_file_in(long folder, const char *path, char *bytes, size_t size)
{
    long fd = io_open_in(folder, path, O_RDONLY);
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

size_t io_read_file(const char *path, char *bytes, size_t size)
{
    return io_read_file_in(AT_FDCWD, path, bytes, size);
}

/* Early in a boot nothing is more random than GRND_INSECURE, which Linux has since 5.6. */
void io_random(void *bytes, size_t n)
{
    if (sys3(__NR_getrandom, bytes, n, GRND_INSECURE) < 0)
        sys3(__NR_getrandom, bytes, n, GRND_NONBLOCK);
}

#include <asm/ioctls.h>
#include <asm/poll.h>

#include "../lib/clock.h"
#include "../lib/io.h"
#include "../lib/say.h"
#include "console.h"

#define ROOM (PIPE_SIZE + (16 << 10))
/* At the end of the machine. */
#define STUCK SECOND /* without progress */
#define PATIENCE (8 * SECOND)
#define PAUSE 10000L /* microseconds */

struct console {
    long fd;
    char bytes[ROOM]; /* a ring */
    size_t start, length;
    long lost; /* bytes that did not fit */
};

/* The first one is the machine's own: descriptor 1. */
static struct console consoles[MAX_CONSOLES];
static int count = 1;

static void keep(struct console *c, const char *bytes, size_t n)
{
    for (; n > 0 && c->length < ROOM; n--)
        c->bytes[(c->start + c->length++) % ROOM] = *bytes++;
    c->lost += n;
}

static long flush(struct console *c)
{
    long all = 0;
    while (c->length > 0) {
        size_t n = ROOM - c->start;
        long done = sys3(__NR_write, c->fd, c->bytes + c->start, n < c->length ? n : c->length);
        if (done == -EAGAIN || done == -EINTR)
            return all;
        if (done <= 0) /* it is gone */
            done = c->length;
        c->start = (c->start + done) % ROOM;
        c->length -= done;
        all += done;
    }
    c->start = 0; /* so that few pages are ever used */
    if (c->lost > 0) {
        struct text line = {0};
        text_add(&line, "nodeos: ");
        text_add_number(&line, c->lost);
        text_add(&line, " bytes not shown: the console took nothing\n");
        c->lost = 0;
        keep(c, line.bytes, line.length);
        return all + flush(c);
    }
    return all;
}

long console_flush(void)
{
    long all = 0;
    for (int i = 0; i < count; i++)
        all += flush(consoles + i);
    return all;
}

void console_write(const char *bytes, size_t n)
{
    for (int i = 0; i < count; i++) {
        keep(consoles + i, bytes, n);
        flush(consoles + i);
    }
}

int console_is_behind(void)
{
    return consoles->length > 0;
}

/* Returns the bytes that a terminal has not sent yet. On anything else the call fails: none. */
static int console_pending(void)
{
    int bytes = 0;
    sys3(__NR_ioctl, 1, TIOCOUTQ, &bytes);
    return bytes;
}

void console_finish(void)
{
    long end = clock_now() + PATIENCE, moved = clock_now();
    int before = console_pending();
    while (clock_now() < end && clock_now() - moved < STUCK) {
        long written = console_flush();
        int pending = console_pending();
        if (consoles->length == 0 && pending == 0)
            return;
        if (written > 0 || pending != before)
            moved = clock_now();
        before = pending;
        clock_rest(PAUSE);
    }
}

void console_write_beside(const char *bytes, size_t n)
{
    struct pollfd poll = {1, POLLOUT, 0};
    for (long done; n > 0; n -= done, bytes += done) {
        done = sys3(__NR_write, 1, bytes, n);
        if (done == -EAGAIN && sys_poll(&poll, 1, STUCK / 1000) > 0)
            done = 0;
        if (done < 0)
            return;
    }
}

/* Opens the console with that name, unless there are too many. */
static void add(const char *name)
{
    struct text path = {0};
    if (count == MAX_CONSOLES)
        return;
    text_add(&path, "/dev/");
    text_add(&path, name);
    long fd = io_open(path.bytes, O_RDWR | O_NOCTTY | O_NONBLOCK);
    if (fd >= 0)
        consoles[count++].fd = io_move_high(fd);
}

void console_open(void)
{
    char names[256], *name = names;
    consoles->fd = 1;
    sys3(__NR_fcntl, 1, F_SETFL, O_NONBLOCK);
    say_through(console_write);
    /* The last one is the machine's own. */
    io_read_file("/sys/class/tty/console/active", names, sizeof names);
    for (char *c = names; *c && *c != '\n'; c++)
        if (*c == ' ') {
            *c = 0;
            add(name);
            name = c + 1;
        }
}

int console_count(void)
{
    return count;
}

long console_descriptor(int index)
{
    return consoles[index].fd;
}

int console_poll(struct pollfd *poll)
{
    for (int i = 0; i < count; i++)
        poll[i] = (struct pollfd){consoles[i].length > 0 ? consoles[i].fd : -1, POLLOUT, 0};
    return count;
}

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

static struct {
    char bytes[ROOM]; /* a ring */
    size_t start, length;
    long lost; /* bytes that did not fit */
} console;

static void console_keep(const char *bytes, size_t n)
{
    for (; n > 0 && console.length < ROOM; n--)
        console.bytes[(console.start + console.length++) % ROOM] = *bytes++;
    console.lost += n;
}

long console_flush(void)
{
    long all = 0;
    while (console.length > 0) {
        size_t n = ROOM - console.start;
        long done = sys3(__NR_write, 1, console.bytes + console.start, n < console.length ? n : console.length);
        if (done == -EAGAIN || done == -EINTR)
            return all;
        if (done <= 0) /* it is gone */
            done = console.length;
        console.start = (console.start + done) % ROOM;
        console.length -= done;
        all += done;
    }
    console.start = 0; /* so that few pages are ever used */
    if (console.lost > 0) {
        struct text line = {0};
        text_add(&line, "nodeos: ");
        text_add_number(&line, console.lost);
        text_add(&line, " bytes not shown: the console took nothing\n");
        console.lost = 0;
        console_keep(line.bytes, line.length);
        return all + console_flush();
    }
    return all;
}

void console_write(const char *bytes, size_t n)
{
    console_keep(bytes, n);
    console_flush();
}

int console_is_behind(void)
{
    return console.length > 0;
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
        if (console.length == 0 && pending == 0)
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

void console_open(void)
{
    sys3(__NR_fcntl, 1, F_SETFL, O_NONBLOCK);
    say_through(console_write);
}

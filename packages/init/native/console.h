/*
 * The console. It may be slow, and nobody may read it: what it does not take at once is kept here, and PID 1 goes on.
 * While something is kept, nothing more is read from the application (log.h): it waits for its console, as everywhere.
 */
#ifndef NODEOS_CONSOLE_H
#define NODEOS_CONSOLE_H

#include <asm/ioctls.h>
#include <asm/poll.h>

#include "io.h"

#define PIPE_SIZE (64 << 10) /* pipe(7): what an application that has ended may leave in its pipe */
#define CONSOLE_ROOM (PIPE_SIZE + (16 << 10))
/* At the end of the machine. */
#define CONSOLE_STUCK SECOND /* it takes nothing more */
#define CONSOLE_PATIENCE (8 * SECOND)
#define CONSOLE_PAUSE 10000L /* microseconds */

static struct {
    char bytes[CONSOLE_ROOM]; /* a ring */
    size_t start, length;
    long lost; /* bytes that did not fit */
} console;

static void console_keep(const char *bytes, size_t n)
{
    for (; n > 0 && console.length < CONSOLE_ROOM; n--)
        console.bytes[(console.start + console.length++) % CONSOLE_ROOM] = *bytes++;
    console.lost += n;
}

/* Writes what the console takes now. Returns how much that was. */
static long console_flush(void)
{
    long all = 0;
    while (console.length > 0) {
        size_t n = CONSOLE_ROOM - console.start;
        long done = sys3(__NR_write, 1, console.bytes + console.start, n < console.length ? n : console.length);
        if (done == -EAGAIN || done == -EINTR)
            return all;
        if (done <= 0) /* it is gone: nobody waits for it */
            done = console.length;
        console.start = (console.start + done) % CONSOLE_ROOM;
        console.length -= done;
        all += done;
    }
    console.start = 0; /* so that few pages are ever used */
    if (console.lost > 0) {
        struct text line = {0};
        add(&line, "nodeos: ");
        add_number(&line, console.lost);
        add(&line, " bytes not shown: the console took nothing\n");
        console.lost = 0;
        console_keep(line.bytes, line.length);
        return all + console_flush();
    }
    return all;
}

static void console_write(const char *bytes, size_t n)
{
    console_keep(bytes, n);
    console_flush();
}

/* What a terminal has not sent yet. Of anything else the answer is an error: nothing. */
static int console_pending(void)
{
    int bytes = 0;
    sys3(__NR_ioctl, 1, TIOCOUTQ, &bytes);
    return bytes;
}

/* Waits until the console has sent everything, as long as it goes on. */
static void console_finish(void)
{
    long end = now() + CONSOLE_PATIENCE, moved = now();
    int before = console_pending();
    while (now() < end && now() - moved < CONSOLE_STUCK) {
        long written = console_flush();
        int pending = console_pending();
        if (console.length == 0 && pending == 0)
            return;
        if (written > 0 || pending != before)
            moved = now();
        before = pending;
        rest(CONSOLE_PAUSE);
    }
}

/* For a process beside PID 1, which has no loop that would write the rest: it waits a little, then goes on without. */
static void console_write_beside(const char *bytes, size_t n)
{
    struct pollfd poll = {1, POLLOUT, 0};
    for (long done; n > 0; n -= done, bytes += done) {
        done = sys3(__NR_write, 1, bytes, n);
        if (done == -EAGAIN && sys3(__NR_poll, &poll, 1, CONSOLE_STUCK / 1000) > 0)
            done = 0;
        if (done < 0)
            return;
    }
}

/* From here on PID 1's words wait for nobody. */
static void open_console(void)
{
    sys3(__NR_fcntl, 1, F_SETFL, O_NONBLOCK);
    say_with = console_write;
}

#endif

#include <linux/watchdog.h>

#include "../lib/clock.h"
#include "../lib/io.h"
#include "../lib/say.h"
#include "contract.h"
#include "watchdog.h"

#define SHARE 4 /* it is fed as often as this within its time */
#define LONGEST 3600 /* seconds */

static long seconds, device = -1, due;

int watchdog_read_word(const char *word)
{
    const char *value = text_after(word, WORD_WATCHDOG "=");
    if (value)
        seconds = text_number(value);
    return !!value;
}

/* A driver that cannot do the wanted time keeps its own. */
static void say_other_time(long wanted)
{
    struct text now = {0}, instead = {0};
    text_add_number(&now, seconds);
    text_add_number(&instead, wanted);
    SAY("the watchdog resets the machine after ", now.bytes, " s: it cannot do the ", instead.bytes,
        " s of " WORD_WATCHDOG);
}

void watchdog_open(void)
{
    long wanted = seconds;
    int timeout = seconds < LONGEST ? seconds : LONGEST;
    if (seconds <= 0)
        return;
    device = io_move_high(io_open("/dev/watchdog0", O_WRONLY | O_CLOEXEC));
    if (device < 0)
        return;
    long error = sys3(__NR_ioctl, device, WDIOC_SETTIMEOUT, &timeout);
    if (error >= 0)
        seconds = timeout;
    else if (sys3(__NR_ioctl, device, WDIOC_GETTIMEOUT, &timeout) >= 0 && timeout > 0)
        seconds = timeout;
    if (seconds != wanted)
        say_other_time(wanted);
    watchdog_feed(-1);
}

int watchdog_feed(int wait)
{
    long now = clock_now();
    if (device < 0)
        return wait;
    if (now >= due) {
        sys3(__NR_write, device, "\n", 1);
        due = now + seconds * SECOND / SHARE;
    }
    long left = (due - now) / 1000 + 1;
    return wait < 0 || left < wait ? (int)left : wait;
}

void watchdog_end(int reboots)
{
    if (device < 0)
        return;
    sys3(__NR_write, device, reboots ? "\n" : "V", 1); /* "V" allows that the close stops it */
    if (!reboots)
        sys1(__NR_close, device);
}

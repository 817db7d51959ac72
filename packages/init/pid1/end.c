#include <linux/reboot.h>
#include <linux/wait.h>

#include "../lib/clock.h"
#include "../lib/io.h"
#include "../lib/say.h"
#include "../netroot/devices.h"
#include "../netroot/root.h"
#include "console.h"
#include "contract.h"
#include "end.h"
#include "events.h"
#include "mounts.h"
#include "watchdog.h"

#define PATIENCE (60 * SECOND) /* for all of it, if there are servers */

static const struct { const char *name; unsigned long command; } ENDS[] = {
    {"reboot", LINUX_REBOOT_CMD_RESTART},
    {"poweroff", LINUX_REBOOT_CMD_POWER_OFF},
    {"halt", LINUX_REBOOT_CMD_HALT},
    {"shell", 0},
};

int end_find(const char *word)
{
    for (int i = 0; i < ENDS_COUNT; i++)
        if (text_equal(word, ENDS[i].name))
            return i;
    return -1;
}

const char *end_name(int how)
{
    return ENDS[how].name;
}

static void put_away(void)
{
    sys0(__NR_sync);
    root_put_away();
    mounts_remove();
    sys0(__NR_sync);
    devices_detach();
}

/* In a process of its own: a server that is gone must not keep the machine from its end. */
static void put_away_in_time(void)
{
    int status;
    long deadline = clock_now() + PATIENCE, pid = sys_fork();
    if (pid == 0) {
        put_away();
        sys1(__NR_exit_group, 0);
    }
    while (pid > 0 && sys4(__NR_wait4, pid, &status, WNOHANG, 0) != pid) {
        devices_check_keeper();
        if (devices_seconds_lost() >= LOST || clock_now() > deadline) {
            SAY("the server is gone: what was not yet written is lost");
            return;
        }
        clock_rest(10000);
    }
}

void end_machine(int how, int by_reset)
{
    events_send(EVENT_GONE, 0, 0, 0, 0);
    if (devices_count() > 0)
        put_away_in_time();
    else
        put_away();
    console_finish();
    events_send(EVENT_END, "how", how, 0, 0);
    watchdog_end(how == REBOOT || by_reset);
    sys4(__NR_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2,
         ENDS[how == POWEROFF && by_reset ? REBOOT : how].command, 0);
    for (;;)
        sys_pause();
}

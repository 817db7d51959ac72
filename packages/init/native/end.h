/*
 * How it all ends: what is mounted is put away, servers are told, and the machine reboots, powers off or halts.
 */
#ifndef NODEOS_END_H
#define NODEOS_END_H

#include <linux/reboot.h>

#include "root.h"

#define PATIENCE (60 * SECOND) /* for all of it, if there are servers */
#define LOST 5                 /* seconds without a server after which nothing more is expected of it */

static void put_away(void)
{
    sys0(__NR_sync);
    put_root_away();
    unmount_all();
    sys0(__NR_sync);
    detach_all();
}

/* What waits for a server waits in a process of its own: a server that is gone must not keep the machine from its end. */
static void put_away_in_time(void)
{
    int status;
    long deadline = now() + PATIENCE, pid = sys0(__NR_fork);
    if (pid == 0) {
        put_away();
        sys1(__NR_exit_group, 0);
    }
    while (pid > 0 && sys4(__NR_wait4, pid, &status, WNOHANG, 0) != pid) {
        check_keeper();
        if (seconds_without_server() >= LOST || now() > deadline) {
            SAY("the server is gone: what was not yet written is lost");
            return;
        }
        rest(10000);
    }
}

/* Does not return. */
static void end_machine(int how, unsigned long command)
{
    event(EVENT_GONE, 0, 0, 0, 0);
    if (root.count > 0)
        put_away_in_time();
    else
        put_away();
    console_finish();
    event(EVENT_END, "how", how, 0, 0);
    sys4(__NR_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, command, 0);
    for (;;)
        sys0(__NR_pause);
}

#endif

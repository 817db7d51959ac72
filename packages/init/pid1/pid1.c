/*
 * PID 1: mounts what every program needs, starts the init, reaps orphans, keeps the log, and ends the system. What it
 * supervises, and what the init tells it, is in supervisor.h.
 *
 * On the event port, descriptor 4 of the init, the host may write lines: `poweroff`, `reboot`, and `listens PORT`. The
 * answer to the last one is the event `listening`, if a program listens on that TCP port; else there is none.
 *
 * Signals: SIGTERM and SIGUSR2 power off, SIGINT (Ctrl-Alt-Del) reboots, SIGUSR1 halts; the power button powers off.
 */
#include <asm/poll.h>
#include <asm/signal.h>
#include <linux/reboot.h>
#include <linux/signalfd.h>

#include "../lib/io.h"
#include "../lib/say.h"
#include "../netroot/devices.h"
#include "../netroot/root.h"
#include "buttons.h"
#include "console.h"
#include "contract.h"
#include "end.h"
#include "events.h"
#include "group.h"
#include "lines.h"
#include "log.h"
#include "mounts.h"
#include "port.h"
#include "spawn.h"
#include "supervisor.h"
#include "terminal.h"
#include "usr.h"
#include "watchdog.h"
#include "words.h"

static long signals;

/* Anything else is ignored. */
static void obey_host(char *line)
{
    const char *port;
    if (text_equal(line, "poweroff"))
        supervisor_end(POWEROFF);
    else if (text_equal(line, "reboot"))
        supervisor_end(REBOOT);
    else if ((port = text_after(line, "listens ")) && port_is_open(text_number(port)))
        events_send(EVENT_LISTENING, "port", text_number(port), 0, 0);
}

static void hear_host(void)
{
    static struct lines words;
    lines_pump(&words, events_port(), obey_host);
}

static void on_signal(void)
{
    struct signalfd_siginfo info;
    while (sys3(__NR_read, signals, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGUSR2)
            supervisor_end(POWEROFF);
        else if (info.ssi_signo == SIGINT)
            supervisor_end(REBOOT);
        else if (info.ssi_signo == SIGUSR1)
            supervisor_end(HALT);
    }
    supervisor_reap();
}

/* Signals, and the power button. */
static void hear_signs(void)
{
    on_signal();
    for (int pressed = buttons_pressed(); pressed > 0; pressed--) {
        SAY("power button");
        supervisor_end(POWEROFF);
    }
}

/* While the root is waited for nothing runs yet that would have to end: the machine ends at once. */
static int ends_early(void)
{
    if (events_port() >= 0)
        hear_host();
    hear_signs();
    supervisor_reap();
    console_flush();
    return supervisor_is_ending();
}

/* Before Node.js runs: libuv keeps using a ring that it has made. */
static void forbid_io_uring(void)
{
    io_write_file("/proc/sys/kernel/io_uring_disabled", "2");
}

static void open_signals(void)
{
    unsigned long mask = 1UL << (SIGCHLD - 1) | 1UL << (SIGTERM - 1) | 1UL << (SIGINT - 1) | 1UL << (SIGUSR1 - 1) |
                         1UL << (SIGUSR2 - 1) | 1UL << (SIGPIPE - 1) | 1UL << (KEEPER_ENDED - 1);
    sys4(__NR_rt_sigprocmask, SIG_BLOCK, &mask, 0, sizeof mask);
    signals = io_move_high(sys4(__NR_signalfd4, -1, &mask, sizeof mask, O_NONBLOCK | O_CLOEXEC));
}

static int mount_root(void)
{
    const struct root_host host = {ends_early, mounts_move_first, console_write_beside};
    return root_mount(&host);
}

/* Does not return. */
static void supervise(void)
{
    int host = events_port(); /* poll(2) passes over descriptors below zero */
    for (;;) {
        int behind = console_is_behind();
        struct pollfd poll[4 + MAX_BUTTONS + MAX_CONSOLES + MAX_TERMINAL] = {
            {signals, POLLIN, 0}, {behind ? -1 : spawn_output(), POLLIN, 0}, {spawn_control(), POLLIN, 0}, {host, POLLIN, 0}};
        int count = 4;
        count += buttons_poll(poll + count);
        count += console_poll(poll + count);
        count += terminal_poll(poll + count);
        sys_poll(poll, count, watchdog_feed(supervisor_next()));
        console_flush();
        if (!console_is_behind())
            log_pump(spawn_output());
        terminal_pump();
        supervisor_listen();
        if (poll[3].revents & POLLIN)
            hear_host();
        else if (poll[3].revents)
            host = -1; /* nobody is there: it would say so without end */
        hear_signs();
        supervisor_on_time();
    }
}

START(pid1);

void pid1(long *stack)
{
    (void)stack;
    mounts_add_first();
    io_hold_standard();
    console_open();
    forbid_io_uring();
    words_each(supervisor_read_word);
    spawn_open();
    events_open();
    buttons_open();
    open_signals();
    events_send(EVENT_PID1, 0, 0, 0, 0);
    sys4(__NR_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_CAD_OFF, 0);
    int complete = mount_root();
    log_open();
    complete = complete && usr_mount();
    if (complete)
        usr_mount_data();
    group_open();
    watchdog_open();
    supervisor_start(complete);
    supervisor_reap();
    supervise();
    for (;;)
        ;
}

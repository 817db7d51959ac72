#include <asm/signal.h>
#include <linux/wait.h>

#include "../lib/clock.h"
#include "../lib/io.h"
#include "../lib/say.h"
#include "../netroot/devices.h"
#include "../netroot/root.h"
#include "contract.h"
#include "end.h"
#include "events.h"
#include "group.h"
#include "lines.h"
#include "log.h"
#include "spawn.h"
#include "supervisor.h"
#include "terminal.h"
#include "usr.h"
#include "watchdog.h"

#define GRACE (5 * SECOND)   /* from SIGTERM to SIGKILL */
#define STEADY (60 * SECOND) /* an application that runs this long has started well; large ones take 20 s to fail */
#define MAX_BACKOFF 60       /* seconds */
#define PAUSE (SECOND / 10)  /* between two looks at what is left of the application */
#define RENEW_AGAIN 60       /* seconds, if a renewal failed */

static const char *const RESTARTS[] = {"never", "on-failure", "always"};
enum { NEVER, ON_FAILURE, ALWAYS, RESTARTS_COUNT };

static struct {
    int on_exit, restart;
    long attempts;                      /* failures in a row before giving up; 0: never give up */
    long stop_signal;                   /* ends the service, which then ends the others; 0: SIGTERM to everybody */
    int booted;                         /* the boot role has done its work */
    int off_by_reset;                   /* the machine cannot power off, but ends when it is reset */
    long service, helper;               /* process ids, 0 if not running */
    long started;                       /* when the service was started */
    long failures, backoff;             /* in a row; seconds */
    int waiting;                        /* for what is left of the application */
    long restart_at, renew_at, kill_at; /* 0: not set */
    int kills;                          /* how often everything was sent SIGKILL */
    int ending;                         /* an end of end.h, or -1 */
    int last_status;
} state = {.on_exit = REBOOT, .restart = ON_FAILURE, .ending = -1};

static int find_restart(const char *word)
{
    for (int i = 0; i < RESTARTS_COUNT; i++)
        if (text_equal(word, RESTARTS[i]))
            return i;
    return -1;
}

void supervisor_read_word(char *word)
{
    const char *value;
    /* These two count even if the init never runs. */
    if ((value = text_after(word, WORD_ON_EXIT "=")) && end_find(value) >= 0)
        state.on_exit = end_find(value);
    else if ((value = text_after(word, WORD_ATTEMPTS "=")))
        state.attempts = text_number(value);
    else if (text_equal(word, WORD_POWER_OFF "=reset"))
        state.off_by_reset = 1;
    else if (!root_read_word(word) && !usr_read_word(word))
        watchdog_read_word(word);
}

static void service_ended(int status);

static void start_service(const char *role)
{
    events_send(EVENT_START, 0, 0, 0, 0);
    state.restart_at = 0;
    state.started = clock_now();
    state.service = spawn_init(role, 0);
    if (!state.service)
        service_ended(NOT_STARTED << 8);
}

/* What is left of the application would still have its port, or its files. */
static void start_again(void)
{
    if (group_is_empty()) {
        start_service(state.booted ? "start" : "boot");
        return;
    }
    if (!state.waiting++)
        SAY("processes of the application are still there: waiting for their end");
    group_end();
    state.restart_at = clock_now() + PAUSE;
}

void supervisor_end(int how)
{
    if (state.ending >= 0)
        return;
    events_send(EVENT_STOP, "how", how, 0, 0);
    state.ending = how;
    state.restart_at = state.renew_at = 0;
    state.kill_at = clock_now() + GRACE;
    if (state.service && state.stop_signal)
        sys2(__NR_kill, state.service, state.stop_signal);
    else
        sys2(__NR_kill, -1, SIGTERM);
    sys2(__NR_kill, -1, SIGCONT);
}

static void obey(char *line)
{
    const char *value;
    int index;
    if ((value = text_after(line, "onexit ")) && (index = end_find(value)) >= 0)
        state.on_exit = index;
    else if ((value = text_after(line, "restart ")) && (index = find_restart(value)) >= 0)
        state.restart = index;
    else if ((value = text_after(line, "attempts ")))
        state.attempts = text_number(value);
    else if ((value = text_after(line, "signal ")))
        state.stop_signal = text_number(value);
    else if ((value = text_after(line, "renew ")))
        state.renew_at = clock_now() + text_number(value) * SECOND;
    else if ((value = text_after(line, "stop ")) && (index = end_find(value)) >= 0 && index != SHELL)
        supervisor_end(index);
    else if (text_equal(line, "booted"))
        state.booted = 1;
    else if (text_equal(line, "terminal"))
        terminal_open();
}

void supervisor_listen(void)
{
    static struct lines wishes;
    lines_pump(&wishes, spawn_control(), obey);
}

static void give_up(void)
{
    int how = state.on_exit;
    if (how != SHELL) {
        SAY(end_name(how), " (" WORD_ON_EXIT ")");
        supervisor_end(how);
        return;
    }
    state.restart = NEVER;
    state.on_exit = REBOOT;
    start_service("shell");
}

/* Appends a wait status in words: "status 3" or "signal 9". */
static void describe(struct text *t, int status)
{
    text_add(t, status & 0x7f ? "signal " : "status ");
    text_add_number(t, status & 0x7f ? status & 0x7f : status >> 8 & 0xff);
    if (group_was_out_of_memory()) {
        text_add(t, " (out of memory: it may have ");
        text_add_number(t, group_memory());
        text_add(t, " MiB)");
    }
}

static void service_ended(int status)
{
    int steady = clock_now() - state.started >= STEADY;
    state.service = 0;
    state.last_status = status;
    events_send(EVENT_EXIT, "status", status >> 8 & 0xff, "signal", status & 0x7f);
    if (state.ending >= 0) {
        if (state.stop_signal)
            sys2(__NR_kill, -1, SIGTERM); /* what it has left behind */
        return;
    }
    int again = state.restart == ALWAYS || (state.restart == ON_FAILURE && status != 0);
    if (!again) {
        if (status != 0) {
            struct text how = {0};
            describe(&how, status);
            SAY("the application ended with ", how.bytes);
        }
        give_up();
        return;
    }
    state.failures = steady ? 1 : state.failures + 1;
    state.backoff = steady || state.backoff == 0 ? 1 : state.backoff * 2;
    if (state.backoff > MAX_BACKOFF)
        state.backoff = MAX_BACKOFF;
    struct text line = {0}, rest = {0};
    describe(&line, status);
    if (state.attempts > 0 && state.failures >= state.attempts) {
        text_add_number(&rest, state.failures);
        SAY("the application ended with ", line.bytes, ", ", rest.bytes, " times in a row: giving up");
        events_send(EVENT_GAVE_UP, "failures", state.failures, 0, 0);
        give_up();
        return;
    }
    text_add_number(&rest, state.backoff);
    SAY("the application ended with ", line.bytes, "; starting it again in ", rest.bytes, " s");
    group_end();
    state.waiting = 0;
    state.restart_at = clock_now() + state.backoff * SECOND;
}

void supervisor_start(int complete)
{
    if (complete)
        start_service("boot");
    else
        give_up();
}

int supervisor_is_ending(void)
{
    return state.ending >= 0;
}

static void finish(void)
{
    log_drain(spawn_output());
    end_machine(state.ending, state.off_by_reset);
}

void supervisor_reap(void)
{
    int status;
    long pid;
    while ((pid = sys4(__NR_wait4, -1, &status, WNOHANG, 0)) > 0) {
        supervisor_listen();
        if (pid == state.service) {
            log_drain(spawn_output());
            service_ended(status);
        } else if (pid == state.helper) {
            state.helper = 0;
            if (status != 0 && !state.renew_at)
                state.renew_at = clock_now() + RENEW_AGAIN * SECOND;
        }
    }
    devices_check_keeper();
    /* Nobody is left: the end need not wait for its grace. */
    if (pid == -ECHILD && state.ending >= 0)
        finish();
}

void supervisor_on_time(void)
{
    long time = clock_now();
    if (state.restart_at && time >= state.restart_at)
        start_again();
    if (state.renew_at && time >= state.renew_at && !state.helper) {
        state.renew_at = 0;
        state.helper = spawn_init("renew", 1);
    }
    if (state.kill_at && time >= state.kill_at) {
        state.kill_at = time + SECOND;
        /* What waits for a server can end once there is one: until then the keeper, which looks for it, must live. */
        if (!state.kills || !devices_seconds_lost())
            sys2(__NR_kill, -1, SIGKILL);
        supervisor_reap();
        /* A process that waits for a file on a server that is gone cannot even be killed. */
        if (++state.kills > LOST && devices_seconds_lost() >= LOST)
            finish();
    }
}

int supervisor_next(void)
{
    long times[] = {state.restart_at, state.helper ? 0 : state.renew_at, state.kill_at}, first = 0;
    for (int i = 0; i < 3; i++)
        if (times[i] && (!first || times[i] < first))
            first = times[i];
    if (!first)
        return -1;
    long wait = (first - clock_now()) / 1000 + 1;
    return wait < 0 ? 0 : wait > 3600000 ? 3600000 : (int)wait;
}

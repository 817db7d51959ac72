/*
 * PID 1: mounts what every program needs, starts the init, reaps orphans, keeps the log, and ends the system.
 *
 * It is the supervisor. The init (Node.js) brings the machine up and then becomes the application, so that a boot
 * starts Node.js once and no second runtime stays in memory; starting the application again, and renewing what must
 * be renewed, is done from here by starting the init with another role:
 *
 *     /bin/node /sbin/init boot|start|renew|shell
 *
 * The init says what it wants with lines on descriptor 3: `onexit reboot|poweroff|halt|shell`,
 * `restart never|on-failure|always`, `attempts N`, `renew SECONDS`, `booted`, `stop poweroff|reboot|halt`.
 * Descriptor 4 is the event port, on which the host may write `poweroff` or `reboot`. Both are closed before the
 * application runs.
 *
 * Signals: SIGTERM and SIGUSR2 power off, SIGINT (Ctrl-Alt-Del) reboots, SIGUSR1 halts; the power button powers off.
 */
#include <asm/poll.h>
#include <linux/signalfd.h>
#include <linux/wait.h>

#include "end.h"
#include "log.h"
#include "spawn.h"

#define GRACE (5 * SECOND)        /* from SIGTERM to SIGKILL */
#define STEADY (10 * SECOND)      /* who runs this long has started well */
#define MAX_BACKOFF 60            /* seconds */
#define PAUSE (SECOND / 10)       /* between two looks at what is left of the application */

static const struct { const char *name; unsigned long command; } ENDS[] = {
    {"reboot", LINUX_REBOOT_CMD_RESTART},
    {"poweroff", LINUX_REBOOT_CMD_POWER_OFF},
    {"halt", LINUX_REBOOT_CMD_HALT},
    {"shell", 0},
};
enum { REBOOT, POWEROFF, HALT, SHELL, ENDS_COUNT };

static const char *const RESTARTS[] = {"never", "on-failure", "always"};
enum { NEVER, ON_FAILURE, ALWAYS, RESTARTS_COUNT };

static struct {
    int on_exit, restart;
    long attempts;       /* failures in a row before giving up; 0: never give up */
    int booted;          /* the boot role has done its work */
    int off_by_reset;    /* the machine cannot power off, but ends when it is reset */
    long service, helper;            /* process ids, 0 if not running */
    long started;                    /* when the service was started */
    long failures, backoff;          /* in a row; seconds */
    int waiting;                     /* for what is left of the application */
    long restart_at, renew_at, kill_at;  /* 0: not set */
    int kills;                       /* how often everything was sent SIGKILL */
    int ending;                      /* an index of ENDS, or -1 */
    int last_status;
} state = {.on_exit = REBOOT, .restart = ON_FAILURE, .ending = -1};

static long signals;

static int find(const char *word, const char *const *names, int count)
{
    for (int i = 0; i < count; i++)
        if (equal(word, names[i]))
            return i;
    return -1;
}

static int find_end(const char *word)
{
    for (int i = 0; i < ENDS_COUNT; i++)
        if (equal(word, ENDS[i].name))
            return i;
    return -1;
}

static void read_word(char *word)
{
    const char *value;
    /* How it ends, and after how many failures, counts even if the init never runs. */
    if ((value = after(word, WORD_ON_EXIT "=")) && find_end(value) >= 0)
        state.on_exit = find_end(value);
    else if ((value = after(word, WORD_ATTEMPTS "=")))
        state.attempts = number(value);
    else if (equal(word, WORD_POWER_OFF "=reset"))
        state.off_by_reset = 1;
    else if (!read_root_word(word))
        read_usr_word(word);
}

static void service_ended(int status);

static void start_service(const char *role)
{
    event(EVENT_START, 0, 0, 0, 0);
    state.restart_at = 0;
    state.started = now();
    state.service = spawn(role, 0);
    if (!state.service)
        service_ended(NOT_STARTED << 8);
}

/* What is left of the application would have its port, or its files, still. */
static void start_again(void)
{
    if (group_is_empty()) {
        start_service(state.booted ? "start" : "boot");
        return;
    }
    if (!state.waiting++)
        SAY("processes of the application are still there: waiting for their end");
    end_group();
    state.restart_at = now() + PAUSE;
}

static void begin_end(int how)
{
    if (state.ending >= 0)
        return;
    event(EVENT_STOP, "how", how, 0, 0);
    state.ending = how;
    state.restart_at = state.renew_at = 0;
    state.kill_at = now() + GRACE;
    sys2(__NR_kill, -1, SIGTERM);
    sys2(__NR_kill, -1, SIGCONT);
}

static void obey(char *line)
{
    const char *value;
    int index;
    if ((value = after(line, "onexit ")) && (index = find_end(value)) >= 0)
        state.on_exit = index;
    else if ((value = after(line, "restart ")) && (index = find(value, RESTARTS, RESTARTS_COUNT)) >= 0)
        state.restart = index;
    else if ((value = after(line, "attempts ")))
        state.attempts = number(value);
    else if ((value = after(line, "renew ")))
        state.renew_at = now() + number(value) * SECOND;
    else if ((value = after(line, "stop ")) && (index = find_end(value)) >= 0 && index != SHELL)
        begin_end(index);
    else if (equal(line, "booted"))
        state.booted = 1;
}

static void pump_control(void)
{
    static char line[256];
    static size_t n;
    char c;
    while (sys3(__NR_read, control[0], &c, 1) == 1) {
        if (c == '\n') {
            line[n] = 0;
            obey(line);
            n = 0;
        } else if (n < sizeof line - 1)
            line[n++] = c;
    }
}

static void give_up(void)
{
    int how = state.on_exit;
    if (how != SHELL) {
        SAY(ENDS[how].name, " (" WORD_ON_EXIT ")");
        begin_end(how);
        return;
    }
    state.restart = NEVER;
    state.on_exit = REBOOT;
    start_service("shell");
}

/* A wait status in words: "status 3" or "signal 9". */
static void describe(struct text *t, int status)
{
    add(t, status & 0x7f ? "signal " : "status ");
    add_number(t, status & 0x7f ? status & 0x7f : status >> 8 & 0xff);
    if (was_out_of_memory()) {
        add(t, " (out of memory: it may have ");
        add_number(t, group.memory / MIB);
        add(t, " MiB)");
    }
}

static void service_ended(int status)
{
    int steady = now() - state.started >= STEADY;
    state.service = 0;
    state.last_status = status;
    event(EVENT_EXIT, "status", status >> 8 & 0xff, "signal", status & 0x7f);
    if (state.ending >= 0)
        return;
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
        add_number(&rest, state.failures);
        SAY("the application ended with ", line.bytes, ", ", rest.bytes, " times in a row: giving up");
        event(EVENT_GAVE_UP, "failures", state.failures, 0, 0);
        give_up();
        return;
    }
    add_number(&rest, state.backoff);
    SAY("the application ended with ", line.bytes, "; starting it again in ", rest.bytes, " s");
    end_group();
    state.waiting = 0;
    state.restart_at = now() + state.backoff * SECOND;
}

static void finish(void)
{
    drain_output(output[0]);
    end_machine(state.ending, ENDS[state.ending == POWEROFF && state.off_by_reset ? REBOOT : state.ending].command);
}

static void reap(void)
{
    int status;
    long pid;
    while ((pid = sys4(__NR_wait4, -1, &status, WNOHANG, 0)) > 0) {
        pump_control();
        if (pid == state.service) {
            drain_output(output[0]);
            service_ended(status);
        } else if (pid == state.helper) {
            state.helper = 0;
            if (status != 0 && !state.renew_at)
                state.renew_at = now() + 60 * SECOND;
        }
    }
    check_keeper();
    /* Nobody is left: the end need not wait for its grace. */
    if (pid == -ECHILD && state.ending >= 0)
        finish();
}

/* What the host wants. Anything but the two words is ignored. */
static void hear_host(void)
{
    char word[16];
    long n = sys3(__NR_read, events, word, sizeof word - 1);
    if (n <= 0)
        return;
    word[n] = 0;
    if (equal(word, "poweroff\n"))
        begin_end(POWEROFF);
    else if (equal(word, "reboot\n"))
        begin_end(REBOOT);
}

static void on_signal(void)
{
    struct signalfd_siginfo info;
    while (sys3(__NR_read, signals, &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGUSR2)
            begin_end(POWEROFF);
        else if (info.ssi_signo == SIGINT)
            begin_end(REBOOT);
        else if (info.ssi_signo == SIGUSR1)
            begin_end(HALT);
    }
    reap();
}

static void on_time(void)
{
    long time = now();
    if (state.restart_at && time >= state.restart_at)
        start_again();
    if (state.renew_at && time >= state.renew_at && !state.helper) {
        state.renew_at = 0;
        state.helper = spawn("renew", 1);
    }
    if (state.kill_at && time >= state.kill_at) {
        state.kill_at = time + SECOND;
        /* Who waits for a server ends when there is one. Until then the keeper, which looks for it, is left alone. */
        if (!state.kills || !seconds_without_server())
            sys2(__NR_kill, -1, SIGKILL);
        reap();
        /* Who waits for a file on a server that is gone cannot even be killed. */
        if (++state.kills > LOST && seconds_without_server() >= LOST)
            finish();
    }
}

/* Milliseconds to the next thing to do; -1 if there is none. */
static int next_time(void)
{
    long times[] = {state.restart_at, state.helper ? 0 : state.renew_at, state.kill_at}, first = 0;
    for (int i = 0; i < 3; i++)
        if (times[i] && (!first || times[i] < first))
            first = times[i];
    if (!first)
        return -1;
    long wait = (first - now()) / 1000 + 1;
    return wait < 0 ? 0 : wait > 3600000 ? 3600000 : (int)wait;
}

static void open_all(void)
{
    open_pipes();
    each_name("/sys/class/virtio-ports", try_port);
    if (events >= 0)
        events = high(events);
    each_name("/dev/input", try_button);
    unsigned long mask = 1UL << (SIGCHLD - 1) | 1UL << (SIGTERM - 1) | 1UL << (SIGINT - 1) | 1UL << (SIGUSR1 - 1) |
                         1UL << (SIGUSR2 - 1) | 1UL << (SIGPIPE - 1) | 1UL << (KEEPER_ENDED - 1);
    sys4(__NR_rt_sigprocmask, SIG_BLOCK, &mask, 0, sizeof mask);
    signals = high(sys4(__NR_signalfd4, -1, &mask, sizeof mask, O_NONBLOCK | O_CLOEXEC));
}

/* Signals, and the power button. */
static void hear_signs(void)
{
    on_signal();
    for (int i = 0; i < button_count; i++)
        if (pressed(buttons[i])) {
            SAY("power button");
            begin_end(POWEROFF);
        }
}

/* While the root is waited for nothing runs yet that would have to end: the machine ends at once. */
static int ends_early(void)
{
    if (events >= 0)
        hear_host();
    hear_signs();
    reap();
    console_flush();
    return state.ending >= 0;
}

__attribute__((noreturn, used)) void pid1(void)
{
    mount_all();
    hold_standard();
    open_console();
    close_rings();
    each_word(read_word);
    open_all();
    event(EVENT_PID1, 0, 0, 0, 0);
    sys4(__NR_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_CAD_OFF, 0);
    int complete = mount_root(ends_early);
    open_log();
    complete = complete && mount_usr();
    open_group();
    if (complete)
        start_service("boot");
    else
        give_up();
    reap();
    int host = events; /* poll(2) passes over descriptors below zero */
    for (;;) {
        int behind = console.length > 0;
        struct pollfd poll[5 + MAX_BUTTONS] = {{signals, POLLIN, 0},
                                               {behind ? -1 : output[0], POLLIN, 0},
                                               {control[0], POLLIN, 0},
                                               {host, POLLIN, 0},
                                               {behind ? 1 : -1, POLLOUT, 0}};
        for (int i = 0; i < button_count; i++)
            poll[5 + i] = (struct pollfd){buttons[i], POLLIN, 0};
        sys3(__NR_poll, poll, 5 + button_count, next_time());
        console_flush();
        if (console.length == 0)
            pump_output(output[0]);
        pump_control();
        if (poll[3].revents & POLLIN)
            hear_host();
        else if (poll[3].revents)
            host = -1; /* nobody is there: it would say so without end */
        hear_signs();
        on_time();
    }
}

/* The kernel enters here with a stack that is aligned to 16 bytes and no return address. */
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tcall pid1\n");

#include <asm/signal.h>
#include <linux/resource.h>

#include "../lib/io.h"
#include "../lib/say.h"
#include "contract.h"
#include "events.h"
#include "group.h"
#include "spawn.h"

/* As systemd has it. Node.js raises the first to the second. */
#define OPEN_FILES 1024
#define MAX_OPEN_FILES 524288

static long output[2], control[2], devnull;

/* Its read end does not wait. The init's descriptors 3 and 4 must be free: all of PID 1's lie above. */
static void open_pipe(long *ends)
{
    /* pipe2 fills ints */
    int pair[2];
    sys2(__NR_pipe2, pair, O_CLOEXEC);
    ends[0] = io_move_high(pair[0]);
    ends[1] = io_move_high(pair[1]);
    sys3(__NR_fcntl, ends[0], F_SETFL, O_NONBLOCK);
}

void spawn_open(void)
{
    open_pipe(output);
    open_pipe(control);
    devnull = io_move_high(io_open("/dev/null", O_RDWR));
}

long spawn_output(void)
{
    return output[0];
}

long spawn_control(void)
{
    return control[0];
}

/* In the new process. Returns only if it fails. */
static void run_init(const char *role)
{
    unsigned long none = 0;
    struct rlimit files = {OPEN_FILES, MAX_OPEN_FILES};
    sys4(__NR_rt_sigprocmask, SIG_SETMASK, &none, 0, sizeof none);
    sys0(__NR_setsid);
    sys2(__NR_setrlimit, RLIMIT_NOFILE, &files);
    sys_dup2(devnull, 0);
    sys_dup2(output[1], 1);
    sys_dup2(output[1], 2);
    sys_dup2(control[1], 3);
    if (events_port() >= 0)
        sys_dup2(events_port(), 4);
    const char *const arguments[] = {PATH_NODE, PATH_INIT, role, 0};
    const char *environment[] = {"PATH=/bin:/sbin", "HOME=/root", "TERM=linux", 0, 0};
    /* A runtime may bring a library that is to be loaded before all others, such as an allocator. */
    if (sys3(__NR_faccessat, AT_FDCWD, "/usr" PATH_PRELOAD, 0) == 0)
        environment[3] = "LD_PRELOAD=" PATH_PRELOAD;
    long error = sys3(__NR_execve, arguments[0], arguments, environment);
    struct text code = {0};
    text_add_number(&code, -error);
    say_through(0); /* into the pipe */
    SAY("start " PATH_NODE ": error ", code.bytes, error == -ENOENT ? " (it is not in this image)" : "");
}

long spawn_init(const char *role, int is_helper)
{
    long pid = is_helper ? sys_fork() : group_fork();
    if (pid == 0) {
        if (is_helper)
            io_write_file("/proc/self/oom_score_adj", "1000");
        run_init(role);
        sys1(__NR_exit_group, NOT_STARTED);
    }
    if (pid > 0)
        return pid;
    struct text code = {0};
    text_add_number(&code, -pid);
    SAY("start the init (", role, "): error ", code.bytes);
    return 0;
}

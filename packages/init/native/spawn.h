/*
 * Starting the init: with pipes for its output and its wishes, and nothing else of PID 1's.
 */
#ifndef NODEOS_SPAWN_H
#define NODEOS_SPAWN_H

#include <linux/resource.h>

#include "group.h"

/* As systemd has it. Node.js takes what it may have. */
#define OPEN_FILES 1024
#define MAX_OPEN_FILES 524288

static long output[2], control[2], devnull;

/* The init's descriptors 3 and 4 must be free: everything of ours lies above. */
static long high(long fd)
{
    long copy = sys3(__NR_fcntl, fd, F_DUPFD_CLOEXEC, 10);
    sys1(__NR_close, fd);
    return copy;
}

/* Its read end does not wait. */
static void open_pipe(long *ends)
{
    /* pipe2 fills two ints, not two longs */
    int pair[2];
    sys2(__NR_pipe2, pair, O_CLOEXEC);
    ends[0] = high(pair[0]);
    ends[1] = high(pair[1]);
    sys3(__NR_fcntl, ends[0], F_SETFL, O_NONBLOCK);
}

static void open_pipes(void)
{
    open_pipe(output);
    open_pipe(control);
    devnull = high(open_at("/dev/null", O_RDWR));
}

/* In the new process. Returns only if it fails. */
static void run_init(const char *role)
{
    unsigned long none = 0;
    struct rlimit files = {OPEN_FILES, MAX_OPEN_FILES};
    sys4(__NR_rt_sigprocmask, SIG_SETMASK, &none, 0, sizeof none);
    sys0(__NR_setsid);
    sys2(__NR_setrlimit, RLIMIT_NOFILE, &files);
    sys2(__NR_dup2, devnull, 0);
    sys2(__NR_dup2, output[1], 1);
    sys2(__NR_dup2, output[1], 2);
    sys2(__NR_dup2, control[1], 3);
    if (events >= 0)
        sys2(__NR_dup2, events, 4);
    const char *const arguments[] = {PATH_NODE, PATH_INIT, role, 0};
    const char *environment[] = {"PATH=/bin:/sbin", "HOME=/root", "TERM=linux", 0, 0};
    /* A runtime may bring a library that is to be loaded before all others, such as an allocator. */
    if (sys3(__NR_faccessat, AT_FDCWD, "/usr" PATH_PRELOAD, 0) == 0)
        environment[3] = "LD_PRELOAD=" PATH_PRELOAD;
    long error = sys3(__NR_execve, arguments[0], arguments, environment);
    struct text code = {0};
    add_number(&code, -error);
    say_with = write_to_output; /* which is the pipe now */
    SAY("start " PATH_NODE ": error ", code.bytes, error == -2 ? " (it is not in this image)" : "");
}

/* The service is in the application's group. A helper is not, and when memory is short it goes first: it is started
 * again. Returns a process id, or 0. */
static long spawn(const char *role, int is_helper)
{
    long pid = is_helper ? sys0(__NR_fork) : fork_into_group();
    if (pid == 0) {
        if (is_helper)
            write_file("/proc/self/oom_score_adj", "1000");
        run_init(role);
        sys1(__NR_exit_group, 127);
    }
    if (pid > 0)
        return pid;
    struct text code = {0};
    add_number(&code, -pid);
    SAY("start the init (", role, "): error ", code.bytes);
    return 0;
}

#endif

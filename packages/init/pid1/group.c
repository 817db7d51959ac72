#include <asm/signal.h>
#include <linux/mount.h>
#include <linux/sched.h>

#include "../lib/io.h"
#include "../lib/say.h"
#include "group.h"

#define GROUPS "/sys/fs/cgroup"
#define GROUP GROUPS "/app"
#define MIB (1L << 20)

static struct {
    long folder; /* -1: there is no group */
    long memory; /* bytes that it may have; 0: no limit */
    long kills;  /* how often the kernel has ended it for taking more */
} group = {.folder = -1};

/* The number behind a name in a file of lines such as "name 1" or "Name:   1 kB"; 0 if it is not there. */
static long number_in(const char *text, const char *name)
{
    while (*text) {
        const char *rest = text_after(text, name);
        if (rest && (*rest == ' ' || *rest == ':')) {
            while (*rest == ' ' || *rest == ':')
                rest++;
            return text_number(rest);
        }
        while (*text && *text++ != '\n')
            ;
    }
    return 0;
}

static long group_number(const char *file, const char *name)
{
    char text[512];
    io_read_file_in(group.folder, file, text, sizeof text);
    return number_in(text, name);
}

/* All that is free now, but for what PID 1 and the kernel need when the application takes the rest. */
static long memory_for_application(void)
{
    char text[2048];
    io_read_file("/proc/meminfo", text, sizeof text);
    long total = number_in(text, "MemTotal") << 10, left = total / 16;
    left = left < 4 * MIB ? 4 * MIB : left > 64 * MIB ? 64 * MIB : left;
    return (number_in(text, "MemAvailable") << 10) - left;
}

/* Half of what the kernel allows with this memory, as it limits a user. */
static long processes_for_application(void)
{
    char text[32];
    io_read_file("/proc/sys/kernel/threads-max", text, sizeof text);
    return text_number(text) / 2;
}

static void limit(const char *name, long value)
{
    struct text path = {0}, content = {0};
    text_add(&path, GROUP "/");
    text_add(&path, name);
    text_add_number(&content, value);
    if (value > 0 && !io_write_file(path.bytes, content.bytes))
        SAY("limit ", path.bytes, " to ", content.bytes, ": the kernel refuses");
}

void group_open(void)
{
    if (sys5(__NR_mount, "cgroup2", GROUPS, "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0) < 0)
        return;
    io_write_file(GROUPS "/cgroup.subtree_control", "+memory +pids");
    sys_mkdir(GROUP, 0755);
    group.folder = io_open(GROUP, O_PATH | O_DIRECTORY);
    if (group.folder < 0)
        return;
    group.memory = memory_for_application();
    limit("memory.max", group.memory);
    limit("memory.oom.group", 1); /* an application is ended and started again as a whole */
    limit("pids.max", processes_for_application());
}

long group_fork(void)
{
    struct clone_args how = {.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = group.folder};
    return group.folder < 0 ? sys_fork() : sys2(__NR_clone3, &how, sizeof how);
}

void group_end(void)
{
    long fd = io_open_in(group.folder, "cgroup.kill", O_WRONLY);
    if (fd < 0)
        return;
    sys3(__NR_write, fd, "1", 1);
    sys1(__NR_close, fd);
}

int group_is_empty(void)
{
    return group.folder < 0 || !group_number("cgroup.events", "populated");
}

long group_memory(void)
{
    return group.memory / MIB;
}

int group_was_out_of_memory(void)
{
    long before = group.kills;
    if (group.folder >= 0)
        group.kills = group_number("memory.events", "oom_group_kill");
    return group.kills != before;
}

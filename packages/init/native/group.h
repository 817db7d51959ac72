/*
 * The application's processes as a group: what they may take of the machine, and their end.
 * https://docs.kernel.org/admin-guide/cgroup-v2.html
 *
 * Without cgroups in the kernel there is no group, and no limit.
 */
#ifndef NODEOS_GROUP_H
#define NODEOS_GROUP_H

#include <asm/signal.h>
#include <linux/sched.h>

#include "machine.h"

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
        const char *rest = after(text, name);
        if (rest && (*rest == ' ' || *rest == ':')) {
            while (*rest == ' ' || *rest == ':')
                rest++;
            return number(rest);
        }
        while (*text && *text++ != '\n')
            ;
    }
    return 0;
}

static long group_number(const char *file, const char *name)
{
    char text[512];
    read_file_in(group.folder, file, text, sizeof text);
    return number_in(text, name);
}

/* All that is free now, but for what PID 1 and the kernel need when the application takes the rest. */
static long memory_for_application(void)
{
    char text[2048];
    read_file("/proc/meminfo", text, sizeof text);
    long total = number_in(text, "MemTotal") << 10, left = total / 16;
    left = left < 4 * MIB ? 4 * MIB : left > 64 * MIB ? 64 * MIB : left;
    return (number_in(text, "MemAvailable") << 10) - left;
}

/* Half of all that the kernel makes, for this memory; as a user's own limit is. */
static long processes_for_application(void)
{
    char text[32];
    read_file("/proc/sys/kernel/threads-max", text, sizeof text);
    return number(text) / 2;
}

static void limit(const char *name, long value)
{
    struct text path = {0}, content = {0};
    add(&path, GROUP "/");
    add(&path, name);
    add_number(&content, value);
    if (value > 0 && !write_file(path.bytes, content.bytes))
        SAY("limit ", path.bytes, " to ", content.bytes, ": the kernel refuses");
}

static void open_group(void)
{
    if (sys5(__NR_mount, "cgroup2", GROUPS, "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0) < 0)
        return;
    write_file(GROUPS "/cgroup.subtree_control", "+memory +pids");
    sys2(__NR_mkdir, GROUP, 0755);
    group.folder = open_at(GROUP, O_PATH | O_DIRECTORY);
    if (group.folder < 0)
        return;
    group.memory = memory_for_application();
    limit("memory.max", group.memory);
    limit("memory.oom.group", 1); /* an application of which a part is missing is started again as a whole */
    limit("pids.max", processes_for_application());
}

/* fork(2), into the group if there is one. */
static long fork_into_group(void)
{
    struct clone_args how = {.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = group.folder};
    return group.folder < 0 ? sys0(__NR_fork) : sys2(__NR_clone3, &how, sizeof how);
}

/* Ends what is left of the group. */
static void end_group(void)
{
    long fd = sys4(__NR_openat, group.folder, "cgroup.kill", O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return;
    sys3(__NR_write, fd, "1", 1);
    sys1(__NR_close, fd);
}

static int group_is_empty(void)
{
    return group.folder < 0 || !group_number("cgroup.events", "populated");
}

/* Whether the kernel has ended the group since it was asked last, because there was no memory left for it. */
static int was_out_of_memory(void)
{
    long before = group.kills;
    if (group.folder >= 0)
        group.kills = group_number("memory.events", "oom_group_kill");
    return group.kills != before;
}

#endif

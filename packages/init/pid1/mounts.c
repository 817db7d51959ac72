#include "../lib/clock.h"
#include "../lib/io.h"
#include "../lib/say.h"
#include "mounts.h"

#define MNT_DETACH 2 /* linux/fs.h keeps it to itself */
#define DEVICE_WAIT (3 * SECOND)
#define DEVICE_PAUSE 2000L /* microseconds */

static const struct { const char *type, *path; long flags; const char *options; } FIRST[] = {
    /* Only root sees the processes of others: proc(5). */
    {"proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "hidepid=2"},
    {"sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0},
    {"devtmpfs", "/dev", MS_NOSUID, 0},
};

int mounts_add(const char *source, const char *path, const char *type, long flags, const char *options)
{
    long error, deadline = clock_now() + DEVICE_WAIT;
    for (;;) {
        error = sys5(__NR_mount, source, path, type, flags, options);
        if (error >= 0)
            return 1;
        if ((error != -ENOENT && error != -ENXIO) || clock_now() > deadline)
            break;
        clock_rest(DEVICE_PAUSE);
    }
    struct text code = {0};
    text_add_number(&code, -error);
    SAY("mount ", type, " ", source, " on ", path, ": error ", code.bytes);
    return 0;
}

void mounts_add_first(void)
{
    for (size_t i = 0; i < sizeof FIRST / sizeof *FIRST; i++)
        mounts_add(FIRST[i].type, FIRST[i].path, FIRST[i].type, FIRST[i].flags, FIRST[i].options);
}

void mounts_move_first(const char *folder)
{
    for (size_t i = 0; i < sizeof FIRST / sizeof *FIRST; i++) {
        struct text target = {0};
        text_add(&target, folder);
        text_add(&target, FIRST[i].path);
        sys_mkdir(target.bytes, 0755);
        sys5(__NR_mount, FIRST[i].path, target.bytes, 0, MS_MOVE, 0);
    }
}

void mounts_remove(void)
{
    static char table[16384];
    size_t end = io_read_file("/proc/mounts", table, sizeof table);
    while (end > 0) {
        size_t start = end - 1;
        while (start > 0 && table[start - 1] != '\n')
            start--;
        char *path = table + start;
        while (*path && *path != ' ' && *path != '\n')
            path++;
        if (*path == ' ') {
            char *stop = ++path;
            while (*stop && *stop != ' ' && *stop != '\n')
                stop++;
            *stop = 0;
            if (!text_equal(path, "/") && sys2(__NR_umount2, path, 0) < 0)
                sys2(__NR_umount2, path, MNT_DETACH);
        }
        end = start;
    }
}

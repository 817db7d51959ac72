/*
 * The machine as PID 1 sees it: first mounts, event port, power button.
 */
#ifndef NODEOS_MACHINE_H
#define NODEOS_MACHINE_H

#include <linux/input-event-codes.h>
#include <linux/ioctl.h>
#include <linux/mount.h>

#include "contract.h"
#include "io.h"

/* Kernel ABI whose headers pull in a C library, or keep it to themselves: linux/input.h, fs.h. */
#define MNT_DETACH 2
#define EVIOCGBIT(type, size) _IOC(_IOC_READ, 'E', 0x20 + (type), size)
struct input_event {
    long seconds, microseconds;
    unsigned short type, code;
    int value;
};

/* What must be there before any program can start. The rest of the mounts are the init's. */
static const struct { const char *type, *path; long flags; const char *options; } MOUNTS[] = {
    /* Who is not root sees no processes but his own: proc(5). */
    {"proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "hidepid=2"},
    {"sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0},
    {"devtmpfs", "/dev", MS_NOSUID, 0},
};

#define DEVICE_WAIT (3 * SECOND)
#define DEVICE_PAUSE 2000L /* microseconds */

/* A device may come a moment after PID 1: the kernel looks for memory devices beside the boot. Returns success. */
static int mount_one(const char *source, const char *path, const char *type, long flags, const char *options)
{
    long error, deadline = now() + DEVICE_WAIT;
    for (;;) {
        error = sys5(__NR_mount, source, path, type, flags, options);
        if (error >= 0)
            return 1;
        if ((error != -ENOENT && error != -ENXIO) || now() > deadline)
            break;
        rest(DEVICE_PAUSE);
    }
    struct text code = {0};
    add_number(&code, -error);
    SAY("mount ", type, " ", source, " on ", path, ": error ", code.bytes);
    return 0;
}

static void mount_all(void)
{
    for (size_t i = 0; i < sizeof MOUNTS / sizeof *MOUNTS; i++)
        mount_one(MOUNTS[i].type, MOUNTS[i].path, MOUNTS[i].type, MOUNTS[i].flags, MOUNTS[i].options);
}

/* io_uring, which had many faults, is for nobody. Before Node.js runs: a ring that libuv has made stays in use. */
static void close_rings(void)
{
    write_file("/proc/sys/kernel/io_uring_disabled", "2");
}

/* Calls visit for each word of the kernel's command line. The words stay where they are. */
static void each_word(void (*visit)(char *word))
{
    static char line[4096];
    char *word = line;
    read_file("/proc/cmdline", line, sizeof line);
    for (char *c = line;; c++) {
        if (*c && *c != ' ' && *c != '\n')
            continue;
        int last = *c == 0;
        *c = 0;
        visit(word);
        if (last)
            return;
        word = c + 1;
    }
}

/* The runtime's disk, if it is not in the initramfs. Names as in systemd's kernel-command-line(7). */
static struct { const char *source, *type, *options; } usr = {.type = "erofs"};

static int read_usr_word(const char *word)
{
    const char *value;
    if ((value = after(word, WORD_USR "=")))
        usr.source = value;
    else if ((value = after(word, WORD_USR_TYPE "=")))
        usr.type = value;
    else if ((value = after(word, WORD_USR_FLAGS "=")))
        usr.options = value;
    else
        return 0;
    return 1;
}

static int mount_usr(void)
{
    if (!usr.source || !*usr.source)
        return 1;
    return mount_one(usr.source, "/usr", usr.type, MS_RDONLY | MS_NODEV | MS_NOSUID, usr.options);
}

/* Unmounts everything but the root, the last mounted first; detaches what is busy. */
static void unmount_all(void)
{
    static char table[16384];
    size_t end = read_file("/proc/mounts", table, sizeof table);
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
            if (!equal(path, "/") && sys2(__NR_umount2, path, 0) < 0)
                sys2(__NR_umount2, path, MNT_DETACH);
        }
        end = start;
    }
}

struct entry {
    unsigned long inode;
    long offset;
    unsigned short size;
    unsigned char type;
    char name[];
};

/* Calls visit for each name in a folder. */
static void each_name(const char *folder, void (*visit)(const char *name))
{
    static char buffer[4096] __attribute__((aligned(8)));
    long fd = open_at(folder, O_RDONLY | O_DIRECTORY), n;
    if (fd < 0)
        return;
    while ((n = sys3(__NR_getdents64, fd, buffer, sizeof buffer)) > 0)
        for (long at = 0; at < n; at += ((struct entry *)(buffer + at))->size) {
            const char *name = ((struct entry *)(buffer + at))->name;
            if (name[0] != '.')
                visit(name);
        }
    sys1(__NR_close, fd);
}

/* The virtio-serial port that a host tool listens to, and may write a wish to; -1 if there is none. */
static long events = -1;

static void try_port(const char *name)
{
    struct text path = {0};
    char title[32];
    add(&path, "/sys/class/virtio-ports/");
    add(&path, name);
    add(&path, "/name");
    if (read_file(path.bytes, title, sizeof title) && equal(title, PORT_EVENTS "\n")) {
        path.length = 0;
        add(&path, "/dev/");
        add(&path, name);
        events = open_at(path.bytes, O_RDWR | O_NONBLOCK);
    }
}

/* One JSON line: what happened, when, and up to two numbers. Text in it is ours: it needs no escapes. */
static void event(const char *what, const char *name1, long value1, const char *name2, long value2)
{
    struct text line = {0};
    add(&line, "{\"us\":");
    add_number(&line, now());
    add(&line, ",\"event\":\"");
    add(&line, what);
    add(&line, "\"");
    if (name1) {
        add(&line, ",\"");
        add(&line, name1);
        add(&line, "\":");
        add_number(&line, value1);
    }
    if (name2) {
        add(&line, ",\"");
        add(&line, name2);
        add(&line, "\":");
        add_number(&line, value2);
    }
    add(&line, "}\n");
    if (events >= 0)
        write_all(events, line.bytes, line.length);
}

/* Input devices with a power key (linux/input-event-codes.h). */
#define MAX_BUTTONS 4
static long buttons[MAX_BUTTONS];
static int button_count;

static void try_button(const char *name)
{
    struct text path = {0};
    unsigned char keys[KEY_MAX / 8 + 1] = {0};
    if (!after(name, "event") || button_count == MAX_BUTTONS)
        return;
    add(&path, "/dev/input/");
    add(&path, name);
    long fd = open_at(path.bytes, O_RDONLY | O_NONBLOCK);
    if (fd < 0)
        return;
    sys3(__NR_ioctl, fd, EVIOCGBIT(EV_KEY, sizeof keys), keys);
    if (keys[KEY_POWER / 8] & (1 << KEY_POWER % 8))
        buttons[button_count++] = fd;
    else
        sys1(__NR_close, fd);
}

static int pressed(long fd)
{
    struct input_event input;
    int found = 0;
    while (sys3(__NR_read, fd, &input, sizeof input) == sizeof input)
        found |= input.type == EV_KEY && input.code == KEY_POWER && input.value == 1;
    return found;
}

#endif

/*
 * The machine as PID 1 sees it: first mounts, console, event port, power button, and how it all ends.
 */
#ifndef NODEOS_MACHINE_H
#define NODEOS_MACHINE_H

#include <asm/fcntl.h>
#include <asm/signal.h>
#include <linux/input-event-codes.h>
#include <linux/ioctl.h>
#include <linux/mount.h>
#include <linux/reboot.h>
#include <linux/time.h>

#include "text.h"

/* Kernel ABI whose headers pull in a C library, or keep it to themselves: linux/input.h, linux/fcntl.h, fs.h. */
#define AT_FDCWD -100
#define MNT_DETACH 2
#define EVIOCGBIT(type, size) _IOC(_IOC_READ, 'E', 0x20 + (type), size)
struct input_event {
    long seconds, microseconds;
    unsigned short type, code;
    int value;
};

/* Microseconds since boot. */
static long now(void)
{
    struct timespec t;
    sys2(__NR_clock_gettime, CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static long open_at(const char *path, int flags)
{
    return sys4(__NR_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0644);
}

static void write_all(long fd, const char *bytes, size_t n)
{
    while (n > 0) {
        long done = sys3(__NR_write, fd, bytes, n);
        if (done <= 0)
            return;
        bytes += done;
        n -= done;
    }
}

/* A line on the console, from parts up to a null pointer. */
static void say(const char *const *parts)
{
    struct text line = {0};
    add(&line, "nodeos: ");
    while (*parts)
        add(&line, *parts++);
    add(&line, "\n");
    write_all(1, line.bytes, line.length);
}
#define SAY(...) say((const char *const[]){__VA_ARGS__, 0})

/* Reads the start of a small file as a string. Returns its length, 0 if it cannot be read. */
static size_t read_file(const char *path, char *bytes, size_t size)
{
    long fd = open_at(path, O_RDONLY);
    size_t n = 0;
    if (fd >= 0) {
        long got;
        while (n < size - 1 && (got = sys3(__NR_read, fd, bytes + n, size - 1 - n)) > 0)
            n += got;
        sys1(__NR_close, fd);
    }
    bytes[n] = 0;
    return n;
}

/* What must be there before any program can start. The rest of the mounts are the init's. */
static const struct { const char *type, *path; long flags; } MOUNTS[] = {
    {"proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC},
    {"sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC},
    {"devtmpfs", "/dev", MS_NOSUID},
};

#define NO_SUCH_FILE -2
#define NO_SUCH_DEVICE -6
#define DEVICE_WAIT 3000000L /* microseconds */

/* A device may come a moment after PID 1: the kernel looks for memory devices beside the boot. Returns success. */
static int mount_one(const char *source, const char *path, const char *type, long flags, const char *options)
{
    struct timespec moment = {0, 2000000};
    long error, deadline = now() + DEVICE_WAIT;
    for (;;) {
        error = sys5(__NR_mount, source, path, type, flags, options);
        if (error >= 0)
            return 1;
        if ((error != NO_SUCH_FILE && error != NO_SUCH_DEVICE) || now() > deadline)
            break;
        sys2(__NR_nanosleep, &moment, 0);
    }
    struct text code = {0};
    add_number(&code, -error);
    SAY("mount ", type, " ", source, " on ", path, ": error ", code.bytes);
    return 0;
}

static void mount_all(void)
{
    for (size_t i = 0; i < sizeof MOUNTS / sizeof *MOUNTS; i++)
        mount_one(MOUNTS[i].type, MOUNTS[i].path, MOUNTS[i].type, MOUNTS[i].flags, 0);
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
    if (read_file(path.bytes, title, sizeof title) && equal(title, "nodeos.events\n")) {
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

/* Does not return. */
static void end_machine(unsigned long command)
{
    sys0(__NR_sync);
    unmount_all();
    sys0(__NR_sync);
    sys4(__NR_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, command, 0);
    for (;;)
        sys0(__NR_pause);
}

#endif

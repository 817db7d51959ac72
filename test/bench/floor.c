/*
 * The floor that a boot is measured against: a static init that prints one line, on the same kernel. If the image has
 * an application, it then starts Node.js with that once, as the first thing that this machine runs, and says how long
 * it took to the first byte over HTTP on the loopback.
 */
#include <asm/signal.h>
#include <linux/reboot.h>

#include "../../packages/init/lib/clock.h"
#include "../../packages/init/lib/io.h"
#include "../../packages/init/lib/say.h"
#include "../../packages/init/pid1/mounts.h"

/* netdevice(7), ip(7): the kernel's headers for them pull in a C library. */
#define AF_INET 2
#define SOCK_STREAM 1
#define SIOCSIFFLAGS 0x8914
#define IFF_UP_RUNNING 0x41
struct ifreq {
    char name[16];
    short flags;
    char rest[22];
};
struct sockaddr_in {
    unsigned short family, port;
    unsigned int address;
    char rest[8];
};

#define MILLISECOND 1000L

static void loopback_up(void)
{
    struct ifreq request = {.name = "lo", .flags = IFF_UP_RUNNING};
    long fd = sys3(__NR_socket, AF_INET, SOCK_STREAM, 0);
    sys3(__NR_ioctl, fd, SIOCSIFFLAGS, &request);
    sys1(__NR_close, fd);
}

static int first_byte(void)
{
    static const char ask[] = "GET / HTTP/1.1\r\nHost: floor\r\nConnection: close\r\n\r\n";
    struct sockaddr_in to = {.family = AF_INET, .port = 80 << 8, .address = 0x0100007f};
    char byte;
    long fd = sys3(__NR_socket, AF_INET, SOCK_STREAM, 0);
    int got = sys3(__NR_connect, fd, &to, sizeof to) == 0 && sys3(__NR_write, fd, ask, sizeof ask - 1) > 0 &&
              sys3(__NR_read, fd, &byte, 1) == 1;
    sys1(__NR_close, fd);
    return got;
}

static void time_node(const char *name)
{
    struct text line = {0};
    long start = clock_now(), pid = sys_fork();
    if (pid == 0) {
        const char *const arguments[] = {"/bin/node", "/app/server.js", 0};
        const char *const environment[] = {"PORT=80", "PATH=/bin", "NODE_ENV=production", 0};
        sys3(__NR_execve, arguments[0], arguments, environment);
        sys1(__NR_exit_group, 127);
    }
    while (!first_byte())
        clock_rest(2 * MILLISECOND);
    text_add_number(&line, clock_now() - start);
    SAY(name, line.bytes);
    sys2(__NR_kill, pid, SIGKILL);
    sys4(__NR_wait4, pid, 0, 0, 0);
}

START(floor_main);

void floor_main(long *stack)
{
    (void)stack;
    SAY("floor");
    if (sys4(__NR_faccessat, AT_FDCWD, "/app", 0, 0) == 0) {
        mounts_add_first();
        mounts_add("/dev/pmem0", "/usr", "erofs", MS_RDONLY, "dax"); /* as the system does */
        loopback_up();
        clock_rest(500 * MILLISECOND); /* a running guest: whatever the kernel does behind a boot is over */
        time_node("first ");
        time_node("second ");
    }
    sys0(__NR_sync);
    sys4(__NR_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_POWER_OFF, 0);
    for (;;)
        ;
}

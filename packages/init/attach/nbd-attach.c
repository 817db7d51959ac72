/*
 * Attaches an NBD export to a device of this machine, and keeps it attached from a process in the background:
 *
 *     nbd-attach [-i] [-s] [-t SECONDS] [-T PROGRAM] [-r ADDRESS[:PORT]] nbd[s]://HOST[:PORT]/EXPORT[?…] /dev/nbdN
 *     nbd-attach -d /dev/nbdN
 *
 * -t: how long requests wait for a server that has gone; 0, the default, is for ever. -i: by ioctl, as before Linux
 * 4.12; then a connection that dies is the end of the device. That is also tried if the kernel has no netlink for it.
 * -s: the end of the export's name comes on standard input: a name is enough to use the export, and command lines are
 * public.
 * -T: the program that begins a TLS connection; default: /tls/handshake. -r: a name server; default: those of
 * /etc/resolv.conf.
 */
#include <linux/ioctl.h>
#include <linux/nbd.h>

#include "../lib/io.h"
#include "../lib/say.h"
#include "../netroot/connect.h"
#include "../netroot/device.h"
#include "../netroot/keeper.h"
#include "../netroot/resolve.h"
#include "../netroot/tls.h"

static struct nbd_device device;

static int usage(void)
{
    SAY("usage: nbd-attach [-i] [-s] [-t SECONDS] [-T PROGRAM] [-r ADDRESS[:PORT]] "
        "nbd[s]://HOST[:PORT]/EXPORT /dev/nbdN");
    SAY("       nbd-attach -d /dev/nbdN");
    return 2;
}

static int complain(const char *about, const char *why)
{
    SAY(about, ": ", why);
    return 1;
}

/* The number of /dev/nbdN, or -1. */
static int index_of(const char *path)
{
    const char *digits = path ? text_after(path, "/dev/nbd") : 0;
    return digits && *digits >= '0' && *digits <= '9' ? (int)text_number(digits) : -1;
}

static int detach(const char *path)
{
    struct text why = {0};
    long error = device_detach(index_of(path));
    if (error == -ENOENT) {
        long fd = io_open(path, O_RDWR);
        error = fd < 0 ? fd : sys3(__NR_ioctl, fd, NBD_DISCONNECT, 0);
    }
    if (error >= 0)
        return 0;
    say_add_error(&why, error);
    return complain(path, why.bytes);
}

/* Forks into the background. Lines go to the kernel's log from there: an open standard output would keep its reader
 * waiting. Returns what fork does. */
static long leave(void)
{
    long pid = sys_fork();
    if (pid != 0)
        return pid;
    sys0(__NR_setsid);
    long null = io_open("/dev/null", O_RDWR), log = io_open("/dev/kmsg", O_WRONLY);
    sys_dup2(null, 0);
    sys_dup2(log < 0 ? null : log, 1);
    sys_dup2(log < 0 ? null : log, 2);
    return 0;
}

static int by_ioctl(const char *path)
{
    struct text why = {0};
    struct nbd_export *export = &device.export;
    int never = 0;
    if (!uri_find_host(&device.uri, 0, &why))
        return complain(device.uri.text, why.bytes);
    long socket = connect_export(&device.uri, export, &why, &never, 0);
    if (socket < 0)
        return complain(device.uri.text, why.bytes);
    unsigned long block = export->block > 512 ? export->block : 512;
    long fd = io_open(path, O_RDWR), error = fd;
    const struct { unsigned request; unsigned long value; } STEPS[] = {
        {NBD_SET_SOCK, socket},
        {NBD_SET_BLKSIZE, block},
        {NBD_SET_SIZE_BLOCKS, export->size / block},
        {NBD_SET_FLAGS, export->flags},
    };
    for (size_t i = 0; i < sizeof STEPS / sizeof *STEPS && error >= 0; i++)
        error = sys3(__NR_ioctl, fd, STEPS[i].request, STEPS[i].value);
    if (error < 0) {
        say_add_error(&why, error);
        return complain(path, why.bytes);
    }
    if (leave() == 0) {
        sys3(__NR_ioctl, fd, NBD_DO_IT, 0);
        sys3(__NR_ioctl, fd, NBD_CLEAR_SOCK, 0);
    }
    return 0;
}

/* Up to the end of standard input. */
static size_t read_input(char *bytes, size_t size)
{
    size_t n = 0;
    long got;
    while (n < size && (got = sys3(__NR_read, 0, bytes + n, size - n)) > 0)
        n += got;
    return n;
}

static int attach(const char *uri, const char *path, int ioctls, int has_secret)
{
    struct text why = {0};
    char secret[MAX_EXPORT + 1];
    struct netlink n;
    device.index = index_of(path);
    if (!uri_parse(&device.uri, uri, &why) ||
        (has_secret && !uri_complete(&device.uri, secret, read_input(secret, sizeof secret), &why)))
        return complain(uri, why.bytes);
    if (ioctls || netlink_open(&n) < 0)
        return by_ioctl(path);
    sys1(__NR_close, n.fd);
    if (!device_attach(&device, 1, 0, &why))
        return complain(uri, why.bytes);
    if (leave() == 0)
        keeper_run(&device, 1);
    return 0;
}

/* ADDRESS; an address of IPv4 may have :PORT. */
static int name_server(const char *word)
{
    const char *end = word + text_length(word), *colon = text_find_any(word, end, ":");
    int port = colon < end && text_find_any(colon + 1, end, ":") == end;
    return resolve_add_server(word, port ? colon : end, port ? text_number(colon + 1) : DNS_PORT);
}

static int run(char **words)
{
    int ioctls = 0, has_secret = 0;
    io_hold_standard();
    if (*words && text_equal(*words, "-d"))
        return index_of(words[1]) >= 0 && !words[2] ? detach(words[1]) : usage();
    for (; *words && **words == '-'; words++) {
        if (text_equal(*words, "-i"))
            ioctls = 1;
        else if (text_equal(*words, "-s"))
            has_secret = 1;
        else if (text_equal(*words, "-t") && words[1])
            device.timeout = text_number(*++words);
        else if (text_equal(*words, "-T") && words[1])
            tls_set_program(*++words);
        else if (!text_equal(*words, "-r") || !words[1] || !name_server(*++words))
            return usage();
    }
    if (resolve_servers() == 0)
        resolve_find_servers();
    return words[0] && index_of(words[1]) >= 0 && !words[2] ? attach(words[0], words[1], ioctls, has_secret) : usage();
}

START(nbd_attach);

void nbd_attach(long *stack)
{
    sys1(__NR_exit_group, run((char **)(stack + 1) + (stack[0] > 0)));
    for (;;)
        ;
}

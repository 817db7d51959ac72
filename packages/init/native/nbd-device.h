/*
 * /dev/nbdN: attaching it to a server, and detaching it. nbd-keeper.h keeps it attached.
 */
#ifndef NODEOS_NBD_DEVICE_H
#define NODEOS_NBD_DEVICE_H

#include "netlink.h"
#include "recognise.h"

#define FOREVER 315360000L        /* seconds: ten years. The kernel takes 0 for "not at all" */
#define FIRST_PAUSE 50000L        /* microseconds between two attempts to connect; doubles up to … */
#define LAST_PAUSE SECOND

struct nbd_device {
    struct nbd_uri uri;
    struct nbd_export export;
    union address home;          /* of the server, where it was found last */
    int index;                   /* -1: any that is free */
    int constant;                /* nobody is to write to it, whatever the server allows */
    long sysfs;                  /* the device's folder in /sys */
    char backend[24];            /* a name for this attachment: the kernel takes connections for no other */
    long timeout;                /* seconds until requests fail while there is no server; 0: never */
    long sockets[MAX_CONNECTIONS];
    int connections;             /* 0: it is not attached, or no longer */
    int missing;                 /* connections that the kernel has given up */
    int unsure;                  /* looks at which one was dead that the kernel had not named */
    long dead_since;             /* when the last connection died; 0: there is one */
    long again, pause;           /* when to connect next */
    long since;                  /* when the last connection was made again */
    int told;                    /* why the server is refused: said once for each loss */
    long attempt;                /* the descriptor of a connection that is being made; 0: none is */
};

/* Opens a file in the device's folder of /sys, and writes to it. */
static void tune(struct nbd_device *d, const char *setting, long value)
{
    struct text number = {0};
    long fd = sys4(__NR_openat, d->sysfs, setting, O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return;
    add_number(&number, value);
    sys3(__NR_write, fd, number.bytes, number.length);
    sys1(__NR_close, fd);
}

/* The kernel reads as far ahead as this. Measured: docs/stream.md. */
#define READ_AHEAD 512 /* KiB */
/* Milliseconds after which the kernel looks at a request: if its connection is another one by then, it is sent again.
 * If there are more connections than one, a connection that takes longer for a request is given up for that reason. */
#define RESEND 2000
#define RESEND_ELSEWHERE 10000

static void tune_all(struct nbd_device *d)
{
    struct text path = {0};
    add(&path, "/sys/block/nbd");
    add_number(&path, d->index);
    d->sysfs = open_at(path.bytes, O_PATH | O_DIRECTORY);
    tune(d, "queue/read_ahead_kb", READ_AHEAD);
    tune(d, "queue/io_timeout", d->connections == 1 ? RESEND : RESEND_ELSEWHERE);
    if (d->export.maximum >= 4096 && d->export.maximum >> 10 < 1280 /* the kernel's own limit */)
        tune(d, "queue/max_sectors_kb", d->export.maximum >> 10);
}

static void add_sockets(union message *m, const long *sockets, int count)
{
    size_t list = attribute(m, NBD_ATTR_SOCKETS | NLA_F_NESTED, 0, 0);
    for (int i = 0; i < count; i++) {
        size_t item = attribute(m, NBD_SOCK_ITEM | NLA_F_NESTED, 0, 0);
        attribute32(m, NBD_SOCK_FD, sockets[i]);
        nest(m, item);
    }
    nest(m, list);
}

/* By chance: a device may be detached and attached again, by others, while who keeps it looks elsewhere. */
static void name_attachment(struct nbd_device *d)
{
    unsigned char chance[(sizeof d->backend - 1) / 2];
    memset(d->backend, 0, sizeof d->backend);
    random_bytes(chance, sizeof chance);
    for (size_t i = 0; i < sizeof chance; i++) {
        d->backend[2 * i] = 'a' + chance[i] % 16;
        d->backend[2 * i + 1] = 'a' + chance[i] / 16;
    }
}

/* Whether the device is attached, and not anew by somebody else. Before Linux 5.14 attachments have no names. */
static int is_attached(struct nbd_device *d)
{
    char backend[sizeof d->backend + 1];
    if (d->sysfs < 0)
        return 1;
    return sys3(__NR_faccessat, d->sysfs, "pid", 0) != -ENOENT &&
           (!read_file_in(d->sysfs, "backend", backend, sizeof backend) || after(backend, d->backend));
}

static int give_to_kernel(struct nbd_device *d, int connections, struct text *why)
{
    struct netlink n;
    union message m;
    long error = open_netlink(&n);
    if (error < 0) {
        add(why, "this kernel has no netlink for NBD: ");
        return add_error(why, error), 0;
    }
    begin_message(&m, n.family, NLM_F_ACK, NBD_CMD_CONNECT, NBD_GENL_VERSION);
    if (d->index >= 0)
        attribute32(&m, NBD_ATTR_INDEX, d->index);
    attribute64(&m, NBD_ATTR_SIZE_BYTES, d->export.size);
    attribute64(&m, NBD_ATTR_BLOCK_SIZE_BYTES, d->export.block > 512 ? d->export.block : 512);
    attribute64(&m, NBD_ATTR_SERVER_FLAGS, d->export.flags | (d->constant ? EXPORT_READ_ONLY : 0));
    attribute64(&m, NBD_ATTR_DEAD_CONN_TIMEOUT, d->timeout ? d->timeout : FOREVER);
    name_attachment(d);
    attribute(&m, NBD_ATTR_BACKEND_IDENTIFIER, d->backend, sizeof d->backend);
    add_sockets(&m, d->sockets, connections);
    error = ask(&n, &m);
    sys1(__NR_close, n.fd);
    if (error < 0) {
        add(why, "the kernel does not take the connection: ");
        return add_error(why, error), 0;
    }
    long index = value_of(attribute_of(&m, NBD_ATTR_INDEX), 4);
    if (index < 0)
        return add(why, "the kernel does not say which device it is"), 0;
    d->index = index;
    return 1;
}

/* One connection to the server. An export that nobody writes to must stay the same: it is looked at too. */
static long connect_device(struct nbd_device *d, struct nbd_export *export, struct text *why, int *never, long *attempt)
{
    long fd = nbd_connect(&d->uri, export, why, never, attempt);
    if (fd < 0 || !d->constant)
        return fd;
    if (attempt)
        *attempt = fd;
    int done = read_start(fd, export, why, never);
    if (!done)
        sys1(__NR_close, fd);
    if (attempt)
        *attempt = 0;
    return done ? fd : -1;
}

/* One attempt. Returns success; if not, why says why, and never whether another attempt is in vain. */
static int nbd_attach(struct nbd_device *d, struct text *why, int *never)
{
    struct nbd_export other;
    int wanted = d->uri.connections, count = 0;
    if (!find_host(&d->uri, 0, why))
        return 0;
    d->home = d->uri.address;
    for (; count < wanted; count++) {
        long fd = d->sockets[count] = connect_device(d, count ? &other : &d->export, why, never, 0);
        if (fd < 0)
            break;
        if (count && !same_export(&other, &d->export)) {
            add(why, "two connections lead to different exports: one server, or copies of one image, are needed");
            sys1(__NR_close, fd);
            break;
        }
        if (!(d->export.flags & EXPORT_MULTI_CONN))
            wanted = 1;
    }
    if (count == wanted) {
        if (give_to_kernel(d, count, why)) {
            d->missing = d->unsure = d->dead_since = 0;
            d->connections = count; /* from here on a keeper that runs already looks after it */
            tune_all(d);
            return 1;
        }
        *never = 1;
    }
    while (count > 0)
        sys1(__NR_close, d->sockets[--count]);
    return 0;
}

static long longer(long pause)
{
    return pause * 2 > LAST_PAUSE ? LAST_PAUSE : pause * 2;
}

/* Attempts until it succeeds, is hopeless, takes more than `seconds` (0: no end), or stop() says so. */
static int nbd_attach_within(struct nbd_device *d, long seconds, int (*stop)(void), struct text *why)
{
    long started = now();
    int never = 0, told = 0;
    for (d->pause = FIRST_PAUSE;; d->pause = longer(d->pause)) {
        *why = (struct text){0};
        if (nbd_attach(d, why, &never))
            return 1;
        if (never || (stop && stop()))
            return 0;
        if (seconds && now() + d->pause - started > seconds * SECOND)
            break;
        if (!told++)
            SAY(d->uri.text, ": ", why->bytes, "; trying again");
        rest(d->pause);
    }
    add(why, " (tried for ");
    add_number(why, seconds);
    add(why, " s)");
    return 0;
}

/* The server gets a farewell, and whatever still waits for it fails. */
static inline long nbd_detach(int index)
{
    struct netlink n;
    union message m;
    long error = open_netlink(&n);
    if (error < 0)
        return error;
    begin_message(&m, n.family, NLM_F_ACK, NBD_CMD_DISCONNECT, NBD_GENL_VERSION);
    attribute32(&m, NBD_ATTR_INDEX, index);
    error = ask(&n, &m);
    sys1(__NR_close, n.fd);
    return error;
}

#endif

/*
 * /dev/nbdN: attaching it to a server, and keeping it attached.
 *
 * When a connection dies the kernel says so to a netlink group, and holds back what is read and written until it gets
 * another connection (or NBD_ATTR_DEAD_CONN_TIMEOUT is over). Whoever attached a device runs keep_devices in a process
 * of its own, which waits for nothing but the network: it works when every file of a root on that device is out of reach.
 *
 * A request that takes long never ends a connection: its server may still write what was sent on the old one after what
 * is sent on the new. So NBD_ATTR_TIMEOUT is not used; what counts is whether the server's TCP acknowledges.
 */
#ifndef NODEOS_NBD_DEVICE_H
#define NODEOS_NBD_DEVICE_H

#include "netlink.h"
#include "recognise.h"

#define FOREVER 315360000L        /* seconds: ten years. The kernel takes 0 for "not at all" */
#define CHECK (5 * SECOND)        /* between two looks at the connections */
#define SILENCE 30000             /* milliseconds without an acknowledgement */
#define STEADY_LINK SECOND        /* a connection that dies earlier is not made again at once */
#define FIRST_PAUSE 50000L        /* microseconds between two attempts to connect; doubles up to … */
#define LAST_PAUSE SECOND
#define TCP_IS_ESTABLISHED 1
#define SHUT_RDWR 2

struct nbd_device {
    struct nbd_uri uri;
    struct nbd_export export;
    union address home;          /* of the server, where it was found last */
    int index;                   /* -1: any that is free */
    int constant;                /* nobody writes to it, whatever the server allows */
    long sysfs;                  /* the device's folder in /sys */
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
    attribute64(&m, NBD_ATTR_SERVER_FLAGS, d->export.flags);
    attribute64(&m, NBD_ATTR_DEAD_CONN_TIMEOUT, d->timeout ? d->timeout : FOREVER);
    add_sockets(&m, d->sockets, connections);
    error = ask(&n, &m);
    sys1(__NR_close, n.fd);
    if (error < 0) {
        add(why, "the kernel does not take the connection: ");
        return add_error(why, error), 0;
    }
    d->index = value32(attribute_of(&m, NBD_ATTR_INDEX));
    return 1;
}

/* One connection to the server. If nobody writes to the export, that is looked at too: it must stay the same. */
static long connect_device(struct nbd_device *d, struct nbd_export *export, struct text *why, int *never, long *attempt)
{
    long fd = nbd_connect(&d->uri, export, why, never, attempt);
    if (fd < 0 || !(d->constant || (export->flags & EXPORT_READ_ONLY)))
        return fd;
    if (attempt)
        *attempt = fd;
    int done = read_start(fd, export, why);
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

static int alive(long socket)
{
    struct tcp_info info = {0};
    unsigned size = sizeof info;
    sys5(__NR_getsockopt, socket, IPPROTO_TCP, TCP_INFO, &info, &size);
    if (info.tcpi_state != TCP_IS_ESTABLISHED)
        return 0;
    /* Asked, and nothing came back, not even that it has no room: the server's machine or the way to it is gone. */
    if ((info.tcpi_retransmits || info.tcpi_probes) && info.tcpi_last_ack_recv > SILENCE)
        sys2(__NR_shutdown, socket, SHUT_RDWR);
    return 1;
}

static void later(struct nbd_device *d)
{
    d->again = now() + d->pause;
    d->pause = longer(d->pause);
}

static void lost_one(struct nbd_device *d)
{
    if (d->missing == d->connections)
        return;
    d->missing++;
    d->unsure = 0;
    if (now() - d->since >= STEADY_LINK) {
        d->again = now();
        d->pause = FIRST_PAUSE;
    } else
        later(d);
    if (d->missing < d->connections)
        return;
    d->dead_since = now();
    d->told = 0;
    SAY(d->uri.text, ": connection lost; trying again");
}

/* Looks at each connection; the kernel's word that one is dead may have got lost. */
static void look_at(struct nbd_device *d)
{
    int dead = 0;
    for (int i = 0; i < d->connections; i++)
        dead += !alive(d->sockets[i]);
    if (dead <= d->missing)
        d->unsure = 0;
    else if (++d->unsure > 1)
        lost_one(d);
}

/* Gives the kernel a connection in place of one that is dead. */
static void take_over(struct nbd_device *d, long socket)
{
    struct netlink n;
    union message m;
    long error = open_netlink(&n);
    if (error == 0) {
        begin_message(&m, n.family, NLM_F_ACK, NBD_CMD_RECONFIGURE, NBD_GENL_VERSION);
        attribute32(&m, NBD_ATTR_INDEX, d->index);
        add_sockets(&m, &socket, 1);
        error = ask(&n, &m);
    }
    sys1(__NR_close, n.fd);
    if (error < 0) { /* it was detached */
        sys1(__NR_close, socket);
        d->connections = d->missing = d->dead_since = 0;
        return;
    }
    int i = 0;
    while (i < d->connections - 1 && alive(d->sockets[i]))
        i++;
    sys1(__NR_close, d->sockets[i]);
    d->sockets[i] = socket;
    d->home = d->uri.address;
    d->since = now();
    d->missing--;
    if (d->dead_since) {
        struct text took = {0};
        add_number(&took, (now() - d->dead_since) / 1000);
        SAY(d->uri.text, ": connected again after ", took.bytes, " ms");
    }
    d->dead_since = 0;
}

static void try_again(struct nbd_device *d)
{
    struct nbd_export export;
    struct text why = {0};
    int never = 0;
    if (d->sysfs >= 0 && sys3(__NR_faccessat, d->sysfs, "pid", 0) < 0) { /* it was detached */
        d->connections = d->missing = d->dead_since = 0;
        return;
    }
    /* What is still connected stays with one server. The first attempt goes where it was; name servers take their time. */
    if (d->dead_since && d->pause > FIRST_PAUSE)
        find_host(&d->uri, &d->home, &(struct text){0});
    long socket = connect_device(d, &export, &why, &never, &d->attempt);
    if (socket >= 0 && !same_export(&export, &d->export)) {
        sys1(__NR_close, socket);
        socket = -1;
        never = 1;
        add(&why, "the export has become another one: its size, its start, or that it is read-only, has changed");
    }
    if (socket >= 0)
        return take_over(d, socket);
    /* Nothing is hopeless here: who put the wrong server there may put the right one. */
    if (never && !d->told++)
        SAY(d->uri.text, ": ", why.bytes);
    later(d);
}

/* What the kernel says to the group: which device has lost a connection. */
static void hear_kernel(struct netlink *watch, struct nbd_device *devices, int count)
{
    union message m;
    while (next_message(watch, &m) > 0) {
        struct nlattr *index = attribute_of(&m, NBD_ATTR_INDEX);
        if (m.generic.cmd != NBD_CMD_LINK_DEAD || !index)
            continue;
        for (int i = 0; i < count; i++)
            if (devices[i].index == (int)value32(index))
                lost_one(&devices[i]);
    }
}

/* Runs as long as one of the devices is attached. */
static void keep_devices(struct nbd_device *devices, int count)
{
    struct netlink watch;
    int level = 270 /* SOL_NETLINK */;
    if (open_netlink(&watch) < 0)
        return;
    sys5(__NR_setsockopt, watch.fd, level, NETLINK_ADD_MEMBERSHIP, &watch.group, sizeof watch.group);
    for (int i = 0; i < count; i++)
        if (devices[i].attempt) { /* of another keeper, which was killed */
            sys1(__NR_close, devices[i].attempt);
            devices[i].attempt = 0;
        }
    for (long looked = now() - CHECK;;) {
        long first = looked + CHECK;
        int attached = 0;
        for (int i = 0; i < count; i++) {
            if (devices[i].missing && now() >= devices[i].again)
                try_again(&devices[i]);
            if (devices[i].missing && devices[i].again < first)
                first = devices[i].again;
            attached += devices[i].connections > 0;
        }
        if (!attached)
            break;
        struct pollfd poll = {watch.fd, POLLIN, 0};
        long left = (first - now()) / 1000 + 1;
        sys3(__NR_poll, &poll, 1, left > 0 ? left : 0);
        hear_kernel(&watch, devices, count);
        if (now() < looked + CHECK)
            continue;
        looked = now();
        for (int i = 0; i < count; i++)
            look_at(&devices[i]);
    }
    sys1(__NR_close, watch.fd);
}

#endif

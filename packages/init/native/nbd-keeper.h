/*
 * Keeping /dev/nbdN attached to its server.
 *
 * When a connection dies the kernel says so to a netlink group, and holds back what is read and written until it gets
 * another connection (or NBD_ATTR_DEAD_CONN_TIMEOUT is over). Whoever attached a device runs keep_devices in a process
 * of its own, which waits for nothing but the network: it works when every file of a root on that device is out of reach.
 *
 * A request that takes long never ends a connection: its server may still write what was sent on the old one after what
 * is sent on the new. So NBD_ATTR_TIMEOUT is not used; what counts is whether the server's TCP acknowledges.
 */
#ifndef NODEOS_NBD_KEEPER_H
#define NODEOS_NBD_KEEPER_H

#include "nbd-device.h"

#define CHECK (5 * SECOND)        /* between two looks at the connections */
#define SILENCE 30000             /* milliseconds without an acknowledgement */
#define STEADY_LINK SECOND        /* a connection that dies earlier is not made again at once */
#define TCP_IS_ESTABLISHED 1
#define SHUT_RDWR 2

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

/* It was detached. */
static void forget(struct nbd_device *d)
{
    while (d->connections > 0)
        sys1(__NR_close, d->sockets[--d->connections]);
    d->missing = d->dead_since = 0;
}

/* Looks at each connection; the kernel's word that one is dead may have got lost. */
static void look_at(struct nbd_device *d)
{
    int dead = 0;
    if (!is_attached(d))
        forget(d);
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
        attribute(&m, NBD_ATTR_BACKEND_IDENTIFIER, d->backend, sizeof d->backend);
        add_sockets(&m, &socket, 1);
        error = ask(&n, &m);
    }
    sys1(__NR_close, n.fd);
    if (error < 0) {
        struct text why = {0};
        add_error(&why, error);
        sys1(__NR_close, socket);
        if (is_attached(d) && !d->told++)
            SAY(d->uri.text, ": the kernel does not take the connection: ", why.bytes);
        later(d);
        return;
    }
    int i = 0;
    while (i < d->connections - 1 && alive(d->sockets[i]))
        i++;
    sys1(__NR_close, d->sockets[i]);
    d->sockets[i] = socket;
    d->home = d->uri.address;
    d->since = now();
    d->told = 0;
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
    if (!is_attached(d)) {
        forget(d);
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
        long index = value_of(attribute_of(&m, NBD_ATTR_INDEX), 4);
        if (m.head.nlmsg_type != watch->family || m.generic.cmd != NBD_CMD_LINK_DEAD)
            continue;
        for (int i = 0; i < count; i++)
            if (devices[i].index == index)
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

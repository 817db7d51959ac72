#include <asm/poll.h>
#include <linux/tcp.h>

#include "../lib/io.h"
#include "../lib/say.h"
#include "../lib/socket.h"
#include "keeper.h"
#include "recognise.h"

#define CHECK (5 * SECOND)   /* between two looks at the connections */
#define SILENCE 30000        /* milliseconds without an acknowledgement */
#define STEADY_LINK SECOND   /* a connection that dies earlier is not made again at once */
#define TCP_IS_ESTABLISHED 1 /* of tcpi_state: no header for programs has it */

static int alive(long socket)
{
    struct tcp_info info = {0};
    unsigned size = sizeof info;
    sys5(__NR_getsockopt, socket, IPPROTO_TCP, TCP_INFO, &info, &size);
    if (info.tcpi_state != TCP_IS_ESTABLISHED)
        return 0;
    /* No answer, not even that it has no room: the server's machine or the way to it is gone. */
    if ((info.tcpi_retransmits || info.tcpi_probes) && info.tcpi_last_ack_recv > SILENCE)
        sys2(__NR_shutdown, socket, SHUT_RDWR);
    return 1;
}

static void later(struct nbd_device *d)
{
    d->again = clock_now() + d->pause;
    d->pause = device_longer(d->pause);
}

static void lost_one(struct nbd_device *d)
{
    if (d->missing == d->connections)
        return;
    d->missing++;
    d->unsure = 0;
    if (clock_now() - d->since >= STEADY_LINK) {
        d->again = clock_now();
        d->pause = FIRST_PAUSE;
    } else
        later(d);
    if (d->missing < d->connections)
        return;
    d->dead_since = clock_now();
    d->told = 0;
    SAY(d->uri.text, ": connection lost; trying again");
}

/* The device was detached. */
static void forget(struct nbd_device *d)
{
    while (d->connections > 0)
        sys1(__NR_close, d->sockets[--d->connections]);
    d->missing = d->dead_since = 0;
}

/* Looks at each connection: the kernel may have said that one is dead, and the message got lost. */
static void look_at(struct nbd_device *d)
{
    int dead = 0;
    if (!device_is_attached(d))
        forget(d);
    for (int i = 0; i < d->connections; i++)
        dead += !alive(d->sockets[i]);
    if (dead <= d->missing)
        d->unsure = 0;
    else if (++d->unsure > 1)
        lost_one(d);
}

/* Gives the kernel a connection in place of a dead one. */
static void take_over(struct nbd_device *d, long socket)
{
    struct netlink n;
    union message m;
    long error = netlink_open(&n);
    if (error == 0) {
        netlink_begin(&m, n.family, NLM_F_ACK, NBD_CMD_RECONFIGURE, NBD_GENL_VERSION);
        netlink_add32(&m, NBD_ATTR_INDEX, d->index);
        netlink_add(&m, NBD_ATTR_BACKEND_IDENTIFIER, d->backend, sizeof d->backend);
        device_add_sockets(&m, &socket, 1);
        error = netlink_ask(&n, &m);
    }
    sys1(__NR_close, n.fd);
    if (error < 0) {
        struct text why = {0};
        say_add_error(&why, error);
        sys1(__NR_close, socket);
        if (device_is_attached(d) && !d->told++)
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
    d->since = clock_now();
    d->told = 0;
    d->missing--;
    if (d->dead_since) {
        struct text took = {0};
        text_add_number(&took, (clock_now() - d->dead_since) / 1000);
        SAY(d->uri.text, ": connected again after ", took.bytes, " ms");
    }
    d->dead_since = 0;
}

static void try_again(struct nbd_device *d)
{
    struct nbd_export export;
    struct text why = {0};
    int never = 0;
    if (!device_is_attached(d)) {
        forget(d);
        return;
    }
    /* All connections lead to one server. The first attempt goes where it was, since name servers take their time. */
    if (d->dead_since && d->pause > FIRST_PAUSE)
        uri_find_host(&d->uri, &d->home, &(struct text){0});
    long socket = device_connect(d, &export, &why, &never, &d->attempt);
    if (socket >= 0 && !recognise_same(&export, &d->export)) {
        sys1(__NR_close, socket);
        socket = -1;
        never = 1;
        text_add(&why, "the export has become another one: its size, its start, or that it is read-only, has changed");
    }
    if (socket >= 0)
        return take_over(d, socket);
    /* Nothing is hopeless here: the right server may come back in place of the wrong one. */
    if (never && !d->told++)
        SAY(d->uri.text, ": ", why.bytes);
    later(d);
}

/* The kernel says to the group which device has lost a connection. */
static void hear_kernel(struct netlink *watch, struct nbd_device *devices, int count)
{
    union message m;
    while (netlink_next(watch, &m) > 0) {
        long index = netlink_value(netlink_find(&m, NBD_ATTR_INDEX), 4);
        if (m.head.nlmsg_type != watch->family || m.generic.cmd != NBD_CMD_LINK_DEAD)
            continue;
        for (int i = 0; i < count; i++)
            if (devices[i].index == index)
                lost_one(&devices[i]);
    }
}

void keeper_run(struct nbd_device *devices, int count)
{
    struct netlink watch;
    if (netlink_open(&watch) < 0)
        return;
    sys5(__NR_setsockopt, watch.fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &watch.group, sizeof watch.group);
    for (int i = 0; i < count; i++)
        if (devices[i].attempt) { /* of a keeper that was killed */
            sys1(__NR_close, devices[i].attempt);
            devices[i].attempt = 0;
        }
    for (long looked = clock_now() - CHECK;;) {
        long first = looked + CHECK;
        int attached = 0;
        for (int i = 0; i < count; i++) {
            if (devices[i].missing && clock_now() >= devices[i].again)
                try_again(&devices[i]);
            if (devices[i].missing && devices[i].again < first)
                first = devices[i].again;
            attached += devices[i].connections > 0;
        }
        if (!attached)
            break;
        struct pollfd poll = {watch.fd, POLLIN, 0};
        long left = (first - clock_now()) / 1000 + 1;
        sys_poll(&poll, 1, left > 0 ? left : 0);
        hear_kernel(&watch, devices, count);
        if (clock_now() < looked + CHECK)
            continue;
        looked = clock_now();
        for (int i = 0; i < count; i++)
            look_at(&devices[i]);
    }
    sys1(__NR_close, watch.fd);
}

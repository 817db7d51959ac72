#include "../lib/io.h"
#include "../lib/say.h"
#include "connect.h"
#include "device.h"
#include "recognise.h"

#define FOREVER 315360000L /* seconds: ten years. To the kernel, 0 is "not at all" */
/* Milliseconds after which the kernel looks at a request: it sends the request again if there is another connection by
 * then. With several connections it gives up the one that takes so long. */
#define RESEND 2000
#define RESEND_ELSEWHERE 10000

static void tune(struct nbd_device *d, const char *setting, long value)
{
    struct text number = {0};
    long fd = io_open_in(d->sysfs, setting, O_WRONLY);
    if (fd < 0)
        return;
    text_add_number(&number, value);
    sys3(__NR_write, fd, number.bytes, number.length);
    sys1(__NR_close, fd);
}

static void tune_all(struct nbd_device *d)
{
    struct text path = {0};
    text_add(&path, "/sys/block/nbd");
    text_add_number(&path, d->index);
    d->sysfs = io_open(path.bytes, O_PATH | O_DIRECTORY);
    tune(d, "queue/read_ahead_kb", DEVICE_READ_AHEAD);
    tune(d, "queue/io_timeout", d->connections == 1 ? RESEND : RESEND_ELSEWHERE);
    if (d->export.maximum >= 4096 && d->export.maximum >> 10 < 1280 /* the kernel's own limit */)
        tune(d, "queue/max_sectors_kb", d->export.maximum >> 10);
}

void device_add_sockets(union message *m, const long *sockets, int count)
{
    size_t list = netlink_add(m, NBD_ATTR_SOCKETS | NLA_F_NESTED, 0, 0);
    for (int i = 0; i < count; i++) {
        size_t item = netlink_add(m, NBD_SOCK_ITEM | NLA_F_NESTED, 0, 0);
        netlink_add32(m, NBD_SOCK_FD, sockets[i]);
        netlink_nest(m, item);
    }
    netlink_nest(m, list);
}

/* By chance: while its keeper looks elsewhere, others may detach a device and attach it again. */
static void name_attachment(struct nbd_device *d)
{
    unsigned char chance[(sizeof d->backend - 1) / 2];
    memset(d->backend, 0, sizeof d->backend);
    io_random(chance, sizeof chance);
    for (size_t i = 0; i < sizeof chance; i++) {
        d->backend[2 * i] = 'a' + chance[i] % 16;
        d->backend[2 * i + 1] = 'a' + chance[i] / 16;
    }
}

/* Before Linux 5.14 attachments have no names. */
int device_is_attached(struct nbd_device *d)
{
    char backend[sizeof d->backend + 1];
    if (d->sysfs < 0)
        return 1;
    return sys3(__NR_faccessat, d->sysfs, "pid", 0) != -ENOENT &&
           (!io_read_file_in(d->sysfs, "backend", backend, sizeof backend) || text_after(backend, d->backend));
}

static int give_to_kernel(struct nbd_device *d, int connections, struct text *why)
{
    struct netlink n;
    union message m;
    long error = netlink_open(&n);
    if (error < 0) {
        text_add(why, "this kernel has no netlink for NBD: ");
        return say_add_error(why, error), 0;
    }
    netlink_begin(&m, n.family, NLM_F_ACK, NBD_CMD_CONNECT, NBD_GENL_VERSION);
    if (d->index >= 0)
        netlink_add32(&m, NBD_ATTR_INDEX, d->index);
    netlink_add64(&m, NBD_ATTR_SIZE_BYTES, d->export.size);
    netlink_add64(&m, NBD_ATTR_BLOCK_SIZE_BYTES, d->export.block > 512 ? d->export.block : 512);
    netlink_add64(&m, NBD_ATTR_SERVER_FLAGS, d->export.flags | (d->constant ? EXPORT_READ_ONLY : 0));
    netlink_add64(&m, NBD_ATTR_DEAD_CONN_TIMEOUT, d->timeout ? d->timeout : FOREVER);
    name_attachment(d);
    netlink_add(&m, NBD_ATTR_BACKEND_IDENTIFIER, d->backend, sizeof d->backend);
    device_add_sockets(&m, d->sockets, connections);
    error = netlink_ask(&n, &m);
    sys1(__NR_close, n.fd);
    if (error < 0) {
        text_add(why, "the kernel does not take the connection: ");
        return say_add_error(why, error), 0;
    }
    long index = netlink_value(netlink_find(&m, NBD_ATTR_INDEX), 4);
    if (index < 0)
        return text_add(why, "the kernel does not say which device it is"), 0;
    d->index = index;
    return 1;
}

long device_connect(struct nbd_device *d, struct nbd_export *export, struct text *why, int *never, long *attempt)
{
    long fd = connect_export(&d->uri, export, why, never, attempt);
    if (fd < 0 || !d->constant)
        return fd;
    if (attempt)
        *attempt = fd;
    int done = recognise_start(fd, export, why, never);
    if (!done)
        sys1(__NR_close, fd);
    if (attempt)
        *attempt = 0;
    return done ? fd : -1;
}

/* One attempt. Returns success; if there is none, why has the reason, and *never is whether another one is in vain. */
static int attach_once(struct nbd_device *d, struct text *why, int *never)
{
    struct nbd_export other;
    int wanted = d->uri.connections, count = 0;
    if (!uri_find_host(&d->uri, 0, why))
        return 0;
    d->home = d->uri.address;
    for (; count < wanted; count++) {
        long fd = d->sockets[count] = device_connect(d, count ? &other : &d->export, why, never, 0);
        if (fd < 0)
            break;
        if (count && !recognise_same(&other, &d->export)) {
            text_add(why, "two connections lead to different exports: one server, or copies of one image, are needed");
            sys1(__NR_close, fd);
            break;
        }
        if (!(d->export.flags & EXPORT_MULTI_CONN))
            wanted = 1;
    }
    if (count == wanted) {
        if (give_to_kernel(d, count, why)) {
            d->missing = d->unsure = d->dead_since = 0;
            d->connections = count; /* a keeper that runs already looks after it from here on */
            tune_all(d);
            return 1;
        }
        *never = 1;
    }
    while (count > 0)
        sys1(__NR_close, d->sockets[--count]);
    return 0;
}

long device_longer(long pause)
{
    return pause * 2 > LAST_PAUSE ? LAST_PAUSE : pause * 2;
}

int device_attach(struct nbd_device *d, long seconds, int (*stop)(void), struct text *why)
{
    long started = clock_now();
    int never = 0, told = 0;
    for (d->pause = FIRST_PAUSE;; d->pause = device_longer(d->pause)) {
        *why = (struct text){0};
        if (attach_once(d, why, &never))
            return 1;
        if (never || (stop && stop()))
            return 0;
        if (seconds && clock_now() + d->pause - started > seconds * SECOND)
            break;
        if (!told++)
            SAY(d->uri.text, ": ", why->bytes, "; trying again");
        clock_rest(d->pause);
    }
    text_add(why, " (tried for ");
    text_add_number(why, seconds);
    text_add(why, " s)");
    return 0;
}

long device_detach(int index)
{
    struct netlink n;
    union message m;
    long error = netlink_open(&n);
    if (error < 0)
        return error;
    netlink_begin(&m, n.family, NLM_F_ACK, NBD_CMD_DISCONNECT, NBD_GENL_VERSION);
    netlink_add32(&m, NBD_ATTR_INDEX, index);
    error = netlink_ask(&n, &m);
    sys1(__NR_close, n.fd);
    return error;
}

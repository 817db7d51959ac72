/*
 * The beginning of an NBD connection: TCP, and the fixed newstyle handshake. What comes after it is the kernel's.
 * https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md
 *
 * Leaves out: TLS, lists of exports, structured replies (the kernel's client has none of them).
 */
#ifndef NODEOS_NBD_H
#define NODEOS_NBD_H

#include <asm/poll.h>
#include <asm/socket.h>
#include <linux/tcp.h>

#include "io.h"
#include "nbd-uri.h"

/* Kernel ABI that is in no header for programs. */
#define SOCK_STREAM 1
#define MSG_DONTWAIT 0x40
#define MSG_NOSIGNAL 0x4000

#define ATTEMPT (10 * SECOND) /* from the connect to the end of the handshake */
#define MAX_REPLY 65536       /* bytes of one reply to an option */

#define NBDMAGIC 0x4e42444d41474943UL
#define IHAVEOPT 0x49484156454f5054UL
#define OLDSTYLE 0x00420281861253UL
#define REPLY_MAGIC 0x0003e889045565a9UL
enum { FIXED_NEWSTYLE = 1, NO_ZEROES = 2 };
enum { OPT_EXPORT_NAME = 1, OPT_GO = 7 };
enum { REP_ACK = 1, REP_INFO = 3 };
#define REP_ERROR 0x80000000U
enum { INFO_EXPORT = 0, INFO_BLOCK_SIZE = 3 };
enum { EXPORT_READ_ONLY = 1 << 1, EXPORT_MULTI_CONN = 1 << 8 };

struct nbd_export {
    unsigned long size;
    unsigned flags;
    unsigned block, maximum; /* the smallest and the largest request; 0: the server does not say */
};

/* One attempt. What is hopeless will not be better in a minute. */
struct attempt {
    long fd, deadline;
    struct text *why;
    int hopeless;
};

static long wait_for(struct attempt *a, short events)
{
    long left = (a->deadline - now()) / 1000;
    struct pollfd poll = {a->fd, events, 0};
    long ready = sys3(__NR_poll, &poll, 1, left > 0 ? left : 0);
    return ready > 0 ? 0 : ready < 0 ? ready : -ETIMEDOUT;
}

static int failed(struct attempt *a, long error)
{
    add_error(a->why, error);
    return 0;
}

static int hopeless(struct attempt *a, const char *what)
{
    add(a->why, what);
    a->hopeless = 1;
    return 0;
}

/* The kernel takes no notice of O_NONBLOCK in its sockets, but of timeouts: so every wait here is a poll. */
static int receive(struct attempt *a, void *to, size_t n)
{
    char *bytes = to;
    while (n > 0) {
        long got = sys6(__NR_recvfrom, a->fd, SYS_L(bytes), n, MSG_DONTWAIT, 0, 0);
        if (got == -EAGAIN)
            got = wait_for(a, POLLIN);
        else if (got == 0)
            got = -ECONNRESET;
        if (got < 0)
            return failed(a, got);
        bytes += got;
        n -= got;
    }
    return 1;
}

static int skip(struct attempt *a, size_t n)
{
    char bytes[256];
    for (size_t part; n > 0; n -= part) {
        part = n < sizeof bytes ? n : sizeof bytes;
        if (!receive(a, bytes, part))
            return 0;
    }
    return 1;
}

/* A handshake is far smaller than any socket's buffer: what cannot be sent at once is an error. */
static int transmit(struct attempt *a, const void *bytes, size_t n)
{
    long sent = sys6(__NR_sendto, a->fd, SYS_L(bytes), n, MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0);
    return sent == (long)n ? 1 : failed(a, sent < 0 ? sent : -EAGAIN);
}

/* Integers of the protocol: big-endian. */
static unsigned long get(const unsigned char *bytes, int size)
{
    unsigned long value = 0;
    for (int i = 0; i < size; i++)
        value = value << 8 | bytes[i];
    return value;
}

static unsigned char *put(unsigned char *to, unsigned long value, int size)
{
    for (int i = size; i-- > 0; value >>= 8)
        to[i] = value;
    return to + size;
}

static int send_option(struct attempt *a, unsigned option, const struct nbd_uri *uri)
{
    unsigned char bytes[16 + 4 + MAX_EXPORT + 4], *at = bytes;
    int go = option == OPT_GO;
    at = put(at, IHAVEOPT, 8);
    at = put(at, option, 4);
    at = put(at, uri->name_length + (go ? 8 : 0), 4);
    if (go)
        at = put(at, uri->name_length, 4);
    memcpy(at, uri->name, uri->name_length);
    at += uri->name_length;
    if (go) {
        at = put(at, 1, 2);
        at = put(at, INFO_BLOCK_SIZE, 2);
    }
    return transmit(a, bytes, at - bytes);
}

static int get_info(struct attempt *a, struct nbd_export *export, size_t length)
{
    unsigned char info[14];
    size_t known = length < sizeof info ? length : sizeof info;
    if (!receive(a, info, known) || !skip(a, length - known))
        return 0;
    if (known >= 12 && get(info, 2) == INFO_EXPORT) {
        export->size = get(info + 2, 8);
        export->flags = get(info + 10, 2);
    } else if (known == 14 && get(info, 2) == INFO_BLOCK_SIZE) {
        export->block = get(info + 2, 4);
        export->maximum = get(info + 10, 4);
    }
    return 1;
}

/* Error replies to an option, without their highest bit. */
enum { ERR_UNSUP = 1, ERR_POLICY, ERR_INVALID, ERR_PLATFORM, ERR_TLS_REQD, ERR_UNKNOWN, ERR_SHUTDOWN };

static int refused(struct attempt *a, const struct nbd_uri *uri, unsigned error, size_t length)
{
    unsigned char said[200];
    size_t n = length < sizeof said ? length : sizeof said;
    if (!receive(a, said, n) || !skip(a, length - n))
        return 0;
    a->hopeless = error != ERR_SHUTDOWN;
    if (error == ERR_TLS_REQD)
        add(a->why, "the server demands TLS, which is not here: serve this export without it");
    else {
        add(a->why, error == ERR_UNKNOWN    ? "the server has no export \""
                    : error == ERR_SHUTDOWN ? "the server is ending; it refuses \""
                                            : "the server refuses \"");
        add_bytes(a->why, uri->name, uri->name_length);
        add(a->why, "\"");
    }
    if (n > 0)
        add(a->why, ": ");
    for (size_t i = 0; i < n; i++)
        add_bytes(a->why, said[i] >= ' ' && said[i] <= '~' ? (char *)&said[i] : "?", 1);
    return 0;
}

/* Returns 1 for success, 0 for a failure, and -1 if the server does not know the option. */
static int go(struct attempt *a, const struct nbd_uri *uri, struct nbd_export *export)
{
    if (!send_option(a, OPT_GO, uri))
        return 0;
    for (;;) {
        unsigned char head[20];
        if (!receive(a, head, sizeof head))
            return 0;
        unsigned type = get(head + 12, 4), length = get(head + 16, 4);
        if (get(head, 8) != REPLY_MAGIC || get(head + 8, 4) != OPT_GO || length > MAX_REPLY)
            return hopeless(a, "the server answers with something that is not NBD");
        if (type == (REP_ERROR | ERR_UNSUP))
            return skip(a, length) ? -1 : 0;
        if (type & REP_ERROR)
            return refused(a, uri, type & ~REP_ERROR, length);
        if (type == REP_ACK)
            return skip(a, length);
        if (!(type == REP_INFO ? get_info(a, export, length) : skip(a, length)))
            return 0;
    }
}

/* What there was before GO. A server that has no such export just hangs up. */
static int export_name(struct attempt *a, const struct nbd_uri *uri, struct nbd_export *export, int zeroes)
{
    unsigned char answer[10];
    if (!send_option(a, OPT_EXPORT_NAME, uri) || !receive(a, answer, sizeof answer))
        return 0;
    export->size = get(answer, 8);
    export->flags = get(answer + 8, 2);
    return zeroes ? skip(a, 124) : 1;
}

static int shake_hands(struct attempt *a, const struct nbd_uri *uri, struct nbd_export *export)
{
    unsigned char greeting[18], flags[4];
    if (!receive(a, greeting, 16))
        return 0;
    if (get(greeting, 8) != NBDMAGIC)
        return hopeless(a, "what answers there is no NBD server");
    if (get(greeting + 8, 8) == OLDSTYLE)
        return hopeless(a, "the server speaks the old style of NBD, which has no names of exports");
    if (get(greeting + 8, 8) != IHAVEOPT)
        return hopeless(a, "what answers there is no NBD server");
    if (!receive(a, greeting + 16, 2))
        return 0;
    unsigned both = get(greeting + 16, 2) & (FIXED_NEWSTYLE | NO_ZEROES);
    put(flags, both, 4);
    if (!transmit(a, flags, sizeof flags))
        return 0;
    int done = both & FIXED_NEWSTYLE ? go(a, uri, export) : -1;
    if (done < 0)
        done = export_name(a, uri, export, !(both & NO_ZEROES));
    if (done && export->size == 0)
        return hopeless(a, "the export is empty: its size is 0");
    return done;
}

static void set_option(long fd, int level, int name, int value)
{
    sys5(__NR_setsockopt, fd, level, name, &value, sizeof value);
}

static int dial(struct attempt *a, const struct nbd_uri *uri)
{
    int size = uri->family == AF_INET ? sizeof uri->address.v4 : sizeof uri->address.v6, error = 0;
    unsigned error_size = sizeof error;
    /* An idle connection notices in half a minute that its server is gone. */
    set_option(a->fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(a->fd, IPPROTO_TCP, TCP_KEEPIDLE, 10);
    set_option(a->fd, IPPROTO_TCP, TCP_KEEPINTVL, 5);
    set_option(a->fd, IPPROTO_TCP, TCP_KEEPCNT, 5);
    set_option(a->fd, IPPROTO_TCP, TCP_NODELAY, 1);
    long done = sys3(__NR_connect, a->fd, &uri->address, size);
    if (done == -EINPROGRESS) {
        done = wait_for(a, POLLOUT);
        if (done == 0)
            sys5(__NR_getsockopt, a->fd, SOL_SOCKET, SO_ERROR, &error, &error_size);
        done = done < 0 ? done : -error;
    }
    sys3(__NR_fcntl, a->fd, F_SETFL, 0);
    return done < 0 ? failed(a, done) : 1;
}

/* Returns a connection that is past its handshake, or -1; then why says why. */
static long nbd_connect(const struct nbd_uri *uri, struct nbd_export *export, struct text *why, int *never)
{
    struct attempt a = {.why = why, .deadline = now() + ATTEMPT};
    *export = (struct nbd_export){0};
    a.fd = sys3(__NR_socket, uri->family, SOCK_STREAM | O_CLOEXEC | O_NONBLOCK, 0);
    if (a.fd < 0)
        return failed(&a, a.fd) - 1;
    int done = dial(&a, uri) && shake_hands(&a, uri, export);
    *never = a.hopeless;
    if (done)
        return a.fd;
    sys1(__NR_close, a.fd);
    return -1;
}

#endif

/*
 * The beginning of an NBD connection: TCP, and the fixed newstyle handshake. What comes after it is the kernel's.
 * https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md
 *
 * Leaves out: lists of exports, structured replies (the kernel's client has neither).
 */
#ifndef NODEOS_NBD_H
#define NODEOS_NBD_H

#include <asm/poll.h>
#include <asm/socket.h>
#include <linux/tcp.h>

#include "tls.h"

/* Kernel ABI that is in no header for programs. */
#define SOCK_STREAM 1
#define MSG_DONTWAIT 0x40
#define MSG_NOSIGNAL 0x4000
#define SOL_TLS 282
#define TLS_GET_RECORD_TYPE 2
struct iovec {
    void *base;
    size_t length;
};
struct msghdr {
    void *name;
    int name_length;
    struct iovec *parts;
    size_t count;
    void *control;
    size_t control_length;
    unsigned flags;
};
struct cmsghdr {
    size_t length;
    int level, type;
    unsigned char data[8];
};

#define ATTEMPT (10 * SECOND) /* from the connect to the end of the handshake; then for what recognise.h reads */
#define MAX_REPLY 65536       /* bytes of one reply to an option */

#define NBDMAGIC 0x4e42444d41474943UL
#define IHAVEOPT 0x49484156454f5054UL
#define OLDSTYLE 0x00420281861253UL
#define REPLY_MAGIC 0x0003e889045565a9UL
enum { FIXED_NEWSTYLE = 1, NO_ZEROES = 2 };
enum { OPT_EXPORT_NAME = 1, OPT_STARTTLS = 5, OPT_GO = 7 };
enum { REP_ACK = 1, REP_INFO = 3 };
#define REP_ERROR 0x80000000U
enum { INFO_EXPORT = 0, INFO_BLOCK_SIZE = 3 };
enum { EXPORT_READ_ONLY = 1 << 1, EXPORT_MULTI_CONN = 1 << 8 };

struct nbd_export {
    unsigned long size;
    unsigned flags;
    unsigned block, maximum; /* the smallest and the largest request; 0: the server does not say */
    unsigned long start;     /* what its first bytes are (recognise.h), or 0 */
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

/* Under TLS there are not only data: RFC 8446, section 5.1. */
enum { RECORD_ALERT = 21, RECORD_DATA = 23 };

/* How a server says what is wrong with the client, be it after a handshake that it let through: RFC 8446, section 6. */
static int alerted(struct attempt *a, int alert)
{
    static const struct { int number; const char *words; } ALERTS[] = {
        {40, "handshake failure"},     {42, "bad certificate"},    {45, "certificate expired"},
        {46, "certificate unknown"},   {47, "illegal parameter"},  {48, "unknown CA"},
        {49, "access denied"},         {51, "decrypt error"},      {70, "protocol version"},
        {80, "internal error"},        {112, "unrecognized name"}, {115, "unknown PSK identity"},
        {116, "certificate required"},
    };
    if (alert == 0) /* close_notify */
        return failed(a, -ECONNRESET);
    add(a->why, "the server ends TLS with alert ");
    add_number(a->why, alert);
    for (size_t i = 0; i < sizeof ALERTS / sizeof *ALERTS; i++)
        if (ALERTS[i].number == alert) {
            add(a->why, ": ");
            add(a->why, ALERTS[i].words);
        }
    a->hopeless = 1;
    return 0;
}

/* Like recv(2). The type of what was received is a record's of TLS, and that of data without TLS. */
static long receive_some(struct attempt *a, void *to, size_t n, int *type)
{
    struct iovec part = {to, n};
    struct cmsghdr control = {0};
    struct msghdr message = {.parts = &part, .count = 1, .control = &control, .control_length = sizeof control};
    long got = sys3(__NR_recvmsg, a->fd, &message, MSG_DONTWAIT);
    *type = control.level == SOL_TLS && control.type == TLS_GET_RECORD_TYPE ? control.data[0] : RECORD_DATA;
    return got;
}

/* The kernel takes no notice of O_NONBLOCK in its sockets, but of timeouts: so every wait here is a poll. Who never stops
 * talking is no better than who says nothing. */
static int receive(struct attempt *a, void *to, size_t n)
{
    unsigned char *bytes = to;
    for (int type, waits = 0; n > 0;) {
        long got = now() < a->deadline ? receive_some(a, bytes, n, &type) : -ETIMEDOUT;
        if (got > 0 && type == RECORD_DATA) {
            bytes += got;
            n -= got;
            waits = 0;
        } else if (got > 1 && type == RECORD_ALERT)
            return alerted(a, bytes[1]);
        else if (got == -EAGAIN) {
            /* Half a record of TLS: poll says that there is something, which nobody can read yet. */
            if (waits++)
                rest(1000);
            got = wait_for(a, POLLIN);
        } else if (got == 0)
            got = -ECONNRESET;
        /* Everything else, such as tickets for another session, is of no use. */
        if (got < 0)
            return failed(a, got);
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

/* The server is gone, and what is sent now is too late. What it said before may still be there: why it went. */
static int last_words(struct attempt *a)
{
    unsigned char bytes[256];
    long got;
    for (int type; now() < a->deadline && (got = receive_some(a, bytes, sizeof bytes, &type)) > 0;)
        if (got > 1 && type == RECORD_ALERT)
            return alerted(a, bytes[1]);
    return failed(a, -ECONNRESET);
}

/* A handshake is far smaller than any socket's buffer: what cannot be sent at once is an error. */
static int transmit(struct attempt *a, const void *bytes, size_t n)
{
    long sent = sys6(__NR_sendto, a->fd, SYS_L(bytes), n, MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0);
    if (sent == (long)n)
        return 1;
    return sent == -EPIPE || sent == -ECONNRESET ? last_words(a) : failed(a, sent < 0 ? sent : -EAGAIN);
}

static int send_option(struct attempt *a, unsigned option, const void *data, size_t n)
{
    unsigned char bytes[16 + 4 + MAX_EXPORT + 4], *at = bytes;
    at = put(at, IHAVEOPT, 8);
    at = put(at, option, 4);
    at = put(at, n, 4);
    memcpy(at, data, n);
    return transmit(a, bytes, at + n - bytes);
}

static int send_go(struct attempt *a, const struct nbd_uri *uri)
{
    unsigned char data[4 + MAX_EXPORT + 4], *at = data;
    at = put(at, uri->name_length, 4);
    memcpy(at, uri->name, uri->name_length);
    at = put(at + uri->name_length, 1, 2);
    at = put(at, INFO_BLOCK_SIZE, 2);
    return send_option(a, OPT_GO, data, at - data);
}

/* The start of a reply; its data is yet to be received. */
static int get_reply(struct attempt *a, unsigned option, unsigned *type, unsigned *length)
{
    unsigned char head[20];
    if (!receive(a, head, sizeof head))
        return 0;
    *type = get(head + 12, 4);
    *length = get(head + 16, 4);
    if (get(head, 8) != REPLY_MAGIC || get(head + 8, 4) != option || *length > MAX_REPLY)
        return hopeless(a, "the server answers with something that is not NBD");
    return 1;
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
        add(a->why, "the server demands TLS: nbds://");
    else {
        add(a->why, error == ERR_UNKNOWN    ? "the server has no export \""
                    : error == ERR_SHUTDOWN ? "the server is ending; it refuses \""
                                            : "the server refuses \"");
        add_bytes(a->why, uri->name, uri->shown);
        add(a->why, "\"");
    }
    if (uri->shown < uri->name_length)
        n = 0; /* a server repeats the name in its words */
    if (n > 0)
        add(a->why, ": ");
    for (size_t i = 0; i < n; i++)
        add_bytes(a->why, said[i] >= ' ' && said[i] <= '~' ? (char *)&said[i] : "?", 1);
    return 0;
}

/* Returns 1 for success, 0 for a failure, and -1 if the server does not know the option. */
static int go(struct attempt *a, const struct nbd_uri *uri, struct nbd_export *export)
{
    if (!send_go(a, uri))
        return 0;
    for (;;) {
        unsigned type, length;
        if (!get_reply(a, OPT_GO, &type, &length))
            return 0;
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
    if (!send_option(a, OPT_EXPORT_NAME, uri->name, uri->name_length) || !receive(a, answer, sizeof answer))
        return 0;
    export->size = get(answer, 8);
    export->flags = get(answer + 8, 2);
    return zeroes ? skip(a, 124) : 1;
}

/* From here on nothing goes over the network in the clear. */
static int start_tls(struct attempt *a, const struct nbd_uri *uri)
{
    unsigned type, length;
    if (!send_option(a, OPT_STARTTLS, "", 0) || !get_reply(a, OPT_STARTTLS, &type, &length) || !skip(a, length))
        return 0;
    if (type != REP_ACK)
        return hopeless(a, "the server has no TLS");
    int status = tls_begin(&uri->tls, a->fd, a->deadline, a->why);
    if (status >= TLS_ALERT)
        return alerted(a, status - TLS_ALERT);
    a->hopeless = status >= TLS_NEVER;
    return status == TLS_DONE;
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
    if (uri->tls.used && !(both & FIXED_NEWSTYLE))
        return hopeless(a, "the server has no TLS");
    if (uri->tls.used && !start_tls(a, uri))
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
    int error = 0;
    unsigned error_size = sizeof error;
    /* An idle connection notices in half a minute that its server is gone. */
    set_option(a->fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(a->fd, IPPROTO_TCP, TCP_KEEPIDLE, 10);
    set_option(a->fd, IPPROTO_TCP, TCP_KEEPINTVL, 5);
    set_option(a->fd, IPPROTO_TCP, TCP_KEEPCNT, 5);
    set_option(a->fd, IPPROTO_TCP, TCP_NODELAY, 1);
    long done = sys3(__NR_connect, a->fd, &uri->address, sizeof uri->address);
    if (done == -EINPROGRESS) {
        done = wait_for(a, POLLOUT);
        if (done == 0)
            sys5(__NR_getsockopt, a->fd, SOL_SOCKET, SO_ERROR, &error, &error_size);
        done = done < 0 ? done : -error;
    }
    sys3(__NR_fcntl, a->fd, F_SETFL, 0);
    return done < 0 ? failed(a, done) : 1;
}

/* Returns a connection that is past its handshake, or -1; then why says why. Meanwhile *attempt, if there is one, is its
 * descriptor, for who comes after a process that is killed here. */
static long nbd_connect(const struct nbd_uri *uri, struct nbd_export *export, struct text *why, int *never,
                        long *attempt)
{
    struct attempt a = {.why = why, .deadline = now() + ATTEMPT};
    *export = (struct nbd_export){0};
    a.fd = sys3(__NR_socket, uri->address.v4.sin_family, SOCK_STREAM | O_CLOEXEC | O_NONBLOCK, 0);
    if (a.fd < 0)
        return failed(&a, a.fd) - 1;
    if (attempt)
        *attempt = a.fd;
    int done = dial(&a, uri) && shake_hands(&a, uri, export);
    *never = a.hopeless;
    if (!done)
        sys1(__NR_close, a.fd);
    if (attempt)
        *attempt = 0;
    return done ? a.fd : -1;
}

#endif

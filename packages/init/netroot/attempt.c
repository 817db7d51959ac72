#include <asm/poll.h>

#include "../lib/io.h"
#include "../lib/say.h"
#include "../lib/socket.h"
#include "attempt.h"

/* The kernel delivers more than data under TLS: RFC 8446, section 5.1. */
enum { RECORD_ALERT = 21, RECORD_DATA = 23 };

long attempt_wait(struct attempt *a, short events)
{
    struct pollfd poll = {a->fd, events, 0};
    long ready = sys_poll(&poll, 1, clock_left(a->deadline));
    return ready > 0 ? 0 : ready < 0 ? ready : -ETIMEDOUT;
}

int attempt_failed(struct attempt *a, long error)
{
    say_add_error(a->why, error);
    return 0;
}

int attempt_hopeless(struct attempt *a, const char *what)
{
    text_add(a->why, what);
    a->hopeless = 1;
    return 0;
}

/* A server may send one even after it has let the handshake pass: it does not like the client's certificate. */
int attempt_alerted(struct attempt *a, int alert)
{
    static const struct { int number; const char *words; } ALERTS[] = {
        {40, "handshake failure"},     {42, "bad certificate"},    {45, "certificate expired"},
        {46, "certificate unknown"},   {47, "illegal parameter"},  {48, "unknown CA"},
        {49, "access denied"},         {51, "decrypt error"},      {70, "protocol version"},
        {80, "internal error"},        {112, "unrecognized name"}, {115, "unknown PSK identity"},
        {116, "certificate required"},
    };
    if (alert == 0) /* close_notify */
        return attempt_failed(a, -ECONNRESET);
    text_add(a->why, "the server ends TLS with alert ");
    text_add_number(a->why, alert);
    for (size_t i = 0; i < sizeof ALERTS / sizeof *ALERTS; i++)
        if (ALERTS[i].number == alert) {
            text_add(a->why, ": ");
            text_add(a->why, ALERTS[i].words);
        }
    a->hopeless = 1;
    return 0;
}

/* Like recv(2). Sets the type of the TLS record that it was; without TLS that is RECORD_DATA. */
static long receive_some(struct attempt *a, void *to, size_t n, int *type)
{
    struct iovec part = {to, n};
    struct cmsghdr control = {0};
    struct msghdr message = {.parts = &part, .count = 1, .control = &control, .control_length = sizeof control};
    long got = sys3(__NR_recvmsg, a->fd, &message, MSG_DONTWAIT);
    *type = control.level == SOL_TLS && control.type == TLS_GET_RECORD_TYPE ? control.data[0] : RECORD_DATA;
    return got;
}

/* Every wait is a poll: a timeout of the socket would stay with it, and the kernel's NBD would obey it later. The
 * deadline also ends a server that never stops talking. */
int attempt_receive(struct attempt *a, void *to, size_t n)
{
    unsigned char *bytes = to;
    for (int type, waits = 0; n > 0;) {
        long got = clock_now() < a->deadline ? receive_some(a, bytes, n, &type) : -ETIMEDOUT;
        if (got > 0 && type == RECORD_DATA) {
            bytes += got;
            n -= got;
            waits = 0;
        } else if (got > 1 && type == RECORD_ALERT)
            return attempt_alerted(a, bytes[1]);
        else if (got == -EAGAIN) {
            /* poll reports half a TLS record, which cannot be read yet. */
            if (waits++)
                clock_rest(1000);
            got = attempt_wait(a, POLLIN);
        } else if (got == 0)
            got = -ECONNRESET;
        /* Other records, such as tickets for another session, are of no use. */
        if (got < 0)
            return attempt_failed(a, got);
    }
    return 1;
}

int attempt_skip(struct attempt *a, size_t n)
{
    char bytes[256];
    for (size_t part; n > 0; n -= part) {
        part = n < sizeof bytes ? n : sizeof bytes;
        if (!attempt_receive(a, bytes, part))
            return 0;
    }
    return 1;
}

/* The server hung up, and why may be in what it sent before. */
static int last_words(struct attempt *a)
{
    unsigned char bytes[256];
    long got;
    for (int type; clock_now() < a->deadline && (got = receive_some(a, bytes, sizeof bytes, &type)) > 0;)
        if (got > 1 && type == RECORD_ALERT)
            return attempt_alerted(a, bytes[1]);
    return attempt_failed(a, -ECONNRESET);
}

int attempt_send(struct attempt *a, const void *bytes, size_t n)
{
    long sent = sys6(__NR_sendto, a->fd, SYS_L(bytes), n, MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0);
    if (sent == (long)n)
        return 1;
    return sent == -EPIPE || sent == -ECONNRESET ? last_words(a) : attempt_failed(a, sent < 0 ? sent : -EAGAIN);
}

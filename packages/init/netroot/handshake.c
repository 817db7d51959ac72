#include "../lib/bytes.h"
#include "handshake.h"
#include "tls.h"

static int send_option(struct attempt *a, unsigned option, const void *data, size_t n)
{
    unsigned char bytes[16 + 4 + MAX_EXPORT + 4], *at = bytes;
    at = bytes_put(at, IHAVEOPT, 8);
    at = bytes_put(at, option, 4);
    at = bytes_put(at, n, 4);
    memcpy(at, data, n);
    return attempt_send(a, bytes, at + n - bytes);
}

static int send_go(struct attempt *a, const struct nbd_uri *uri)
{
    unsigned char data[4 + MAX_EXPORT + 4], *at = data;
    at = bytes_put(at, uri->name_length, 4);
    memcpy(at, uri->name, uri->name_length);
    at = bytes_put(at + uri->name_length, 1, 2);
    at = bytes_put(at, INFO_BLOCK_SIZE, 2);
    return send_option(a, OPT_GO, data, at - data);
}

/* Receives the start of a reply: `length` bytes of data follow it. */
static int get_reply(struct attempt *a, unsigned option, unsigned *type, unsigned *length)
{
    unsigned char head[20];
    if (!attempt_receive(a, head, sizeof head))
        return 0;
    *type = bytes_get(head + 12, 4);
    *length = bytes_get(head + 16, 4);
    if (bytes_get(head, 8) != REPLY_MAGIC || bytes_get(head + 8, 4) != option || *length > MAX_REPLY)
        return attempt_hopeless(a, "the server answers with something that is not NBD");
    return 1;
}

/* Receives the data of REP_INFO. */
static int get_info(struct attempt *a, struct nbd_export *export, size_t length)
{
    unsigned char info[14];
    size_t known = length < sizeof info ? length : sizeof info;
    if (!attempt_receive(a, info, known) || !attempt_skip(a, length - known))
        return 0;
    if (known >= 12 && bytes_get(info, 2) == INFO_EXPORT) {
        export->size = bytes_get(info + 2, 8);
        export->flags = bytes_get(info + 10, 2);
    } else if (known == 14 && bytes_get(info, 2) == INFO_BLOCK_SIZE) {
        export->block = bytes_get(info + 2, 4);
        export->maximum = bytes_get(info + 10, 4);
    }
    return 1;
}

/* Receives the data of an error: the server says why, in words. */
static int refused(struct attempt *a, const struct nbd_uri *uri, unsigned error, size_t length)
{
    unsigned char said[200];
    size_t n = length < sizeof said ? length : sizeof said;
    if (!attempt_receive(a, said, n) || !attempt_skip(a, length - n))
        return 0;
    a->hopeless = error != ERR_SHUTDOWN;
    if (error == ERR_TLS_REQD)
        text_add(a->why, "the server demands TLS: nbds://");
    else {
        text_add(a->why, error == ERR_UNKNOWN    ? "the server has no export \""
                    : error == ERR_SHUTDOWN ? "the server is ending; it refuses \""
                                            : "the server refuses \"");
        text_add_bytes(a->why, uri->name, uri->shown);
        text_add(a->why, "\"");
    }
    if (uri->shown < uri->name_length)
        n = 0; /* a server may repeat the secret name */
    if (n > 0)
        text_add(a->why, ": ");
    for (size_t i = 0; i < n; i++)
        text_add_bytes(a->why, said[i] >= ' ' && said[i] <= '~' ? (char *)&said[i] : "?", 1);
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
            return attempt_skip(a, length) ? -1 : 0;
        if (type & REP_ERROR)
            return refused(a, uri, type & ~REP_ERROR, length);
        if (type == REP_ACK)
            return attempt_skip(a, length);
        if (!(type == REP_INFO ? get_info(a, export, length) : attempt_skip(a, length)))
            return 0;
    }
}

/* The option of servers without GO. A server that has no such export just hangs up. */
static int export_name(struct attempt *a, const struct nbd_uri *uri, struct nbd_export *export, int zeroes)
{
    unsigned char answer[10];
    if (!send_option(a, OPT_EXPORT_NAME, uri->name, uri->name_length) || !attempt_receive(a, answer, sizeof answer))
        return 0;
    export->size = bytes_get(answer, 8);
    export->flags = bytes_get(answer + 8, 2);
    return zeroes ? attempt_skip(a, 124) : 1;
}

/* After it nothing goes over the network in the clear. */
static int start_tls(struct attempt *a, const struct nbd_uri *uri)
{
    unsigned type, length;
    if (!send_option(a, OPT_STARTTLS, "", 0) || !get_reply(a, OPT_STARTTLS, &type, &length) || !attempt_skip(a, length))
        return 0;
    if (type != REP_ACK)
        return attempt_hopeless(a, "the server has no TLS");
    int status = tls_begin(&uri->tls, a->fd, a->deadline, a->why);
    if (status >= TLS_ALERT)
        return attempt_alerted(a, status - TLS_ALERT);
    a->hopeless = status >= TLS_NEVER;
    return status == TLS_DONE;
}

int handshake_run(struct attempt *a, const struct nbd_uri *uri, struct nbd_export *export)
{
    unsigned char greeting[18], flags[4];
    if (!attempt_receive(a, greeting, 16))
        return 0;
    if (bytes_get(greeting, 8) != NBDMAGIC)
        return attempt_hopeless(a, "what answers there is no NBD server");
    if (bytes_get(greeting + 8, 8) == OLDSTYLE)
        return attempt_hopeless(a, "the server speaks the old style of NBD, which has no names of exports");
    if (bytes_get(greeting + 8, 8) != IHAVEOPT)
        return attempt_hopeless(a, "what answers there is no NBD server");
    if (!attempt_receive(a, greeting + 16, 2))
        return 0;
    unsigned both = bytes_get(greeting + 16, 2) & (FIXED_NEWSTYLE | NO_ZEROES);
    bytes_put(flags, both, 4);
    if (!attempt_send(a, flags, sizeof flags))
        return 0;
    if (uri->tls.used && !(both & FIXED_NEWSTYLE))
        return attempt_hopeless(a, "the server has no TLS");
    if (uri->tls.used && !start_tls(a, uri))
        return 0;
    int done = both & FIXED_NEWSTYLE ? go(a, uri, export) : -1;
    if (done < 0)
        done = export_name(a, uri, export, !(both & NO_ZEROES));
    if (done && export->size == 0)
        return attempt_hopeless(a, "the export is empty: its size is 0");
    return done;
}

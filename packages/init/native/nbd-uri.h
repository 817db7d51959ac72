/*
 * nbd://HOST[:PORT]/EXPORT[?connections=N], and nbds:// with TLS, of which tls.h says what the words mean:
 * nbds://[USER@]HOST[:PORT]/EXPORT[?tls-hostname=NAME&tls-certificates=FOLDER&tls-psk-file=FILE&tls-verify-peer=false]
 * https://github.com/NetworkBlockDevice/nbd/blob/master/doc/uri.md
 * Leaves out: Unix sockets, zones of addresses.
 */
#ifndef NODEOS_NBD_URI_H
#define NODEOS_NBD_URI_H

#include "resolve.h"

#define NBD_PORT 10809
#define MAX_EXPORT 512 /* bytes; the whole of it fits into a message */
#define MAX_CONNECTIONS 8
#define MAX_WORD 256 /* bytes of a name, or of a path, with the zero at its end */

struct nbd_tls {
    int used;
    int any;             /* whatever the server's certificate is */
    char name[MAX_WORD]; /* in the server's certificate: the host, if it is not said */
    char user[MAX_WORD]; /* of the shared key; empty: of the first one */
    char keys[MAX_WORD]; /* a file with shared keys; empty: certificates */
    char folder[MAX_WORD];
};

struct nbd_uri {
    const char *text;
    struct nbd_tls tls;
    union address address; /* if the host is a name: the one that was found last */
    char host[MAX_HOST];   /* its name; empty if it is an address */
    int port; /* as in an address */
    char name[MAX_EXPORT + 1];
    size_t name_length;
    size_t shown; /* of the name: the rest of it is a secret */
    long connections;
};

/* Copies what stands from s to end, with %XX decoded, and a zero behind it. Returns the length, -1 if it is too long. */
static long decode(const char *s, const char *end, char *to, size_t size)
{
    size_t n = 0;
    while (s < end) {
        int c = *s++;
        if (c == '%' && end - s >= 2 && hex_digit(s[0]) >= 0 && hex_digit(s[1]) >= 0) {
            c = hex_digit(s[0]) << 4 | hex_digit(s[1]);
            s += 2;
        }
        if (n + 1 >= size)
            return -1;
        to[n++] = c;
    }
    to[n] = 0;
    return n;
}

static int wrong_uri(struct text *why, const char *what)
{
    add(why, what);
    return 0;
}

/* The user, the host and the port, from s to end. */
static int parse_authority(struct nbd_uri *uri, const char *s, const char *end, struct text *why)
{
    const char *host = find_any(s, end, "@"), *stop;
    if (host == end)
        host = s;
    else if (!uri->tls.used || decode(s, host++, uri->tls.user, MAX_WORD) < 0)
        return wrong_uri(why, "a user is of nbds:// only, and not so long");
    int brackets = *host == '[';
    host += brackets;
    stop = find_any(host, end, brackets ? "]" : ":");
    s = stop + (brackets && stop < end);
    if (!parse_address(host, stop, &uri->address) || brackets != (uri->address.v4.sin_family == AF_INET6)) {
        if (brackets || !is_host_name(host, stop)) {
            add(why, "\"");
            add_bytes(why, host, stop - host);
            return wrong_uri(why, "\" is neither an address, such as 10.0.2.2 or [fd00::2], nor a name");
        }
        decode(host, stop, uri->host, MAX_HOST);
    }
    /* The dot at the end of a name is for name servers only: RFC 6066, section 3. */
    decode(host, stop - (*uri->host && stop[-1] == '.'), uri->tls.name, MAX_WORD);
    long port = NBD_PORT;
    if (s < end && *s == ':')
        for (port = number(++s); s < end && *s >= '0' && *s <= '9';)
            s++;
    if (s != end || port < 1 || port > 65535)
        return wrong_uri(why, "after the host there may be :PORT, from 1 to 65535");
    uri->port = uri->address.v4.sin_port = __builtin_bswap16(port);
    return 1;
}

/* NAME=VALUE of what follows the question mark. */
static int parse_word(struct nbd_uri *uri, const char *s, const char *end, struct text *why)
{
    const struct { const char *prefix; char *to; } WORDS[] = {
        {"tls-hostname=", uri->tls.name},
        {"tls-psk-file=", uri->tls.keys},
        {"tls-certificates=", uri->tls.folder},
    };
    const char *value;
    if ((value = after(s, "connections="))) {
        uri->connections = number(value);
        if (uri->connections >= 1 && uri->connections <= MAX_CONNECTIONS)
            return 1;
        return wrong_uri(why, "connections=N is from 1 to 8");
    }
    for (size_t i = 0; uri->tls.used && i < sizeof WORDS / sizeof *WORDS; i++)
        if ((value = after(s, WORDS[i].prefix)))
            return decode(value, end, WORDS[i].to, MAX_WORD) >= 0 || wrong_uri(why, "a path or a name is too long");
    if (uri->tls.used && (value = after(s, "tls-verify-peer="))) {
        uri->tls.any = !!after(value, "false");
        return 1;
    }
    return wrong_uri(why, uri->tls.used ? "after ? there may be connections=N, tls-hostname=, tls-certificates=, "
                                          "tls-psk-file= and tls-verify-peer=false"
                                        : "after ? there may be connections=N, from 1 to 8");
}

static int parse_uri(struct nbd_uri *uri, const char *text, struct text *why)
{
    memset(uri, 0, sizeof *uri);
    uri->text = text;
    uri->connections = 1;
    const char *s = after(text, "nbd://"), *end = text + length(text), *stop;
    if (!s) {
        s = after(text, "nbds://");
        uri->tls.used = 1;
    }
    if (!s)
        return wrong_uri(why, "expected nbd://HOST[:PORT]/EXPORT, or nbds://");
    stop = find_any(s, end, "/?");
    if (!parse_authority(uri, s, stop, why))
        return 0;
    s = *stop == '/' ? stop + 1 : stop;
    stop = find_any(s, end, "?");
    long n = decode(s, stop, uri->name, sizeof uri->name);
    if (n < 0)
        return wrong_uri(why, "the export's name is too long");
    uri->name_length = uri->shown = n;
    while (*stop) {
        s = stop + 1;
        stop = find_any(s, end, "&");
        if (!parse_word(uri, s, stop, why))
            return 0;
    }
    return 1;
}

/* Appends what must not be said to the name of the export: n bytes, without the white space at their end. Returns success. */
static inline int complete_name(struct nbd_uri *uri, const char *secret, size_t n, struct text *why)
{
    while (n > 0 && secret[n - 1] <= ' ')
        n--;
    if (n >= sizeof uri->name - uri->name_length)
        return wrong_uri(why, "the export's name is too long");
    memcpy(uri->name + uri->name_length, secret, n);
    uri->name[uri->name_length + n] = 0;
    uri->name_length += n;
    return 1;
}

/* Looks the host up, if it has a name. Of several addresses it is `home`, where the last connection was, if the name still
 * has that; else the one after that of the last attempt, or the first. Returns whether there is one: if there is none it is
 * home again, or as it was. */
static int find_host(struct nbd_uri *uri, const union address *home, struct text *why)
{
    union address found[MAX_ADDRESSES];
    int next = 0, count = *uri->host ? resolve(uri->host, found, why) : 0;
    for (int i = 0; i < count; i++)
        if (same_address(&found[i], &uri->address))
            next = (i + 1) % count;
    for (int i = 0; i < count && home; i++)
        if (same_address(&found[i], home))
            next = i;
    if (count > 0 || home)
        uri->address = count > 0 ? found[next] : *home;
    uri->address.v4.sin_port = uri->port;
    return count > 0 || !*uri->host;
}

#endif

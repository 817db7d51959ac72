/*
 * nbd://ADDRESS[:PORT]/EXPORT[?connections=N], and nbds:// with TLS, of which tls.h says what the words mean:
 * nbds://[USER@]ADDRESS[:PORT]/EXPORT[?tls-hostname=NAME&tls-certificates=FOLDER&tls-psk-file=FILE&tls-verify-peer=false]
 * https://github.com/NetworkBlockDevice/nbd/blob/master/doc/uri.md
 * Leaves out: names of hosts (there is no resolver before there is a root), Unix sockets, zones of addresses.
 */
#ifndef NODEOS_NBD_URI_H
#define NODEOS_NBD_URI_H

#include <linux/in.h>
#include <linux/in6.h>

#include "text.h"

#define AF_INET 2
#define AF_INET6 10
#define NBD_PORT 10809
#define MAX_EXPORT 512 /* bytes; the whole of it fits into a message */
#define MAX_CONNECTIONS 8
#define MAX_WORD 256 /* bytes of a name, or of a path, with the zero at its end */

struct nbd_tls {
    int used;
    int any;             /* whatever the server's certificate is */
    char name[MAX_WORD]; /* in the server's certificate: the address, if it is not said */
    char user[MAX_WORD]; /* of the shared key; empty: of the first one */
    char keys[MAX_WORD]; /* a file with shared keys; empty: certificates */
    char folder[MAX_WORD];
};

struct nbd_uri {
    const char *text;
    struct nbd_tls tls;
    union {
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address;
    int family;
    char name[MAX_EXPORT + 1];
    size_t name_length;
    long connections;
};

static int hex_digit(char c)
{
    int letter = c | 0x20;
    return c >= '0' && c <= '9' ? c - '0' : letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

static int parse_ipv4(const char *s, const char *end, unsigned char *bytes)
{
    for (int i = 0; i < 4; i++) {
        int value = 0, digits = 0;
        for (; s < end && *s >= '0' && *s <= '9' && digits < 3; digits++)
            value = value * 10 + (*s++ - '0');
        if (digits == 0 || value > 255 || (i < 3 && (s == end || *s++ != '.')))
            return 0;
        bytes[i] = value;
    }
    return s == end;
}

/* RFC 4291, section 2.2, without the form that ends like an IPv4 address. */
static int parse_ipv6(const char *s, const char *end, unsigned char *bytes)
{
    int groups[8], n = 0, gap = -1;
    if (end - s >= 2 && s[0] == ':' && s[1] == ':') {
        gap = 0;
        s += 2;
    }
    while (s < end) {
        int value = 0, digits = 0;
        for (; s < end && hex_digit(*s) >= 0 && digits < 4; digits++)
            value = value << 4 | hex_digit(*s++);
        if (digits == 0 || n == 8)
            return 0;
        groups[n++] = value;
        if (s == end)
            break;
        if (*s++ != ':' || s == end)
            return 0;
        if (*s == ':') {
            if (gap >= 0)
                return 0;
            gap = n;
            s++;
        }
    }
    if (gap < 0 ? n != 8 : n == 8)
        return 0;
    int tail = gap < 0 ? 8 : n - gap;
    for (int i = 0; i < 8; i++) {
        int group = i >= 8 - tail ? groups[n - (8 - i)] : i < gap ? groups[i] : 0;
        bytes[2 * i] = group >> 8;
        bytes[2 * i + 1] = group;
    }
    return 1;
}

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

static const char *find_any(const char *s, const char *end, const char *wanted)
{
    for (; s < end; s++)
        for (const char *w = wanted; *w; w++)
            if (*s == *w)
                return s;
    return end;
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
    int ok;
    if (host == end)
        host = s;
    else if (!uri->tls.used || decode(s, host++, uri->tls.user, MAX_WORD) < 0)
        return wrong_uri(why, "a user is of nbds:// only, and not so long");
    if (*host == '[') {
        stop = find_any(++host, end, "]");
        s = stop < end ? stop + 1 : stop;
        uri->family = AF_INET6;
        ok = parse_ipv6(host, stop, uri->address.v6.sin6_addr.in6_u.u6_addr8);
    } else {
        s = stop = find_any(host, end, ":");
        uri->family = AF_INET;
        ok = parse_ipv4(host, stop, (unsigned char *)&uri->address.v4.sin_addr);
    }
    if (!ok) {
        add(why, "\"");
        add_bytes(why, host, stop - host);
        return wrong_uri(why, "\" is no address: names of hosts cannot be looked up here; write 10.0.2.2 or [fd00::2]");
    }
    decode(host, stop, uri->tls.name, MAX_WORD);
    long port = NBD_PORT;
    if (s < end && *s == ':')
        for (port = number(++s); s < end && *s >= '0' && *s <= '9';)
            s++;
    if (s != end || port < 1 || port > 65535)
        return wrong_uri(why, "after the address there may be :PORT, from 1 to 65535");
    /* The family and the port are at the same places in both structures. */
    uri->address.v4.sin_family = uri->family;
    uri->address.v4.sin_port = __builtin_bswap16(port);
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
        return wrong_uri(why, "expected nbd://ADDRESS[:PORT]/EXPORT, or nbds://");
    stop = find_any(s, end, "/?");
    if (!parse_authority(uri, s, stop, why))
        return 0;
    s = *stop == '/' ? stop + 1 : stop;
    stop = find_any(s, end, "?");
    long n = decode(s, stop, uri->name, sizeof uri->name);
    if (n < 0)
        return wrong_uri(why, "the export's name is too long");
    uri->name_length = n;
    while (*stop) {
        s = stop + 1;
        stop = find_any(s, end, "&");
        if (!parse_word(uri, s, stop, why))
            return 0;
    }
    return 1;
}

#endif

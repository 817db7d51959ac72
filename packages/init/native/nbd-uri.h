/*
 * nbd://ADDRESS[:PORT]/EXPORT[?connections=N]: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/uri.md
 * Leaves out: names of hosts (there is no resolver before there is a root), TLS, Unix sockets, zones of addresses.
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

struct nbd_uri {
    const char *text;
    union {
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address;
    int family;
    char name[MAX_EXPORT];
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

/* The host and the port, from s to end. */
static int parse_authority(struct nbd_uri *uri, const char *s, const char *end, struct text *why)
{
    const char *host = s, *stop;
    int ok;
    if (*s == '[') {
        for (stop = ++host; stop < end && *stop != ']'; stop++)
            ;
        s = stop < end ? stop + 1 : stop;
        uri->family = AF_INET6;
        ok = parse_ipv6(host, stop, uri->address.v6.sin6_addr.in6_u.u6_addr8);
    } else {
        for (stop = host; stop < end && *stop != ':'; stop++)
            ;
        s = stop;
        uri->family = AF_INET;
        ok = parse_ipv4(host, stop, (unsigned char *)&uri->address.v4.sin_addr);
    }
    if (!ok) {
        add(why, "\"");
        add_bytes(why, host, stop - host);
        add(why, "\" is no address: names of hosts cannot be looked up here; write 10.0.2.2 or [fd00::2]");
        return 0;
    }
    long port = NBD_PORT;
    if (s < end && *s == ':')
        for (port = number(++s); s < end && *s >= '0' && *s <= '9';)
            s++;
    if (s != end || port < 1 || port > 65535) {
        add(why, "after the address there may be :PORT, from 1 to 65535");
        return 0;
    }
    /* The family and the port are at the same places in both structures. */
    uri->address.v4.sin_family = uri->family;
    uri->address.v4.sin_port = __builtin_bswap16(port);
    return 1;
}

static int parse_uri(struct nbd_uri *uri, const char *text, struct text *why)
{
    memset(uri, 0, sizeof *uri);
    uri->text = text;
    uri->connections = 1;
    if (after(text, "nbds:")) {
        add(why, "nbds:// is TLS, which is not here: use nbd:// within a network that you trust, or through a tunnel");
        return 0;
    }
    const char *s = after(text, "nbd://"), *end;
    if (!s) {
        add(why, "expected nbd://ADDRESS[:PORT]/EXPORT");
        return 0;
    }
    for (end = s; *end && *end != '/' && *end != '?'; end++)
        ;
    if (!parse_authority(uri, s, end, why))
        return 0;
    s = *end == '/' ? end + 1 : end;
    while (*s && *s != '?') {
        int c = *s++;
        if (c == '%' && hex_digit(s[0]) >= 0 && hex_digit(s[1]) >= 0) {
            c = hex_digit(s[0]) << 4 | hex_digit(s[1]);
            s += 2;
        }
        if (uri->name_length == MAX_EXPORT) {
            add(why, "the export's name is too long");
            return 0;
        }
        uri->name[uri->name_length++] = c;
    }
    if (*s == '?') {
        const char *count = after(s, "?connections=");
        uri->connections = count ? number(count) : 0;
        if (uri->connections < 1 || uri->connections > MAX_CONNECTIONS) {
            add(why, "after ? there may be connections=N, from 1 to 8");
            return 0;
        }
    }
    return 1;
}

#endif

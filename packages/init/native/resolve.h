/*
 * Names of hosts, before there is a root: asks the name servers for addresses. RFC 1035.
 *
 * Leaves out: TCP for answers that are cut off (what there is of them counts), DNSSEC, more search domains than one.
 * Who answers may lie, as on every network without TLS: nbds:// compares the name with the server's certificate.
 */
#ifndef NODEOS_RESOLVE_H
#define NODEOS_RESOLVE_H

#include <asm/poll.h>
#include <linux/random.h>

#include "address.h"
#include "io.h"

#define SOCK_DGRAM 2
#define DNS_PORT 53
#define MAX_SERVERS 3
#define MAX_ADDRESSES 8
#define MAX_MESSAGE 512          /* bytes, without extensions */
#define DNS_HEADER 12
#define DNS_PATIENCE (2 * SECOND) /* for each server */

enum { DNS_A = 1, DNS_AAAA = 28, DNS_IN = 1 };

static struct {
    union address servers[MAX_SERVERS];
    int count;
    struct text domain; /* of names without a dot */
} resolver;

static void add_server(const char *s, const char *end, long port)
{
    if (resolver.count < MAX_SERVERS && parse_address(s, end, &resolver.servers[resolver.count]))
        resolver.servers[resolver.count++].v4.sin_port = __builtin_bswap16(port);
}

/* The lines of resolv.conf(5), which are those of /proc/net/pnp too: there the kernel tells what ip= brought. */
static void read_servers(const char *path)
{
    char file[2048];
    read_file(path, file, sizeof file);
    for (const char *line = file, *end; *line; line = *end ? end + 1 : end) {
        end = find_any(line, line + length(line), "\n");
        const char *server = after(line, "nameserver "), *domain = after(line, "domain ");
        domain = domain ? domain : after(line, "search ");
        if (server)
            add_server(server, find_any(server, end, " \t\r"), DNS_PORT);
        else if (domain && resolver.domain.length == 0)
            add_bytes(&resolver.domain, domain, find_any(domain, end, " \t\r") - domain);
    }
}

/* Called once, while the files can be read: who looks a name up later may be waiting for the root that they are on. */
static void find_servers(void)
{
    read_servers("/etc/resolv.conf");
    if (resolver.count == 0)
        read_servers("/proc/net/pnp");
}

struct question {
    unsigned char bytes[DNS_HEADER + MAX_HOST + 8];
    size_t length;
    int type;
};

static int put_label(struct question *q, const char *label, size_t n)
{
    if (n == 0 || n > MAX_LABEL || q->length + 1 + n > DNS_HEADER + MAX_HOST)
        return 0;
    q->bytes[q->length++] = n;
    memcpy(q->bytes + q->length, label, n);
    q->length += n;
    return 1;
}

static int put_name(struct question *q, const char *name)
{
    const char *end = name + length(name);
    while (name < end) {
        const char *dot = find_any(name, end, ".");
        if (!put_label(q, name, dot - name))
            return 0;
        name = dot + (dot < end);
    }
    return 1;
}

/* Returns 0 if the name cannot be one. */
static int make_question(struct question *q, const char *name, int type)
{
    static const unsigned char ASKED[] = {0x01 /* recursion desired */, 0, 0, 1 /* question */, 0, 0, 0, 0, 0, 0};
    *q = (struct question){.length = DNS_HEADER, .type = type};
    sys3(__NR_getrandom, q->bytes, 2, GRND_INSECURE); /* the number, which an answer repeats; so early nothing is better */
    memcpy(q->bytes + 2, ASKED, sizeof ASKED);
    int whole = *find_any(name, name + length(name), ".") == '.';
    if (!put_name(q, name) || (!whole && !put_name(q, resolver.domain.bytes)))
        return 0;
    const unsigned char rest[] = {0, 0, type, 0, DNS_IN};
    memcpy(q->bytes + q->length, rest, sizeof rest);
    q->length += sizeof rest;
    return 1;
}

/* Where a name ends: labels, up to an empty one or to a reference to the rest. */
static size_t after_name(const unsigned char *m, size_t at, size_t n)
{
    while (at < n && m[at] != 0 && m[at] < 0xc0)
        at += 1 + m[at];
    return at + (at < n && m[at] >= 0xc0 ? 2 : 1);
}

/* The number of addresses in an answer; -1 if it is no answer to the question. Aliases come with what they stand for. */
static int addresses_in(const unsigned char *m, size_t n, const struct question *q, union address *to)
{
    int found = 0;
    size_t size = q->type == DNS_A ? 4 : 16, length;
    if (n < q->length || !same_bytes(m, q->bytes, 2) || !(m[2] & 0x80) ||
        !same_bytes(m + DNS_HEADER, q->bytes + DNS_HEADER, q->length - DNS_HEADER))
        return -1;
    int answers = m[6] << 8 | m[7];
    for (size_t at = after_name(m, q->length, n); answers-- > 0 && at + 10 <= n;
         at = after_name(m, at + 10 + length, n)) {
        length = m[at + 8] << 8 | m[at + 9];
        if (at + 10 + length > n || found == MAX_ADDRESSES)
            break;
        if ((m[at] << 8 | m[at + 1]) != q->type || length != size)
            continue;
        to[found] = (union address){.v4.sin_family = q->type == DNS_A ? AF_INET : AF_INET6};
        memcpy(address_bytes(&to[found++]), m + at + 10, size);
    }
    return found;
}

/* The number of addresses that a server knows; below zero if it does not answer. */
static int ask_server(const union address *server, const struct question *q, union address *to)
{
    unsigned char answer[MAX_MESSAGE];
    int found = -1;
    long deadline = now() + DNS_PATIENCE;
    long fd = sys3(__NR_socket, server->v4.sin_family, SOCK_DGRAM | O_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (sys3(__NR_connect, fd, server, sizeof *server) >= 0 && sys3(__NR_write, fd, q->bytes, q->length) >= 0)
        while (found < 0) {
            struct pollfd poll = {fd, POLLIN, 0};
            long left = (deadline - now()) / 1000;
            if (left <= 0 || sys3(__NR_poll, &poll, 1, left) <= 0)
                break;
            long n = sys3(__NR_read, fd, answer, sizeof answer);
            if (n < 0) /* nobody is there */
                break;
            found = addresses_in(answer, n, q, to);
        }
    sys1(__NR_close, fd);
    return found;
}

/* The addresses of a name, at most MAX_ADDRESSES of them. Returns their number; if it is 0, why says why. */
static int resolve(const char *name, union address *to, struct text *why)
{
    static const int TYPES[] = {DNS_A, DNS_AAAA};
    int answered = 0;
    if (equal(name, "localhost")) { /* RFC 6761, section 6.3 */
        *to = (union address){.v4 = {.sin_family = AF_INET, .sin_addr.s_addr = __builtin_bswap32(0x7f000001)}};
        return 1;
    }
    for (int i = 0; i < resolver.count && !answered; i++)
        for (size_t t = 0; t < sizeof TYPES / sizeof *TYPES; t++) {
            struct question q;
            int found = make_question(&q, name, TYPES[t]) ? ask_server(&resolver.servers[i], &q, to) : 0;
            if (found > 0)
                return found;
            if (found < 0)
                break;
            answered = 1;
        }
    add(why, resolver.count == 0 ? "no name server is known (ip=dhcp, or the eighth part of ip=), to look up \""
             : answered          ? "the name server knows no address of \""
                                 : "no name server answers, to look up \"");
    add(why, name);
    add(why, "\"");
    return 0;
}

#endif

/*
 * Names of hosts, before there is a root: asks the name servers for addresses. RFC 1035.
 *
 * Leaves out: TCP for answers that are cut off (what there is of them counts), DNSSEC, more search domains than one.
 * Who answers may lie, as on every network without TLS: nbds:// compares the name with the server's certificate.
 */
#ifndef NODEOS_RESOLVE_H
#define NODEOS_RESOLVE_H

#include <asm/poll.h>

#include "address.h"
#include "io.h"

#define SOCK_DGRAM 2
#define DNS_PORT 53
#define MAX_SERVERS 3
#define MAX_ADDRESSES 8
#define MAX_MESSAGE 512          /* bytes, without extensions */
#define DNS_HEADER 12
#define DNS_PATIENCE (2 * SECOND) /* for each question */
#define DNS_AGAIN SECOND          /* until it is asked again: packets get lost */

enum { RCODE = 15, NO_SUCH_NAME = 3 }; /* in the fourth byte of an answer */
enum { DNS_A = 1, DNS_AAAA = 28, DNS_IN = 1 };

static struct {
    union address servers[MAX_SERVERS];
    int count;
    struct text domain; /* the first of names without a dot */
} resolver;

/* Returns 0 for what is no address. More servers than MAX_SERVERS are left out. */
static int add_server(const char *s, const char *end, long port)
{
    union address server;
    if (!parse_address(s, end, &server) || port < 1 || port > 65535)
        return 0;
    server.v4.sin_port = __builtin_bswap16(port);
    if (resolver.count < MAX_SERVERS)
        resolver.servers[resolver.count++] = server;
    return 1;
}

/* What stands behind a word and blanks, or 0 if the line does not begin with the word. */
static const char *after_word(const char *line, const char *word)
{
    const char *s = after(line, word);
    if (!s || (*s != ' ' && *s != '\t'))
        return 0;
    while (*s == ' ' || *s == '\t')
        s++;
    return s;
}

/* The lines of resolv.conf(5), which are those of /proc/net/pnp too: there the kernel tells what ip= brought. */
static void read_servers(const char *path)
{
    char file[2048];
    read_file(path, file, sizeof file);
    for (const char *line = file, *end; *line; line = *end ? end + 1 : end) {
        end = find_any(line, line + length(line), "\n");
        const char *server = after_word(line, "nameserver"), *domain = after_word(line, "domain");
        domain = domain ? domain : after_word(line, "search");
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

/* In small letters: some servers answer in them. */
static int put_label(struct question *q, const char *label, size_t n)
{
    if (n == 0 || n > MAX_LABEL || q->length + 1 + n > DNS_HEADER + MAX_HOST)
        return 0;
    q->bytes[q->length++] = n;
    for (size_t i = 0; i < n; i++)
        q->bytes[q->length++] = label[i] >= 'A' && label[i] <= 'Z' ? label[i] | 0x20 : label[i];
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

/* Returns 0 if the two together cannot be a name. */
static int make_question(struct question *q, const char *name, const char *domain, int type)
{
    static const unsigned char ASKED[] = {0x01 /* recursion desired */, 0, 0, 1 /* question */, 0, 0, 0, 0, 0, 0};
    *q = (struct question){.length = DNS_HEADER, .type = type};
    random_bytes(q->bytes, 2); /* the number, which an answer repeats */
    memcpy(q->bytes + 2, ASKED, sizeof ASKED);
    if (!put_name(q, name) || !put_name(q, domain))
        return 0;
    unsigned char *end = q->bytes + q->length;
    q->length = put(put(put(end, 0, 1), type, 2), DNS_IN, 2) - q->bytes;
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
    int answers = get(m + 6, 2);
    for (size_t at = after_name(m, q->length, n); answers-- > 0 && at + 10 <= n;
         at = after_name(m, at + 10 + length, n)) {
        length = get(m + at + 8, 2);
        if (at + 10 + length > n || found == MAX_ADDRESSES)
            break;
        if ((int)get(m + at, 2) != q->type || length != size)
            continue;
        to[found] = (union address){.v6.sin6_family = q->type == DNS_A ? AF_INET : AF_INET6};
        memcpy(address_bytes(&to[found++]), m + at + 10, size);
    }
    return found;
}

/* The number of addresses that a server knows; below zero if it does not answer, or cannot. */
static int ask_server(const union address *server, const struct question *q, union address *to)
{
    unsigned char answer[MAX_MESSAGE];
    int found = -1;
    long deadline = now() + DNS_PATIENCE;
    long fd = sys3(__NR_socket, server->v4.sin_family, SOCK_DGRAM | O_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    long n = sys3(__NR_connect, fd, server, sizeof *server);
    for (long again = now(); n >= 0 && found < 0 && now() < deadline;) {
        if (now() >= again) {
            n = sys3(__NR_write, fd, q->bytes, q->length);
            again = now() + DNS_AGAIN;
        }
        struct pollfd poll = {fd, POLLIN, 0};
        long left = (again - now()) / 1000;
        if (n < 0 || sys3(__NR_poll, &poll, 1, left > 0 ? left : 0) <= 0)
            continue;
        n = sys3(__NR_read, fd, answer, sizeof answer); /* an error: nobody is there */
        found = n < 0 ? -1 : addresses_in(answer, n, q, to);
        if (found == 0 && (answer[3] & RCODE) != 0 && (answer[3] & RCODE) != NO_SUCH_NAME)
            n = found = -1;
    }
    sys1(__NR_close, fd);
    return found;
}

/* Asks one server for addresses of one kind, and if there are none, of the other. */
static int ask_kinds(const union address *server, const char *name, const char *domain, union address *to)
{
    static const int TYPES[] = {DNS_A, DNS_AAAA};
    int found = 0;
    for (size_t t = 0; t < sizeof TYPES / sizeof *TYPES && found == 0; t++) {
        struct question q;
        if (make_question(&q, name, domain, TYPES[t]))
            found = ask_server(server, &q, to);
    }
    return found;
}

/* The addresses of a name, at most MAX_ADDRESSES of them. Returns their number; if it is 0, why says why. */
static int resolve(const char *name, union address *to, struct text *why)
{
    int found = -1, whole = *find_any(name, name + length(name), ".") == '.';
    if (equal(name, "localhost")) { /* RFC 6761, section 6.3 */
        *to = (union address){.v4 = {.sin_family = AF_INET, .sin_addr.s_addr = __builtin_bswap32(0x7f000001)}};
        return 1;
    }
    for (int i = 0; i < resolver.count && found < 0; i++) {
        if (!whole && resolver.domain.length > 0)
            found = ask_kinds(&resolver.servers[i], name, resolver.domain.bytes, to);
        if (found == 0 || whole || resolver.domain.length == 0)
            found = ask_kinds(&resolver.servers[i], name, "", to);
    }
    if (found > 0)
        return found;
    add(why, resolver.count == 0 ? "no name server is known (ip=dhcp, or the eighth part of ip=), to look up \""
             : found == 0        ? "the name server knows no address of \""
                                 : "no name server answers, to look up \"");
    add(why, name);
    add(why, "\"");
    return 0;
}

#endif

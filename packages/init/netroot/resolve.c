#include <asm/poll.h>

#include "../lib/clock.h"
#include "../lib/io.h"
#include "../lib/socket.h"
#include "resolve.h"

#define MAX_SERVERS 3
#define PATIENCE (2 * SECOND) /* for each question */
#define AGAIN SECOND          /* until it is asked again: packets get lost */

static struct {
    union address servers[MAX_SERVERS];
    int count;
    struct text domain; /* the first to try, for names without a dot */
} resolver;

int resolve_add_server(const char *s, const char *end, long port)
{
    union address server;
    if (!address_parse(s, end, &server) || port < 1 || port > 65535)
        return 0;
    server.v4.sin_port = __builtin_bswap16(port);
    if (resolver.count < MAX_SERVERS)
        resolver.servers[resolver.count++] = server;
    return 1;
}

int resolve_servers(void)
{
    return resolver.count;
}

/* What follows a word and blanks, or 0 if the line does not begin with the word. */
static const char *after_word(const char *line, const char *word)
{
    const char *s = text_after(line, word);
    if (!s || (*s != ' ' && *s != '\t'))
        return 0;
    while (*s == ' ' || *s == '\t')
        s++;
    return s;
}

/* Reads resolv.conf(5), or /proc/net/pnp, which has the same lines: there the kernel tells what ip= brought. */
static void read_servers(const char *path)
{
    char file[2048];
    io_read_file(path, file, sizeof file);
    for (const char *line = file, *end; *line; line = *end ? end + 1 : end) {
        end = text_find_any(line, line + text_length(line), "\n");
        const char *server = after_word(line, "nameserver"), *domain = after_word(line, "domain");
        domain = domain ? domain : after_word(line, "search");
        if (server)
            resolve_add_server(server, text_find_any(server, end, " \t\r"), DNS_PORT);
        else if (domain && resolver.domain.length == 0)
            text_add_bytes(&resolver.domain, domain, text_find_any(domain, end, " \t\r") - domain);
    }
}

void resolve_find_servers(void)
{
    read_servers("/etc/resolv.conf");
    if (resolver.count == 0)
        read_servers("/proc/net/pnp");
}

/* Returns how many addresses a server knows; below zero if it does not answer, or cannot. */
static int ask_server(const union address *server, const struct question *q, union address *to)
{
    unsigned char answer[DNS_MESSAGE];
    int found = -1;
    long deadline = clock_now() + PATIENCE;
    long fd = sys3(__NR_socket, server->v4.sin_family, SOCK_DGRAM | O_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    long n = sys3(__NR_connect, fd, server, sizeof *server);
    for (long again = clock_now(); n >= 0 && found < 0 && clock_now() < deadline;) {
        if (clock_now() >= again) {
            n = sys3(__NR_write, fd, q->bytes, q->length);
            again = clock_now() + AGAIN;
        }
        struct pollfd poll = {fd, POLLIN, 0};
        if (n < 0 || sys_poll(&poll, 1, clock_left(again)) <= 0)
            continue;
        n = sys3(__NR_read, fd, answer, sizeof answer); /* an error: nobody is there */
        found = n < 0 ? -1 : dns_addresses(answer, n, q, to);
        if (found == 0 && (answer[3] & DNS_RCODE) != 0 && (answer[3] & DNS_RCODE) != DNS_NO_SUCH_NAME)
            n = found = -1;
    }
    sys1(__NR_close, fd);
    return found;
}

/* Asks one server for addresses of IPv4, and if there are none, of IPv6. */
static int ask_kinds(const union address *server, const char *name, const char *domain, union address *to)
{
    static const int TYPES[] = {DNS_A, DNS_AAAA};
    int found = 0;
    for (size_t t = 0; t < sizeof TYPES / sizeof *TYPES && found == 0; t++) {
        struct question q;
        if (dns_question(&q, name, domain, TYPES[t]))
            found = ask_server(server, &q, to);
    }
    return found;
}

int resolve_host(const char *name, union address *to, struct text *why)
{
    int found = -1, whole = *text_find_any(name, name + text_length(name), ".") == '.';
    if (text_equal(name, "localhost")) { /* RFC 6761, section 6.3 */
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
    text_add(why, resolver.count == 0 ? "no name server is known (ip=dhcp, or the eighth part of ip=), to look up \""
             : found == 0        ? "the name server knows no address of \""
                                 : "no name server answers, to look up \"");
    text_add(why, name);
    text_add(why, "\"");
    return 0;
}

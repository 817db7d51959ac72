#include "../lib/bytes.h"
#include "../lib/io.h"
#include "../lib/socket.h"
#include "../lib/text.h"
#include "dns.h"

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
    const char *end = name + text_length(name);
    while (name < end) {
        const char *dot = text_find_any(name, end, ".");
        if (!put_label(q, name, dot - name))
            return 0;
        name = dot + (dot < end);
    }
    return 1;
}

int dns_question(struct question *q, const char *name, const char *domain, int type)
{
    static const unsigned char ASKED[] = {0x01 /* recursion desired */, 0, 0, 1 /* question */, 0, 0, 0, 0, 0, 0};
    *q = (struct question){.length = DNS_HEADER, .type = type};
    io_random(q->bytes, 2); /* the number, which an answer repeats */
    memcpy(q->bytes + 2, ASKED, sizeof ASKED);
    if (!put_name(q, name) || !put_name(q, domain))
        return 0;
    unsigned char *end = q->bytes + q->length;
    q->length = bytes_put(bytes_put(bytes_put(end, 0, 1), type, 2), DNS_IN, 2) - q->bytes;
    return 1;
}

/* Where a name ends: labels, up to an empty one or to a reference to the rest. */
static size_t after_name(const unsigned char *m, size_t at, size_t n)
{
    while (at < n && m[at] != 0 && m[at] < 0xc0)
        at += 1 + m[at];
    return at + (at < n && m[at] >= 0xc0 ? 2 : 1);
}

int dns_addresses(const unsigned char *message, size_t n, const struct question *q, union address *to)
{
    const unsigned char *m = message;
    int found = 0;
    size_t size = q->type == DNS_A ? 4 : 16, length;
    if (n < q->length || !bytes_same(m, q->bytes, 2) || !(m[2] & 0x80) ||
        !bytes_same(m + DNS_HEADER, q->bytes + DNS_HEADER, q->length - DNS_HEADER))
        return -1;
    int answers = bytes_get(m + 6, 2);
    for (size_t at = after_name(m, q->length, n); answers-- > 0 && at + 10 <= n;
         at = after_name(m, at + 10 + length, n)) {
        length = bytes_get(m + at + 8, 2);
        if (at + 10 + length > n || found == MAX_ADDRESSES)
            break;
        if ((int)bytes_get(m + at, 2) != q->type || length != size)
            continue;
        to[found] = (union address){.v6.sin6_family = q->type == DNS_A ? AF_INET : AF_INET6};
        memcpy(address_bytes(&to[found++]), m + at + 10, size);
    }
    return found;
}

#include "address.h"
#include "bytes.h"
#include "socket.h"
#include "text.h"

unsigned char *address_bytes(const union address *a)
{
    return a->v4.sin_family == AF_INET ? (unsigned char *)&a->v4.sin_addr : (unsigned char *)&a->v6.sin6_addr;
}

int address_digit(char c)
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
        for (; s < end && address_digit(*s) >= 0 && digits < 4; digits++)
            value = value << 4 | address_digit(*s++);
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

int address_parse(const char *s, const char *end, union address *to)
{
    *to = (union address){.v6.sin6_family = text_find_any(s, end, ":") < end ? AF_INET6 : AF_INET};
    return (to->v4.sin_family == AF_INET ? parse_ipv4 : parse_ipv6)(s, end, address_bytes(to));
}

int address_same(const union address *a, const union address *b)
{
    return a->v4.sin_family == b->v4.sin_family &&
           bytes_same(address_bytes(a), address_bytes(b), a->v4.sin_family == AF_INET ? 4 : 16);
}

int address_is_name(const char *s, const char *end)
{
    int letters = 0, label = 0;
    if (end - s >= MAX_HOST)
        return 0;
    for (; s < end; s++) {
        int small = *s | 0x20, letter = (small >= 'a' && small <= 'z') || *s == '-' || *s == '_';
        if (*s == '.' ? label == 0 : label == MAX_LABEL || (!letter && (*s < '0' || *s > '9')))
            return 0;
        label = *s == '.' ? 0 : label + 1;
        letters |= letter;
    }
    return letters;
}

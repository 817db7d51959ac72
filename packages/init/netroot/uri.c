#include "../lib/socket.h"
#include "resolve.h"
#include "uri.h"

#define NBD_PORT 10809

/* Copies what reaches from s to end, decodes %XX, and appends a zero. Returns the length, -1 if it is too long. */
static long decode(const char *s, const char *end, char *to, size_t size)
{
    size_t n = 0;
    while (s < end) {
        int c = *s++;
        if (c == '%' && end - s >= 2 && address_digit(s[0]) >= 0 && address_digit(s[1]) >= 0) {
            c = address_digit(s[0]) << 4 | address_digit(s[1]);
            s += 2;
        }
        if (n + 1 >= size)
            return -1;
        to[n++] = c;
    }
    to[n] = 0;
    return n;
}

static int wrong(struct text *why, const char *what)
{
    text_add(why, what);
    return 0;
}

/* Reads the user, the host and the port, from s to end. */
static int parse_authority(struct nbd_uri *uri, const char *s, const char *end, struct text *why)
{
    const char *host = text_find_any(s, end, "@"), *stop;
    if (host == end)
        host = s;
    else if (!uri->tls.used || decode(s, host++, uri->tls.user, MAX_WORD) < 0)
        return wrong(why, "a user is of nbds:// only, and not so long");
    int brackets = *host == '[';
    host += brackets;
    stop = text_find_any(host, end, brackets ? "]" : ":");
    s = stop + (brackets && stop < end);
    if (!address_parse(host, stop, &uri->address) || brackets != (uri->address.v4.sin_family == AF_INET6)) {
        if (brackets || !address_is_name(host, stop)) {
            text_add(why, "\"");
            text_add_bytes(why, host, stop - host);
            return wrong(why, "\" is neither an address, such as 10.0.2.2 or [fd00::2], nor a name");
        }
        decode(host, stop, uri->host, MAX_HOST);
    }
    /* The dot at the end of a name is for name servers only: RFC 6066, section 3. */
    decode(host, stop - (*uri->host && stop[-1] == '.'), uri->tls.name, MAX_WORD);
    long port = NBD_PORT;
    if (s < end && *s == ':')
        for (port = text_number(++s); s < end && *s >= '0' && *s <= '9';)
            s++;
    if (s != end || port < 1 || port > 65535)
        return wrong(why, "after the host there may be :PORT, from 1 to 65535");
    uri->port = uri->address.v4.sin_port = __builtin_bswap16(port);
    return 1;
}

/* Reads NAME=VALUE, one of those behind the question mark. */
static int parse_word(struct nbd_uri *uri, const char *s, const char *end, struct text *why)
{
    const struct { const char *prefix; char *to; } WORDS[] = {
        {"tls-hostname=", uri->tls.name},
        {"tls-psk-file=", uri->tls.keys},
        {"tls-certificates=", uri->tls.folder},
    };
    const char *value;
    if ((value = text_after(s, "connections="))) {
        uri->connections = text_number(value);
        if (uri->connections >= 1 && uri->connections <= MAX_CONNECTIONS)
            return 1;
        return wrong(why, "connections=N is from 1 to 8");
    }
    for (size_t i = 0; uri->tls.used && i < sizeof WORDS / sizeof *WORDS; i++)
        if ((value = text_after(s, WORDS[i].prefix)))
            return decode(value, end, WORDS[i].to, MAX_WORD) >= 0 || wrong(why, "a path or a name is too long");
    if (uri->tls.used && (value = text_after(s, "tls-verify-peer="))) {
        uri->tls.any = !!text_after(value, "false");
        return 1;
    }
    return wrong(why, uri->tls.used ? "after ? there may be connections=N, tls-hostname=, tls-certificates=, "
                                          "tls-psk-file= and tls-verify-peer=false"
                                        : "after ? there may be connections=N, from 1 to 8");
}

int uri_parse(struct nbd_uri *uri, const char *text, struct text *why)
{
    memset(uri, 0, sizeof *uri);
    uri->text = text;
    uri->connections = 1;
    const char *s = text_after(text, "nbd://"), *end = text + text_length(text), *stop;
    if (!s) {
        s = text_after(text, "nbds://");
        uri->tls.used = 1;
    }
    if (!s)
        return wrong(why, "expected nbd://HOST[:PORT]/EXPORT, or nbds://");
    stop = text_find_any(s, end, "/?");
    if (!parse_authority(uri, s, stop, why))
        return 0;
    s = *stop == '/' ? stop + 1 : stop;
    stop = text_find_any(s, end, "?");
    long n = decode(s, stop, uri->name, sizeof uri->name);
    if (n < 0)
        return wrong(why, "the export's name is too long");
    uri->name_length = uri->shown = n;
    while (*stop) {
        s = stop + 1;
        stop = text_find_any(s, end, "&");
        if (!parse_word(uri, s, stop, why))
            return 0;
    }
    return 1;
}

int uri_complete(struct nbd_uri *uri, const char *secret, size_t n, struct text *why)
{
    while (n > 0 && secret[n - 1] <= ' ')
        n--;
    if (n >= sizeof uri->name - uri->name_length)
        return wrong(why, "the export's name is too long");
    memcpy(uri->name + uri->name_length, secret, n);
    uri->name[uri->name_length + n] = 0;
    uri->name_length += n;
    return 1;
}

int uri_find_host(struct nbd_uri *uri, const union address *home, struct text *why)
{
    union address found[MAX_ADDRESSES];
    int next = 0, count = *uri->host ? resolve_host(uri->host, found, why) : 0;
    for (int i = 0; i < count; i++)
        if (address_same(&found[i], &uri->address))
            next = (i + 1) % count;
    for (int i = 0; i < count && home; i++)
        if (address_same(&found[i], home))
            next = i;
    if (count > 0 || home)
        uri->address = count > 0 ? found[next] : *home;
    uri->address.v4.sin_port = uri->port;
    return count > 0 || !*uri->host;
}

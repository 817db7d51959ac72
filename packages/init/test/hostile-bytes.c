/*
 * Plays spoilt answers of name servers, spoilt URIs, and what a server of NBD says before and after STARTTLS, to the code
 * that reads them; what is in memory, in memory of exactly its size. To be compiled with -fsanitize=address,undefined,
 * which watch. Prints how many addresses were found, how many exports, and how many of these behind TLS.
 *
 *     hostile-bytes SEED COUNT
 */
#include "../native/tls.h"
#include "random.h"

/* The handshake of TLS has a test of its own: it has been, or ends with some status. */
static int tls_status;
#define tls_begin(tls, fd, deadline, why) ((void)(tls), tls_status)
#include "../native/nbd.h"

/* Of the C library, whose headers do not go with sys.h. */
extern void *malloc(size_t n);
extern void free(void *bytes);
extern int printf(const char *format, ...);

/* A record of the kind that was asked for, or of another; its length may be wrong. */
static size_t put_record(unsigned char *to, int type)
{
    static const unsigned char LENGTHS[] = {0, 4, 16, 17};
    unsigned char *at = to;
    if (random_below(2)) {
        *at++ = 0xc0;
        *at++ = DNS_HEADER;
    } else {
        for (unsigned labels = random_below(3); labels > 0; labels--)
            for (unsigned n = *at++ = random_below(9); n > 0; n--)
                *at++ = 'a';
        *at++ = 0;
    }
    at = put(put(put(at, random_below(3) ? type : 5, 2), DNS_IN, 2), 9, 4);
    unsigned length = random_below(4) ? (type == DNS_A ? 4 : 16) : LENGTHS[random_below(4)];
    at = put(at, length, 2);
    for (; length > 0; length--)
        *at++ = random_below(256);
    return at - to;
}

static int play_answer(void)
{
    union address found[MAX_ADDRESSES];
    struct question q;
    unsigned char bytes[2 * MAX_MESSAGE];
    make_question(&q, "disks", random_below(2) ? "example.org" : "", random_below(2) ? DNS_A : DNS_AAAA);
    size_t n = q.length;
    memcpy(bytes, q.bytes, n);
    bytes[2] |= 0x80;
    for (unsigned records = bytes[7] = random_below(12); records > 0 && n < MAX_MESSAGE; records--)
        n += put_record(bytes + n, q.type);
    for (unsigned spoilt = random_below(4); spoilt > 0; spoilt--)
        bytes[random_below(n)] = random_below(256);
    n = random_below(3) ? n : random_below(n + 1);
    n = n < MAX_MESSAGE ? n : MAX_MESSAGE;
    unsigned char *exactly = malloc(n);
    memcpy(exactly, bytes, n);
    int count = addresses_in(exactly, n, &q, found);
    free(exactly);
    return count > 0 ? count : 0;
}

static void play_uri(void)
{
    static const char START[] = "nbds://", LETTERS[] = "s[]:0123af.@/?x=%-_&c";
    struct nbd_uri uri;
    struct text why = {0};
    size_t n = sizeof START - 1 + random_below(random_below(20) ? 60 : 900);
    char *exactly = malloc(n + 1);
    for (size_t i = 0; i < n; i++)
        exactly[i] = i < sizeof START - 1 ? START[i] : LETTERS[random_below(sizeof LETTERS - 1)];
    exactly[n] = 0;
    parse_uri(&uri, exactly, &why);
    free(exactly);
}

/* A reply to an option, mostly to the right one; its length may be wrong. */
static unsigned char *put_reply(unsigned char *at, unsigned option, unsigned type, const void *data, unsigned length)
{
    at = put(put(at, REPLY_MAGIC, 8), random_below(40) ? option : random_below(9), 4);
    at = put(put(at, type, 4), random_below(20) ? length : random_below(2 * MAX_REPLY), 4);
    memcpy(at, data, length);
    return at + length;
}

static unsigned char *put_info(unsigned char *at)
{
    unsigned char data[300];
    unsigned length = random_below(5) ? 12 + 2 * random_below(2) : random_below(sizeof data);
    for (unsigned i = 0; i < sizeof data; i++)
        data[i] = random_below(256);
    put(data, length == 14 ? INFO_BLOCK_SIZE : INFO_EXPORT, 2);
    return put_reply(at, OPT_GO, REP_INFO, data, length);
}

static size_t put_server(unsigned char *to, int tls)
{
    static const unsigned ERRORS[] = {ERR_UNSUP, ERR_POLICY, ERR_TLS_REQD, ERR_UNKNOWN, ERR_SHUTDOWN, 77};
    unsigned char words[300], *at = put(put(put(to, NBDMAGIC, 8), IHAVEOPT, 8), random_below(8) ? 3 : random_below(4), 2);
    for (unsigned i = 0; i < sizeof words; i++)
        words[i] = random_below(256);
    if (tls)
        at = put_reply(at, OPT_STARTTLS, random_below(8) ? REP_ACK : REP_ERROR | 1, words, random_below(8) ? 0 : 9);
    for (unsigned infos = random_below(4); infos > 0; infos--)
        at = put_info(at);
    if (random_below(3))
        return put_reply(at, OPT_GO, REP_ACK, words, 0) - to;
    at = put_reply(at, OPT_GO, REP_ERROR | ERRORS[random_below(sizeof ERRORS / sizeof *ERRORS)], words, random_below(sizeof words));
    memcpy(at, words, 134); /* of EXPORT_NAME */
    return at + 134 - to;
}

/* Returns whether there is an export. */
static int play_server(int tls)
{
    static unsigned char bytes[8192];
    struct nbd_export export = {0};
    struct nbd_uri uri;
    struct text why = {0};
    int fds[2];
    parse_uri(&uri, tls ? "nbds://disks/x" : "nbd://disks/x", &why);
    size_t n = put_server(bytes, tls);
    for (unsigned spoilt = random_below(3); spoilt > 0; spoilt--)
        bytes[random_below(n)] ^= 1 << random_below(8);
    n = random_below(4) ? n : random_below(n + 1);
    tls_status = random_below(8) ? TLS_DONE : random_below(256);
    if (sys4(__NR_socketpair, 1, SOCK_STREAM, 0, SYS_L(fds)) < 0)
        return 0;
    sys3(__NR_write, fds[1], bytes, n);
    sys2(__NR_shutdown, fds[1], 1);
    struct attempt attempt = {fds[0], now() + ATTEMPT, &why, 0};
    int done = shake_hands(&attempt, &uri, &export);
    sys1(__NR_close, fds[0]);
    sys1(__NR_close, fds[1]);
    return done;
}

int main(int words, char **word)
{
    long found = 0, exports = 0, secured = 0;
    random_state = words > 1 ? number(word[1]) : 1;
    for (long count = words > 2 ? number(word[2]) : 1; count > 0; count--) {
        found += play_answer();
        play_uri();
        if (count % 30 == 0) {
            exports += play_server(0);
            secured += play_server(1);
        }
    }
    printf("%ld %ld %ld\n", found, exports, secured);
    return 0;
}

/*
 * Plays spoilt input to the code that reads it: answers of name servers, URIs, what an NBD server says before and after
 * STARTTLS, netlink messages, and partition tables. Input that is read from memory is in memory of exactly its size. To be compiled with
 * -fsanitize=address,undefined, which watch. Prints how many addresses were found, how many exports, how many of these
 * behind TLS, how many numbers in netlink messages, and how many partitions.
 *
 *     hostile-bytes SEED COUNT
 */
#include "../lib/bytes.h"
#include "../lib/io.h"
#include "../lib/socket.h"
#include "../netroot/dns.h"
#include "../netroot/handshake.h"
#include "../netroot/keeper.c"
#include "../netroot/netlink.c"
#include "../netroot/tls.h"
#include "../pid1/partition.c"
#include "random.h"

/* In place of tls.c: the handshake of TLS has a test of its own, and ends with some status here. */
static int tls_status;

int tls_begin(const struct nbd_tls *t, long fd, long deadline, struct text *why)
{
    (void)t, (void)fd, (void)deadline, (void)why;
    return tls_status;
}

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
    at = bytes_put(bytes_put(bytes_put(at, random_below(3) ? type : 5, 2), DNS_IN, 2), 9, 4);
    unsigned length = random_below(4) ? (type == DNS_A ? 4 : 16) : LENGTHS[random_below(4)];
    at = bytes_put(at, length, 2);
    for (; length > 0; length--)
        *at++ = random_below(256);
    return at - to;
}

static int play_answer(void)
{
    union address found[MAX_ADDRESSES];
    struct question q;
    unsigned char bytes[2 * DNS_MESSAGE];
    dns_question(&q, "disks", random_below(2) ? "example.org" : "", random_below(2) ? DNS_A : DNS_AAAA);
    size_t n = q.length;
    memcpy(bytes, q.bytes, n);
    bytes[2] |= 0x80;
    for (unsigned records = bytes[7] = random_below(12); records > 0 && n < DNS_MESSAGE; records--)
        n += put_record(bytes + n, q.type);
    for (unsigned spoilt = random_below(4); spoilt > 0; spoilt--)
        bytes[random_below(n)] = random_below(256);
    n = random_below(3) ? n : random_below(n + 1);
    n = n < DNS_MESSAGE ? n : DNS_MESSAGE;
    unsigned char *exactly = malloc(n);
    memcpy(exactly, bytes, n);
    int count = dns_addresses(exactly, n, &q, found);
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
    uri_parse(&uri, exactly, &why);
    free(exactly);
}

/* A reply to an option, mostly to the right one; its length may be wrong. */
static unsigned char *put_reply(unsigned char *at, unsigned option, unsigned type, const void *data, unsigned length)
{
    at = bytes_put(bytes_put(at, REPLY_MAGIC, 8), random_below(40) ? option : random_below(9), 4);
    at = bytes_put(bytes_put(at, type, 4), random_below(20) ? length : random_below(2 * MAX_REPLY), 4);
    memcpy(at, data, length);
    return at + length;
}

static unsigned char *put_info(unsigned char *at)
{
    unsigned char data[300];
    unsigned length = random_below(5) ? 12 + 2 * random_below(2) : random_below(sizeof data);
    for (unsigned i = 0; i < sizeof data; i++)
        data[i] = random_below(256);
    bytes_put(data, length == 14 ? INFO_BLOCK_SIZE : INFO_EXPORT, 2);
    return put_reply(at, OPT_GO, REP_INFO, data, length);
}

static size_t put_server(unsigned char *to, int tls)
{
    static const unsigned ERRORS[] = {ERR_UNSUP, ERR_POLICY, ERR_TLS_REQD, ERR_UNKNOWN, ERR_SHUTDOWN, 77};
    unsigned char words[300], *at = bytes_put(bytes_put(to, NBDMAGIC, 8), IHAVEOPT, 8);
    at = bytes_put(at, random_below(8) ? 3 : random_below(4), 2);
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
    uri_parse(&uri, tls ? "nbds://disks/x" : "nbd://disks/x", &why);
    size_t n = put_server(bytes, tls);
    for (unsigned spoilt = random_below(3); spoilt > 0; spoilt--)
        bytes[random_below(n)] ^= 1 << random_below(8);
    n = random_below(4) ? n : random_below(n + 1);
    tls_status = random_below(8) ? TLS_DONE : random_below(256);
    if (sys4(__NR_socketpair, 1, SOCK_STREAM, 0, SYS_L(fds)) < 0)
        return 0;
    sys3(__NR_write, fds[1], bytes, n);
    sys2(__NR_shutdown, fds[1], 1);
    struct attempt attempt = {fds[0], clock_now() + ATTEMPT_TIME, &why, 0};
    int done = handshake_run(&attempt, &uri, &export);
    sys1(__NR_close, fds[0]);
    sys1(__NR_close, fds[1]);
    return done;
}

#define UNIX 1
#define DATAGRAMS 2
#define ROUGHLY(n) ((n) + (random_below(8) ? 0 : random_below(70000))) /* mostly right */

/* An attribute with a number in it, or with another one. */
static size_t put_attribute(unsigned char *to, int depth)
{
    unsigned short type = 1 + random_below(7), size = 2 << random_below(3), n = NLA_HDRLEN;
    if (depth < 3 && random_below(2))
        for (unsigned inner = random_below(3); inner > 0; inner--)
            n += put_attribute(to + n, depth + 1);
    else
        for (; size > 0; size--)
            to[n++] = random_below(4) ? 0 : random_below(256);
    unsigned short length = ROUGHLY(n);
    memcpy(to, &length, 2);
    memcpy(to + 2, &type, 2);
    return NLA_ALIGN(n);
}

/* As much as there is room for, and an empty attribute at its very end. */
static size_t put_full(unsigned char *to, size_t room)
{
    struct nlattr all = {room - NLA_HDRLEN, 9}, empty = {NLA_HDRLEN, 1};
    memcpy(to, &all, sizeof all);
    memcpy(to + room - NLA_HDRLEN, &empty, sizeof empty);
    return room;
}

/* What a socket gives, whoever has sent it. */
static long play_netlink(const int *pair)
{
    static struct nbd_device devices[2];
    static unsigned char bytes[4096];
    struct netlink n = {pair[1], 0, 0};
    union message m;
    size_t size = NLMSG_HDRLEN + GENL_HDRLEN;
    if (random_below(16))
        for (unsigned count = random_below(6); count > 0; count--)
            size += put_attribute(bytes + size, 0);
    else
        size += put_full(bytes + size, sizeof m - size);
    struct nlmsghdr head = {ROUGHLY(size), random_below(4) ? 5 : random_below(9), 0, 0, 0};
    memcpy(bytes, &head, sizeof head);
    bytes[NLMSG_HDRLEN] = random_below(4) ? NBD_CMD_LINK_DEAD : random_below(9);
    for (unsigned spoilt = random_below(4); spoilt > 0; spoilt--)
        bytes[random_below(size)] = random_below(256);
    size = random_below(3) ? size : random_below(random_below(9) ? size : sizeof bytes);
    for (int i = 0; i < 3; i++)
        sys6(__NR_sendto, pair[0], SYS_L(bytes), size, 0, 0, 0);
    long found = 0;
    if (netlink_next(&n, &m) > 0) {
        if (m.head.nlmsg_len > size)
            printf("longer than it is\n");
        read_family(&n, &m);
        found = (n.family >= 0) + (n.group >= 0);
    }
    hear_answer(&n, &m);
    sys6(__NR_sendto, pair[0], SYS_L(bytes), size, 0, 0, 0);
    n.family = 5;
    devices[0] = (struct nbd_device){.index = random_below(2), .connections = 2};
    hear_kernel(&n, devices, 2);
    while (netlink_next(&n, &m) >= 0)
        ;
    return found + devices[0].missing;
}

/* Little-endian, as a GPT has its numbers. */
static void put_little(unsigned char *to, unsigned long value, int size)
{
    for (; size > 0; size--, value >>= 8)
        *to++ = value;
}

/* Returns whether a partition is found, in a table of some sectors in a file. */
static int play_table(long file)
{
    static unsigned char bytes[34 * 512];
    static const char BY_NAME[] = "PARTLABEL=data", BY_GUID[] = "PARTUUID=03020100-0504-0706-0809-0a0b0c0d0e0f";
    const char *wanted = random_below(2) ? BY_NAME : BY_GUID;
    unsigned long sector = random_below(8) ? 512 : 4096;
    unsigned count = random_below(8) ? 128 : random_below(100000);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = 0;
    memcpy(bytes + 512, "EFI PART", 8);
    put_little(bytes + 512 + 72, random_below(8) ? 2 : random_below(64), 8);
    put_little(bytes + 512 + 80, count, 4);
    put_little(bytes + 512 + 84, random_below(8) ? 128 : random_below(300), 4);
    for (unsigned i = random_below(4); i < 6; i++) {
        unsigned char *entry = bytes + 1024 + i * 128;
        for (int j = 0; j < 16; j++)
            entry[16 + j] = j;
        put_little(entry + 32, random_below(100), 8);
        put_little(entry + 40, random_below(200), 8);
        for (int j = 0; j < 4; j++)
            entry[56 + 2 * j] = "data"[j];
    }
    for (unsigned spoilt = random_below(6); spoilt > 0; spoilt--)
        bytes[512 + random_below(1400)] = random_below(256);
    sys2(__NR_ftruncate, file, random_below(8) ? sizeof bytes : random_below(sizeof bytes));
    sys4(__NR_pwrite64, file, bytes, sizeof bytes, 0);
    if (!random_below(8))
        sys2(__NR_ftruncate, file, random_below(sizeof bytes));
    search.found = 0;
    search.label = text_after(wanted, BY_LABEL);
    if (!search.label && !read_id(wanted + sizeof BY_ID - 1, search.id))
        printf("the id is right\n");
    read_table(file, "sda", sector);
    if (search.found && (search.length <= 0 || search.offset < 0))
        printf("%ld bytes at %ld\n", search.length, search.offset);
    return search.found;
}

/* The same for an MBR. */
static int play_mbr(long file)
{
    unsigned char bytes[512];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = random_below(256);
    put_little(bytes + 510, random_below(8) ? 0xaa55 : random_below(0x10000), 2);
    put_little(bytes + MBR_ID, random_below(8) ? 0x1234abcd : random_below(0x10000), 4);
    sys2(__NR_ftruncate, file, random_below(8) ? sizeof bytes : random_below(sizeof bytes));
    sys4(__NR_pwrite64, file, bytes, random_below(8) ? sizeof bytes : random_below(sizeof bytes), 0);
    search.found = 0;
    if (!read_mbr_id("1234abcd-03") || search.mbr_number != 3 || search.mbr_disk != 0x1234abcd)
        printf("the id is right\n");
    if (read_mbr_id("1234abcd-05") || read_mbr_id("1234abcd") || read_mbr_id("1234abcd-033") || read_mbr_id(""))
        printf("the id is wrong\n");
    read_mbr_id("1234abcd-03");
    read_mbr(file, "sda");
    search.mbr_number = 0;
    if (search.found && (search.length <= 0 || search.offset <= 0))
        printf("%ld bytes at %ld\n", search.length, search.offset);
    return search.found;
}

int main(int words, char **word)
{
    long found = 0, exports = 0, secured = 0, numbers = 0, partitions = 0;
    long file = sys2(__NR_memfd_create, "disk", 0);
    int pair[2];
    sys4(__NR_socketpair, UNIX, DATAGRAMS, 0, pair);
    random_state = words > 1 ? text_number(word[1]) : 1;
    for (long count = words > 2 ? text_number(word[2]) : 1; count > 0; count--) {
        found += play_answer();
        play_uri();
        if (count % 4 == 0) /* they take longer */
            numbers += play_netlink(pair);
        if (count % 4 == 1)
            partitions += play_table(file);
        if (count % 4 == 2)
            partitions += play_mbr(file);
        if (count % 30 == 0) {
            exports += play_server(0);
            secured += play_server(1);
        }
    }
    printf("%ld %ld %ld %ld %ld\n", found, exports, secured, numbers, partitions);
    return 0;
}

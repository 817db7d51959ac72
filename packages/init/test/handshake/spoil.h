/*
 * Spoils conversations of TLS 1.3: anywhere, or so that the lengths around a change are right again and the change is
 * looked at. RFC 8446, section 5 (records) and 4 (messages).
 */
#include "../random.h"

enum { HEADER = 5, MESSAGE_HEADER = 4, TAG = 16, CHANGE_CIPHER_SPEC = 20, HANDSHAKE = 22, ENCRYPTED = 23 };

static unsigned number_at(const unsigned char *bytes, int size)
{
    unsigned value = 0;
    for (int i = 0; i < size; i++)
        value = value << 8 | bytes[i];
    return value;
}

static void put_number(unsigned char *to, int size, unsigned value)
{
    while (size-- > 0) {
        to[size] = value;
        value >>= 8;
    }
}

#define MANY 64
struct records {
    int count;
    size_t start[MANY + 1]; /* and where the last one ends */
};

static struct records records_of(const struct conversation *c)
{
    struct records r = {0, {0}};
    for (size_t at = 0; r.count < MANY && at + HEADER <= c->n;) {
        size_t end = at + HEADER + number_at(c->bytes + at + 3, 2);
        if (end > c->n)
            break;
        r.start[++r.count] = at = end;
    }
    return r;
}

/* Replaces so many bytes; says whether there is room. */
static int replace(struct conversation *c, size_t at, size_t old, const unsigned char *by, size_t n)
{
    static unsigned char copy[MOST];
    if (at + old > c->n || c->n - old + n > MOST)
        return 0;
    memcpy(copy, by, n);
    memmove(c->bytes + at + n, c->bytes + at + old, c->n - at - old);
    memcpy(c->bytes + at, copy, n);
    c->n += n - old;
    return 1;
}

/* Fields before a place that may be the lengths of what the place is in. */
struct lengths {
    int count;
    struct {
        size_t at;
        int size;
    } of[MANY];
};

static void may_be_length(struct lengths *all, const struct conversation *c, size_t at, int size, size_t place, size_t end)
{
    size_t from = at + size, to = from + number_at(c->bytes + at, size);
    if (from > place || place > to || to > end || all->count == MANY)
        return;
    all->of[all->count].at = at;
    all->of[all->count++].size = size;
}

/* The record's, the message's, and some of the numbers that could be the lengths of lists in it, or in a certificate. */
static struct lengths lengths_around(const struct conversation *c, size_t place)
{
    struct lengths all = {0};
    struct records r = records_of(c);
    for (int i = 0; i < r.count; i++) {
        if (place < r.start[i] + HEADER || place > r.start[i + 1])
            continue;
        size_t end = r.start[i + 1];
        may_be_length(&all, c, r.start[i] + 3, 2, place, end);
        for (size_t at = r.start[i] + HEADER; at + MESSAGE_HEADER <= end;) {
            size_t next = at + MESSAGE_HEADER + number_at(c->bytes + at + 1, 3);
            if (next > end || place < next) {
                may_be_length(&all, c, at + 1, 3, place, end);
                for (size_t q = at + MESSAGE_HEADER; q + 2 <= place && next <= end; q++) {
                    if (random_below(10) < 7)
                        may_be_length(&all, c, q, 2, place, next);
                    if (q + 3 <= place && c->bytes[q] == 0 && random_below(2))
                        may_be_length(&all, c, q, 3, place, next);
                    if (place - q < 40 && random_below(4) == 0)
                        may_be_length(&all, c, q, 1, place, next);
                }
                break;
            }
            at = next;
        }
        break;
    }
    return all;
}

/* The same as replace(), and mostly with lengths that fit. */
static void exchange(struct conversation *c, size_t at, size_t old, const unsigned char *by, size_t n)
{
    struct lengths around = {0};
    if (random_below(4))
        around = lengths_around(c, at);
    if (!replace(c, at, old, by, n))
        return;
    for (int i = 0; i < around.count; i++) {
        unsigned char *field = c->bytes + around.of[i].at;
        put_number(field, around.of[i].size, number_at(field, around.of[i].size) + n - old);
    }
}

static size_t somewhere(const struct conversation *c)
{
    struct records r = records_of(c);
    /* In a record, each as likely as the next: the long ones are not more interesting. */
    if (r.count == 0 || random_below(8) == 0)
        return random_below(c->n + 1);
    int i = random_below(r.count);
    return r.start[i] + random_below(r.start[i + 1] - r.start[i] + 1);
}

static size_t some_length(size_t most)
{
    size_t n = random_below(random_below(8) ? 8 : 512) + 1;
    return n < most ? n : most;
}

/* Numbers at which something may break, and words of the protocol: versions, suites, groups, signatures, extensions. */
static const unsigned NUMBERS[] = {
    0,      1,      2,      3,      4,      5,      7,      8,      13,     15,     16,     20,     21,     22,     23,
    24,     28,     32,     33,     35,     41,     42,     43,     44,     45,     47,     48,     49,     50,     51,
    63,     64,     65,     127,    128,    255,    256,    257,    0x0303, 0x0304, 0x0301, 0x1301, 0x1302, 0x1303, 0x001d,
    0x001e, 0x0017, 0x0018, 0x0019, 0x0100, 0x0401, 0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0809, 0x3082, 0x0382, 0x0481,
    16383,  16384,  16385,  16640,  32767,  32768,  65535,
};

static void put_some_number(struct conversation *c)
{
    int size = 1 + random_below(3);
    size_t at = somewhere(c);
    if (at + size > c->n)
        return;
    unsigned value = random_below(3) ? NUMBERS[random_below(sizeof NUMBERS / sizeof *NUMBERS)]
                                     : number_at(c->bytes + at, size) + random_below(9) - 4;
    put_number(c->bytes + at, size, value);
}

static void flip_a_bit(struct conversation *c)
{
    size_t at = somewhere(c);
    if (at < c->n)
        c->bytes[at] ^= 1 << random_below(8);
}

static void leave_out(struct conversation *c)
{
    size_t at = somewhere(c);
    exchange(c, at, some_length(c->n - at), c->bytes, 0);
}

static void put_in(struct conversation *c)
{
    unsigned char bytes[512];
    size_t at = somewhere(c), n = some_length(sizeof bytes);
    unsigned char same = random_below(2) ? 0 : random_below(256);
    for (size_t i = 0; i < n; i++)
        bytes[i] = same ? same : random_below(256);
    exchange(c, at, 0, bytes, n);
}

static void repeat(struct conversation *c)
{
    size_t from = somewhere(c), n = some_length(c->n - from), to = somewhere(c);
    exchange(c, to, random_below(2) ? 0 : some_length(c->n - to), c->bytes + from, n);
}

/* Of this conversation or of another, to some place between two records. */
static void move_a_record(struct conversation *c, const struct conversation *other)
{
    struct records from = records_of(other), to = records_of(c);
    if (from.count == 0)
        return;
    int i = random_below(from.count);
    replace(c, to.start[random_below(to.count + 1)], 0, other->bytes + from.start[i], from.start[i + 1] - from.start[i]);
}

static void drop_a_record(struct conversation *c)
{
    struct records r = records_of(c);
    if (r.count == 0)
        return;
    int i = random_below(r.count);
    replace(c, r.start[i], r.start[i + 1] - r.start[i], c->bytes, 0);
}

/* A record that nobody expects: of each type, in the clear and not. */
static void put_a_record(struct conversation *c)
{
    static const unsigned char BODIES[][8] = {
        {1, 1}, {2, 2, 40}, {2, 1, 0}, {4, 24, 0, 0, 1, 0}, {4, 0, 0, 0, 0}, {4, 4, 0, 0, 0}, {4, 2, 0, 0, 0}, {0},
    };
    struct records r = records_of(c);
    const unsigned char *body = BODIES[random_below(sizeof BODIES / sizeof *BODIES)];
    unsigned char bytes[64] = {CHANGE_CIPHER_SPEC + random_below(5), 3, 3}, type = bytes[0];
    size_t n = body[0];
    memcpy(bytes + HEADER, body + 1, n);
    if (random_below(2)) {
        bytes[0] = ENCRYPTED;
        bytes[HEADER + n] = type;
        n += 1 + TAG;
    }
    put_number(bytes + 3, 2, n);
    replace(c, r.start[random_below(r.count + 1)], 0, bytes, HEADER + n);
}

/* Where an extension could begin: a small number, then a length that fits. */
static size_t some_extension(const struct conversation *c)
{
    for (int tries = 0; tries < 200; tries++) {
        size_t at = somewhere(c);
        if (at + 4 < c->n && number_at(c->bytes + at, 2) < 60 && at + 4 + number_at(c->bytes + at + 2, 2) <= c->n)
            return at;
    }
    return somewhere(c);
}

/* A well-formed one, with a list in it, where others are. */
static void put_an_extension(struct conversation *c)
{
    static const unsigned char TYPES[] = {0, 1, 5, 10, 13, 14, 16, 18, 20, 28, 41, 42, 43, 44, 45, 47, 48, 49, 50, 51, 60};
    unsigned char bytes[6 + 64];
    unsigned n = random_below(64);
    put_number(bytes, 2, TYPES[random_below(sizeof TYPES)]);
    put_number(bytes + 2, 2, n + 2);
    put_number(bytes + 4, 2, n);
    for (unsigned i = 0; i < n; i++)
        bytes[6 + i] = random_below(256);
    exchange(c, some_extension(c), 0, bytes, 6 + n);
}

/* The same bytes in two records. */
static void split_a_record(struct conversation *c)
{
    struct records r = records_of(c);
    if (r.count == 0)
        return;
    int i = random_below(r.count), sealed = c->bytes[r.start[i]] == ENCRYPTED;
    size_t start = r.start[i], n = r.start[i + 1] - start - HEADER, rest = sealed ? 1 + TAG : 0;
    if (n <= rest + 1)
        return;
    unsigned char between[1 + TAG + HEADER] = {c->bytes[r.start[i + 1] - rest]};
    size_t first = 1 + random_below(n - rest - 1);
    memcpy(between + rest, c->bytes + start, HEADER);
    put_number(between + rest + 3, 2, n - first);
    if (replace(c, start + HEADER + first, 0, between, rest + HEADER))
        put_number(c->bytes + start + 3, 2, first + rest);
}

static void cut_the_end(struct conversation *c)
{
    if (random_below(8) == 0)
        c->n = random_below(c->n + 1);
}

static void move_its_record(struct conversation *c)
{
    move_a_record(c, c);
}

/* As often as they are listed. */
static void (*const SPOILERS[])(struct conversation *) = {
    put_some_number, put_some_number, put_some_number, flip_a_bit,    flip_a_bit,      leave_out,        leave_out,       put_in,
    put_in,          repeat,          repeat,          drop_a_record, put_a_record,    put_an_extension, move_its_record, split_a_record,
    cut_the_end,
};

/* @param other a conversation of which a record may come in */
static void spoil(struct conversation *c, const struct conversation *other)
{
    if (random_below(8) == 0)
        move_a_record(c, other);
    for (int times = 1 + random_below(random_below(4) ? 3 : 12); times > 0; times--)
        SPOILERS[random_below(sizeof SPOILERS / sizeof *SPOILERS)](c);
}

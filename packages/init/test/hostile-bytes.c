/*
 * Plays spoilt answers of name servers, and spoilt URIs, to the code that reads them, each in memory of exactly its size.
 * To be compiled with -fsanitize=address,undefined, which watch. Prints how many addresses were found.
 *
 *     hostile-bytes SEED COUNT
 */
#include "../native/nbd-uri.h"
#include "random.h"

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

int main(int words, char **word)
{
    long found = 0;
    random_state = words > 1 ? number(word[1]) : 1;
    for (long count = words > 2 ? number(word[2]) : 1; count > 0; count--) {
        found += play_answer();
        play_uri();
    }
    printf("%ld\n", found);
    return 0;
}

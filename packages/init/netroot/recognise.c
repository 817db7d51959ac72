#include "../lib/bytes.h"
#include "../lib/say.h"
#include "attempt.h"
#include "recognise.h"

#define FIRST_BYTES 4096U
#define MAX_BLOCK 65536U /* the kernel makes no device with larger blocks */

/* FNV-1a, 64 bits: it tells images apart, not friend from foe. http://www.isthe.com/chongo/tech/comp/fnv/ */
#define FNV_BASIS 0xcbf29ce484222325UL
#define FNV_PRIME 0x100000001b3UL

static int receive_hashed(struct attempt *a, size_t n, unsigned long *hash)
{
    unsigned char bytes[256];
    for (size_t part; n > 0; n -= part) {
        part = n < sizeof bytes ? n : sizeof bytes;
        if (!attempt_receive(a, bytes, part))
            return 0;
        for (size_t i = 0; i < part; i++)
            *hash = (*hash ^ bytes[i]) * FNV_PRIME;
    }
    return 1;
}

int recognise_start(long fd, struct nbd_export *export, struct text *why, int *never)
{
    struct attempt a = {.fd = fd, .deadline = clock_now() + ATTEMPT_TIME, .why = why};
    unsigned length = export->block > FIRST_BYTES && export->block <= MAX_BLOCK ? export->block : FIRST_BYTES;
    unsigned char request[28], reply[16], *at = request;
    if (length > export->size)
        length = export->size;
    at = bytes_put(at, REQUEST_MAGIC, 4);
    at = bytes_put(at, REQUEST_READ, 4); /* without flags */
    at = bytes_put(at, 0, 8);
    at = bytes_put(at, 0, 8);
    bytes_put(at, length, 4);
    int done = attempt_send(&a, request, sizeof request) && attempt_receive(&a, reply, sizeof reply);
    if (done && (bytes_get(reply, 4) != SIMPLE_REPLY_MAGIC || bytes_get(reply + 8, 8) != 0))
        done = attempt_hopeless(&a, "the server answers with something that is not NBD");
    else if (done && bytes_get(reply + 4, 4) != 0) {
        done = attempt_hopeless(&a, "its start cannot be read: ");
        say_add_error(why, -(long)bytes_get(reply + 4, 4));
    }
    export->start = FNV_BASIS;
    done = done && receive_hashed(&a, length, &export->start);
    *never = a.hopeless;
    return done;
}

int recognise_same(const struct nbd_export *a, const struct nbd_export *b)
{
    return a->size == b->size && !((a->flags ^ b->flags) & EXPORT_READ_ONLY) && a->start == b->start;
}

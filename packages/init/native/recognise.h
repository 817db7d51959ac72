/*
 * Whether an export is the one that it was: a number made of its first bytes, where EROFS, ext4 and SquashFS keep what
 * tells one image from another. Asked for before the kernel has the connection.
 */
#ifndef NODEOS_RECOGNISE_H
#define NODEOS_RECOGNISE_H

#include "nbd.h"

#define REQUEST_MAGIC 0x25609513U
#define SIMPLE_REPLY_MAGIC 0x67446698U
#define NBD_READ 0 /* the type */
#define FIRST_BYTES 4096U
#define MAX_BLOCK 65536U /* of larger blocks the kernel makes no device */

/* FNV-1a, 64 bits: it tells images apart, not friend from foe. http://www.isthe.com/chongo/tech/comp/fnv/ */
#define FNV_BASIS 0xcbf29ce484222325UL
#define FNV_PRIME 0x100000001b3UL

static int receive_hashed(struct attempt *a, size_t n, unsigned long *hash)
{
    unsigned char bytes[256];
    for (size_t part; n > 0; n -= part) {
        part = n < sizeof bytes ? n : sizeof bytes;
        if (!receive(a, bytes, part))
            return 0;
        for (size_t i = 0; i < part; i++)
            *hash = (*hash ^ bytes[i]) * FNV_PRIME;
    }
    return 1;
}

/* Sets export->start. Returns success; if not, why says why, and never whether another attempt is in vain. */
static int read_start(long fd, struct nbd_export *export, struct text *why, int *never)
{
    struct attempt a = {.fd = fd, .deadline = now() + ATTEMPT, .why = why};
    unsigned length = export->block > FIRST_BYTES && export->block <= MAX_BLOCK ? export->block : FIRST_BYTES;
    unsigned char request[28], reply[16], *at = request;
    if (length > export->size)
        length = export->size;
    at = put(at, REQUEST_MAGIC, 4);
    at = put(at, NBD_READ, 4); /* and no flags */
    at = put(at, 0, 8);
    at = put(at, 0, 8);
    put(at, length, 4);
    int done = transmit(&a, request, sizeof request) && receive(&a, reply, sizeof reply);
    if (done && (get(reply, 4) != SIMPLE_REPLY_MAGIC || get(reply + 8, 8) != 0))
        done = hopeless(&a, "the server answers with something that is not NBD");
    else if (done && get(reply + 4, 4) != 0) {
        done = hopeless(&a, "its start cannot be read: ");
        add_error(why, -(long)get(reply + 4, 4));
    }
    export->start = FNV_BASIS;
    done = done && receive_hashed(&a, length, &export->start);
    *never = a.hopeless;
    return done;
}

static int same_export(const struct nbd_export *a, const struct nbd_export *b)
{
    return a->size == b->size && !((a->flags ^ b->flags) & EXPORT_READ_ONLY) && a->start == b->start;
}

#endif

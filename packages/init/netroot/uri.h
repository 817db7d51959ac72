/*
 * nbd://HOST[:PORT]/EXPORT[?connections=N], and nbds:// for TLS:
 * nbds://[USER@]HOST[:PORT]/EXPORT[?tls-hostname=NAME&tls-certificates=FOLDER&tls-psk-file=FILE&tls-verify-peer=false]
 * https://github.com/NetworkBlockDevice/nbd/blob/master/doc/uri.md
 * Leaves out: Unix sockets, zones of addresses.
 */
#ifndef NODEOS_URI_H
#define NODEOS_URI_H

#include "../lib/address.h"
#include "../lib/text.h"

#define MAX_EXPORT 512 /* bytes of a name: all of it fits into a message */
#define MAX_CONNECTIONS 8
#define MAX_WORD 256 /* bytes of a name, or of a path, with the zero at its end */

struct nbd_tls {
    int used;
    int any;             /* whatever the server's certificate is */
    char name[MAX_WORD]; /* in the server's certificate; default: the host */
    char user[MAX_WORD]; /* of the shared key; empty: the first one's */
    char keys[MAX_WORD]; /* a file with shared keys; empty: certificates */
    char folder[MAX_WORD];
};

struct nbd_uri {
    const char *text;
    struct nbd_tls tls;
    union address address; /* of a host with a name: the one that was found last */
    char host[MAX_HOST];   /* its name; empty if it is an address */
    int port;              /* as in an address */
    char name[MAX_EXPORT + 1];
    size_t name_length;
    size_t shown; /* bytes of the name that may be said: the rest is a secret */
    long connections;
};

/* Reads a URI, which must stay where it is. Returns success; if there is none, appends the reason to why. */
int uri_parse(struct nbd_uri *uri, const char *text, struct text *why);

/* Appends a secret of n bytes to the export's name, without the white space at its end. Returns success; if there is
 * none, appends the reason to why. */
int uri_complete(struct nbd_uri *uri, const char *secret, size_t n, struct text *why);

/* Looks up the host, if it has a name. From several addresses it takes `home`, where the last connection was, if the
 * name still has that; else the one that follows the address of the last attempt, or the first. Returns whether there
 * is one. If there is none, the address is home again, or stays as it was, and why has the reason. */
int uri_find_host(struct nbd_uri *uri, const union address *home, struct text *why);

#endif

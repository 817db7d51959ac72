/* A connection to an NBD server: TCP and the handshake. */
#ifndef NODEOS_CONNECT_H
#define NODEOS_CONNECT_H

#include "nbd.h"
#include "uri.h"

/* Connects to the URI's address. Returns a descriptor that is past its handshake, or -1: then why has the reason, and
 * *never is whether another attempt is in vain. Meanwhile *attempt, if there is one, is the descriptor, so that
 * somebody can close it if this process is killed. */
long connect_export(const struct nbd_uri *uri, struct nbd_export *export, struct text *why, int *never, long *attempt);

#endif

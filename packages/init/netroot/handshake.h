/*
 * The fixed newstyle handshake of NBD. What comes after it is the kernel's.
 *
 * Leaves out: lists of exports, structured replies (the kernel's client has neither).
 */
#ifndef NODEOS_HANDSHAKE_H
#define NODEOS_HANDSHAKE_H

#include "attempt.h"
#include "nbd.h"
#include "uri.h"

/* Shakes hands, with TLS if the URI wants it, and sets what is known of the export. Returns success. */
int handshake_run(struct attempt *a, const struct nbd_uri *uri, struct nbd_export *export);

#endif

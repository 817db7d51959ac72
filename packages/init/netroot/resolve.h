/*
 * Names of hosts, before there is a root: asks the name servers for addresses.
 *
 * Leaves out: TCP for answers that are cut off (what there is of them counts), more search domains than one.
 * A name server may lie, as on every network without TLS: nbds:// compares the name with the server's certificate.
 */
#ifndef NODEOS_RESOLVE_H
#define NODEOS_RESOLVE_H

#include "../lib/address.h"
#include "../lib/text.h"
#include "dns.h"

/* Adds the name server whose address reaches from s to end. Returns 0 if it is no address, or no port. From the fourth
 * on, servers are left out. */
int resolve_add_server(const char *s, const char *end, long port);

/* Returns how many name servers there are. */
int resolve_servers(void);

/* Reads which name servers there are from /etc/resolv.conf, else from what ip= brought. Called once, while these files
 * can be read: later, a look-up may be for the very root that they are on. */
void resolve_find_servers(void);

/* Looks up at most MAX_ADDRESSES addresses of a name; takes seconds for each server that does not answer. Returns their
 * number; if that is 0, appends the reason to why. */
int resolve_host(const char *name, union address *to, struct text *why);

#endif

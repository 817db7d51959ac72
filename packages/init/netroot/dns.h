/*
 * Questions to name servers, and their answers, as messages: RFC 1035.
 * Leaves out: the rest of an answer that is cut off, DNSSEC.
 */
#ifndef NODEOS_DNS_H
#define NODEOS_DNS_H

#include "../lib/address.h"
#include "../lib/sys.h"

#define DNS_PORT 53
#define DNS_MESSAGE 512 /* bytes, without extensions */
#define DNS_HEADER 12   /* bytes */
#define MAX_ADDRESSES 8

enum { DNS_A = 1, DNS_AAAA = 28, DNS_IN = 1 };
enum { DNS_RCODE = 15, DNS_NO_SUCH_NAME = 3 }; /* in the fourth byte of an answer */

struct question {
    unsigned char bytes[DNS_HEADER + MAX_HOST + 8];
    size_t length;
    int type;
};

/* Makes the question for addresses of a type, of name.domain. Returns 0 if the two together cannot be a name. */
int dns_question(struct question *q, const char *name, const char *domain, int type);

/* Finds at most MAX_ADDRESSES addresses in a message of n bytes. Returns their number, or -1 if the message does not
 * answer the question. An alias comes with what it stands for. */
int dns_addresses(const unsigned char *message, size_t n, const struct question *q, union address *to);

#endif

/*
 * Addresses and names of hosts, as they are written.
 * Leaves out: zones of IPv6, addresses of IPv6 that end like one of IPv4, names with other letters than ASCII has.
 */
#ifndef NODEOS_ADDRESS_H
#define NODEOS_ADDRESS_H

#include <linux/in.h>
#include <linux/in6.h>

#define MAX_HOST 254 /* bytes of a name, with the zero at its end: RFC 1035, section 2.3.4 */
#define MAX_LABEL 63 /* bytes between its dots */

/* The family and the port are at the same places in both. */
union address {
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* Returns the address itself: 4 bytes, or 16 of IPv6. */
unsigned char *address_bytes(const union address *a);

/* Reads an address that reaches from s to end, and sets no port. Returns whether it is one. */
int address_parse(const char *s, const char *end, union address *to);

/* Returns whether two are the same, whatever their ports are. */
int address_same(const union address *a, const union address *b);

/* Returns whether a name reaches from s to end: letters, digits, hyphens and underscores between dots. Numbers alone
 * are no name, but a mistake in an address. */
int address_is_name(const char *s, const char *end);

/* Returns the value of a hexadecimal digit, -1 if it is none. */
int address_digit(char c);

#endif

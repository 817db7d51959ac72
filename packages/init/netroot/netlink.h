/*
 * The kernel's control of NBD devices: generic netlink, family "nbd" (linux/nbd-netlink.h).
 * https://docs.kernel.org/userspace-api/netlink/intro.html
 */
#ifndef NODEOS_NETLINK_H
#define NODEOS_NETLINK_H

#include <linux/genetlink.h>
#include <linux/nbd-netlink.h>
#include <linux/netlink.h>

#include "../lib/sys.h"

struct netlink {
    long fd, family;
    int group; /* as setsockopt takes it */
};

union message {
    struct {
        struct nlmsghdr head;
        struct genlmsghdr generic;
    };
    unsigned char bytes[2048];
};

/* Opens a socket, and finds the family "nbd" and its group. Returns 0, or the negated error: -ENOENT if the kernel
 * has no NBD. Then the descriptor is -1. */
long netlink_open(struct netlink *n);

/* Begins a request. */
void netlink_begin(union message *m, unsigned type, unsigned flags, int command, int version);

/* Appends an attribute of `size` bytes. Returns where it begins. */
size_t netlink_add(union message *m, unsigned type, const void *value, size_t size);

/* Appends an attribute of 4 or 8 bytes. */
void netlink_add32(union message *m, unsigned type, unsigned value);
void netlink_add64(union message *m, unsigned type, unsigned long value);

/* Makes all that was appended since an attribute its content. */
void netlink_nest(union message *m, size_t at);

/* Sends a request. m becomes the answer, if there is one. Returns 0, or the kernel's negated error. */
long netlink_ask(struct netlink *n, union message *m);

/* Receives the kernel's next message, without waiting. Returns its size, or the negated error: -EAGAIN if there is
 * none. Messages of other senders, and such that are longer than they should be, are passed over. */
long netlink_next(struct netlink *n, union message *m);

/* Returns the attribute of a type in a message, or 0. */
struct nlattr *netlink_find(union message *m, int type);

/* Returns the number of an attribute of 2 or 4 bytes; -1 if the attribute is missing, or has another size. */
long netlink_value(struct nlattr *a, size_t size);

#endif

/*
 * The kernel's control of NBD devices: generic netlink, family "nbd" (linux/nbd-netlink.h).
 * https://docs.kernel.org/userspace-api/netlink/intro.html
 */
#ifndef NODEOS_NETLINK_H
#define NODEOS_NETLINK_H

#include <asm/socket.h>
#include <linux/genetlink.h>
#include <linux/nbd-netlink.h>
#include <linux/netlink.h>

#include "io.h"

/* Kernel ABI that is in no header for programs. */
#define AF_NETLINK 16
#define SOCK_RAW 3

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

static void begin_message(union message *m, unsigned type, unsigned flags, int command, int version)
{
    m->head = (struct nlmsghdr){NLMSG_HDRLEN + GENL_HDRLEN, type, NLM_F_REQUEST | flags, 0, 0};
    m->generic = (struct genlmsghdr){command, version, 0};
}

/* Appends an attribute. Returns where it begins. */
static size_t attribute(union message *m, unsigned type, const void *value, size_t size)
{
    size_t at = m->head.nlmsg_len, padded = NLA_ALIGN(NLA_HDRLEN + size);
    struct nlattr head = {NLA_HDRLEN + size, type};
    memset(m->bytes + at, 0, padded);
    memcpy(m->bytes + at, &head, sizeof head);
    if (value)
        memcpy(m->bytes + at + NLA_HDRLEN, value, size);
    m->head.nlmsg_len += padded;
    return at;
}

static void attribute32(union message *m, unsigned type, unsigned value)
{
    attribute(m, type, &value, sizeof value);
}

static void attribute64(union message *m, unsigned type, unsigned long value)
{
    attribute(m, type, &value, sizeof value);
}

/* What was appended since an attribute becomes its content. */
static void nest(union message *m, size_t at)
{
    ((struct nlattr *)(m->bytes + at))->nla_len = m->head.nlmsg_len - at;
}

/* The next message, without waiting: -EAGAIN if there is none. What is not the kernel's, or not as long as it says, is
 * passed over. */
static long next_message(struct netlink *n, union message *m)
{
    for (;;) {
        struct sockaddr_nl from = {0};
        unsigned from_size = sizeof from;
        memset(m, 0, sizeof *m);
        long size = sys6(__NR_recvfrom, n->fd, SYS_L(m), sizeof *m, 0x40 /* MSG_DONTWAIT */, SYS_L(&from),
                         SYS_L(&from_size));
        if (size <= 0)
            return size;
        if (from.nl_pid == 0 && m->head.nlmsg_len >= NLMSG_HDRLEN && m->head.nlmsg_len <= size)
            return size;
    }
}

/* What the kernel has answered: 0, or its error; m becomes the answer, if there is one. */
static long hear_answer(struct netlink *n, union message *m)
{
    union message answer;
    long size;
    m->head.nlmsg_len = 0;
    while ((size = next_message(n, &answer)) > 0) {
        if (answer.head.nlmsg_type != NLMSG_ERROR) {
            memcpy(m, &answer, sizeof answer);
            continue;
        }
        int error = -EIO;
        if (answer.head.nlmsg_len >= NLMSG_HDRLEN + sizeof error)
            memcpy(&error, answer.bytes + NLMSG_HDRLEN, sizeof error);
        return error;
    }
    return size;
}

/* Sends a request. The kernel has done its work, and answered, when sendto returns. */
static long ask(struct netlink *n, union message *m)
{
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    long size = sys6(__NR_sendto, n->fd, SYS_L(m), m->head.nlmsg_len, 0, SYS_L(&kernel), sizeof kernel);
    return size < 0 ? size : hear_answer(n, m);
}

/* The attribute of a type among those from start to end, or 0. */
static struct nlattr *find_attribute(unsigned char *start, unsigned char *end, int type)
{
    while (start + NLA_HDRLEN <= end) {
        struct nlattr *a = (struct nlattr *)start;
        if (a->nla_len < NLA_HDRLEN || start + a->nla_len > end)
            return 0;
        if ((a->nla_type & NLA_TYPE_MASK) == type)
            return a;
        start += NLA_ALIGN(a->nla_len);
    }
    return 0;
}

static struct nlattr *attribute_of(union message *m, int type)
{
    return find_attribute(m->bytes + NLMSG_HDRLEN + GENL_HDRLEN, m->bytes + m->head.nlmsg_len, type);
}

static struct nlattr *attribute_in(struct nlattr *outer, int type)
{
    unsigned char *start = (unsigned char *)outer;
    return outer ? find_attribute(start + NLA_HDRLEN, start + outer->nla_len, type) : 0;
}

/* A number of 2 or 4 bytes; -1 if the attribute is not there, or not so long. */
static long value_of(struct nlattr *a, size_t size)
{
    unsigned value = 0;
    if (!a || a->nla_len != NLA_HDRLEN + size)
        return -1;
    memcpy(&value, (unsigned char *)a + NLA_HDRLEN, size);
    return value;
}

static void read_family(struct netlink *n, union message *m)
{
    /* The family has one group: the first. */
    struct nlattr *first = attribute_in(attribute_of(m, CTRL_ATTR_MCAST_GROUPS), 1);
    n->family = value_of(attribute_of(m, CTRL_ATTR_FAMILY_ID), 2);
    n->group = value_of(attribute_in(first, CTRL_ATTR_MCAST_GRP_ID), 4);
}

/* Finds the family "nbd" and its group. Returns 0, or an error: -ENOENT if the kernel has no NBD. */
static long open_netlink(struct netlink *n)
{
    struct sockaddr_nl self = {.nl_family = AF_NETLINK};
    union message m;
    n->fd = sys3(__NR_socket, AF_NETLINK, SOCK_RAW | O_CLOEXEC, NETLINK_GENERIC);
    if (n->fd < 0)
        return n->fd;
    sys3(__NR_bind, n->fd, &self, sizeof self);
    begin_message(&m, GENL_ID_CTRL, NLM_F_ACK, CTRL_CMD_GETFAMILY, 1);
    attribute(&m, CTRL_ATTR_FAMILY_NAME, NBD_GENL_FAMILY_NAME, sizeof NBD_GENL_FAMILY_NAME);
    long error = ask(n, &m);
    if (error >= 0) {
        read_family(n, &m);
        error = n->family < 0 || n->group < 0 ? -ENOENT : 0;
    }
    if (error < 0) {
        sys1(__NR_close, n->fd);
        n->fd = -1;
    }
    return error;
}

#endif

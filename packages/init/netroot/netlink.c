#include <asm/errno.h>
#include <linux/fcntl.h>

#include "../lib/socket.h"
#include "netlink.h"

void netlink_begin(union message *m, unsigned type, unsigned flags, int command, int version)
{
    m->head = (struct nlmsghdr){NLMSG_HDRLEN + GENL_HDRLEN, type, NLM_F_REQUEST | flags, 0, 0};
    m->generic = (struct genlmsghdr){command, version, 0};
}

size_t netlink_add(union message *m, unsigned type, const void *value, size_t size)
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

void netlink_add32(union message *m, unsigned type, unsigned value)
{
    netlink_add(m, type, &value, sizeof value);
}

void netlink_add64(union message *m, unsigned type, unsigned long value)
{
    netlink_add(m, type, &value, sizeof value);
}

void netlink_nest(union message *m, size_t at)
{
    ((struct nlattr *)(m->bytes + at))->nla_len = m->head.nlmsg_len - at;
}

long netlink_next(struct netlink *n, union message *m)
{
    for (;;) {
        struct sockaddr_nl from = {0};
        unsigned from_size = sizeof from;
        memset(m, 0, sizeof *m);
        long size = sys6(__NR_recvfrom, n->fd, SYS_L(m), sizeof *m, MSG_DONTWAIT, SYS_L(&from),
                         SYS_L(&from_size));
        if (size <= 0)
            return size;
        if (from.nl_pid == 0 && m->head.nlmsg_len >= NLMSG_HDRLEN && m->head.nlmsg_len <= size)
            return size;
    }
}

/* Returns what the kernel has answered: 0, or its error. m becomes the answer, if there is one. */
static long hear_answer(struct netlink *n, union message *m)
{
    union message answer;
    long size;
    m->head.nlmsg_len = 0;
    while ((size = netlink_next(n, &answer)) > 0) {
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

/* When sendto returns, the kernel has done its work and answered. */
long netlink_ask(struct netlink *n, union message *m)
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

struct nlattr *netlink_find(union message *m, int type)
{
    return find_attribute(m->bytes + NLMSG_HDRLEN + GENL_HDRLEN, m->bytes + m->head.nlmsg_len, type);
}

static struct nlattr *attribute_in(struct nlattr *outer, int type)
{
    unsigned char *start = (unsigned char *)outer;
    return outer ? find_attribute(start + NLA_HDRLEN, start + outer->nla_len, type) : 0;
}

long netlink_value(struct nlattr *a, size_t size)
{
    unsigned value = 0;
    if (!a || a->nla_len != NLA_HDRLEN + size)
        return -1;
    memcpy(&value, (unsigned char *)a + NLA_HDRLEN, size);
    return value;
}

/* Reads the answer to CTRL_CMD_GETFAMILY. The family has one group: the first. */
static void read_family(struct netlink *n, union message *m)
{
    struct nlattr *first = attribute_in(netlink_find(m, CTRL_ATTR_MCAST_GROUPS), 1);
    n->family = netlink_value(netlink_find(m, CTRL_ATTR_FAMILY_ID), 2);
    n->group = netlink_value(attribute_in(first, CTRL_ATTR_MCAST_GRP_ID), 4);
}

long netlink_open(struct netlink *n)
{
    struct sockaddr_nl self = {.nl_family = AF_NETLINK};
    union message m;
    n->fd = sys3(__NR_socket, AF_NETLINK, SOCK_RAW | O_CLOEXEC, NETLINK_GENERIC);
    if (n->fd < 0)
        return n->fd;
    sys3(__NR_bind, n->fd, &self, sizeof self);
    netlink_begin(&m, GENL_ID_CTRL, NLM_F_ACK, CTRL_CMD_GETFAMILY, 1);
    netlink_add(&m, CTRL_ATTR_FAMILY_NAME, NBD_GENL_FAMILY_NAME, sizeof NBD_GENL_FAMILY_NAME);
    long error = netlink_ask(n, &m);
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

/* Sockets: kernel ABI that is in no header for programs. */
#ifndef NODEOS_SOCKET_H
#define NODEOS_SOCKET_H

#include <asm/socket.h>

#include "sys.h"

#define AF_INET 2
#define AF_INET6 10
#define AF_NETLINK 16
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define SOCK_RAW 3
#define MSG_DONTWAIT 0x40
#define MSG_NOSIGNAL 0x4000
#define SHUT_RDWR 2
#define SOL_NETLINK 270
#define SOL_TLS 282
#define TLS_GET_RECORD_TYPE 2

struct iovec {
    void *base;
    size_t length;
};
struct msghdr {
    void *name;
    int name_length;
    struct iovec *parts;
    size_t count;
    void *control;
    size_t control_length;
    unsigned flags;
};
struct cmsghdr {
    size_t length;
    int level, type;
    unsigned char data[8];
};

#endif

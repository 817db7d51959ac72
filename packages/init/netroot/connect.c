#include <asm/poll.h>
#include <linux/tcp.h>

#include "../lib/io.h"
#include "../lib/socket.h"
#include "connect.h"
#include "handshake.h"

static void set_option(long fd, int level, int name, int value)
{
    sys5(__NR_setsockopt, fd, level, name, &value, sizeof value);
}

static int dial(struct attempt *a, const struct nbd_uri *uri)
{
    int error = 0;
    unsigned error_size = sizeof error;
    /* So an idle connection notices within half a minute that its server is gone. */
    set_option(a->fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(a->fd, IPPROTO_TCP, TCP_KEEPIDLE, 10);
    set_option(a->fd, IPPROTO_TCP, TCP_KEEPINTVL, 5);
    set_option(a->fd, IPPROTO_TCP, TCP_KEEPCNT, 5);
    set_option(a->fd, IPPROTO_TCP, TCP_NODELAY, 1);
    long done = sys3(__NR_connect, a->fd, &uri->address, sizeof uri->address);
    if (done == -EINPROGRESS) {
        done = attempt_wait(a, POLLOUT);
        if (done == 0)
            sys5(__NR_getsockopt, a->fd, SOL_SOCKET, SO_ERROR, &error, &error_size);
        done = done < 0 ? done : -error;
    }
    sys3(__NR_fcntl, a->fd, F_SETFL, 0);
    return done < 0 ? attempt_failed(a, done) : 1;
}

long connect_export(const struct nbd_uri *uri, struct nbd_export *export, struct text *why, int *never, long *attempt)
{
    struct attempt a = {.why = why, .deadline = clock_now() + ATTEMPT_TIME};
    *export = (struct nbd_export){0};
    a.fd = sys3(__NR_socket, uri->address.v4.sin_family, SOCK_STREAM | O_CLOEXEC | O_NONBLOCK, 0);
    if (a.fd < 0)
        return attempt_failed(&a, a.fd) - 1;
    if (attempt)
        *attempt = a.fd;
    int done = dial(&a, uri) && handshake_run(&a, uri, export);
    *never = a.hopeless;
    if (!done)
        sys1(__NR_close, a.fd);
    if (attempt)
        *attempt = 0;
    return done ? a.fd : -1;
}

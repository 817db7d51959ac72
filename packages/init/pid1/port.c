/* https://docs.kernel.org/networking/proc_net_tcp.html: sockets that listen come first. */
#include "../lib/io.h"
#include "../lib/text.h"
#include "port.h"

#define LISTENS "0A"

/* Returns whether a table has a socket that listens on the port, and at another address than the loopback's. An address
 * has that many digits in the table. */
static int has_listener(const char *table, size_t digits, const char *loopback, long port)
{
    static char bytes[8192];
    struct text socket = {0}; /* what follows its address: the port, an empty peer, the state */
    text_add(&socket, ":");
    for (int shift = 12; shift >= 0; shift -= 4)
        text_add_bytes(&socket, &"0123456789ABCDEF"[port >> shift & 15], 1);
    text_add(&socket, " ");
    for (size_t i = 0; i < digits; i++)
        text_add(&socket, "0");
    text_add(&socket, ":0000 " LISTENS " ");
    size_t n = io_read_file(table, bytes, sizeof bytes);
    for (size_t at = digits; at < n; at++)
        if (text_after(bytes + at, socket.bytes) && !text_after(bytes + at - digits, loopback))
            return 1;
    return 0;
}

int port_is_open(long port)
{
    return has_listener("/proc/net/tcp", 8, "0100007F", port) ||
           has_listener("/proc/net/tcp6", 32, "00000000000000000000000001000000", port);
}

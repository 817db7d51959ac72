/*
 * The floor that NBD servers are measured against: one thread for each connection, blocking, one read(2) and one
 * write(2) for as many requests as there are. It serves memory, checks nothing, and knows no errors: no server that
 * answers through the same socket can do much less.
 *
 *     nbd-floor SOCKET BYTES
 *
 * https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md: fixed newstyle, GO, simple replies.
 */
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BUFFER (16 << 20) /* bytes of requests, and of replies */
enum { READ = 0, WRITE = 1, DISC = 2, OPT_GO = 7, REP_ACK = 1, REP_INFO = 3 };

static char *disk;
static uint64_t disk_size;

static void put(char *to, uint64_t value, int size)
{
    for (int i = size; i-- > 0; value >>= 8)
        to[i] = value;
}

static uint64_t get(const char *from, int size)
{
    uint64_t value = 0;
    for (int i = 0; i < size; i++)
        value = value << 8 | (unsigned char)from[i];
    return value;
}

static void receive(int fd, char *to, size_t n)
{
    for (ssize_t got; n > 0; to += got, n -= got)
        if ((got = read(fd, to, n)) <= 0)
            pthread_exit(0);
}

static void transmit(int fd, const char *from, size_t n)
{
    for (ssize_t sent; n > 0; from += sent, n -= sent)
        if ((sent = write(fd, from, n)) <= 0)
            pthread_exit(0);
}

static void reply(int fd, unsigned option, unsigned type, const char *data, size_t n)
{
    char bytes[64];
    put(bytes, 0x3e889045565a9, 8);
    put(bytes + 8, option, 4);
    put(bytes + 12, type, 4);
    put(bytes + 16, n, 4);
    memcpy(bytes + 20, data, n);
    transmit(fd, bytes, 20 + n);
}

static void shake_hands(int fd)
{
    char bytes[4096] = "NBDMAGICIHAVEOPT", info[12];
    put(bytes + 16, 3, 2);
    transmit(fd, bytes, 18);
    receive(fd, bytes, 4);
    put(info, 0, 2);
    put(info + 2, disk_size, 8);
    put(info + 10, 1, 2);
    for (unsigned option = 0; option != OPT_GO;) {
        receive(fd, bytes, 16);
        option = get(bytes + 8, 4);
        receive(fd, bytes, get(bytes + 12, 4) % sizeof bytes);
        if (option == OPT_GO)
            reply(fd, option, REP_INFO, info, sizeof info);
        reply(fd, option, option == OPT_GO ? REP_ACK : 0x80000001, "", 0);
    }
}

/* Answers all the requests that are there. Returns how many bytes they were. */
static size_t answer(int fd, const char *in, size_t have, char *out)
{
    size_t at = 0, used = 0;
    while (have - at >= 28) {
        const char *request = in + at;
        unsigned type = get(request + 6, 2), length = get(request + 24, 4);
        uint64_t offset = get(request + 16, 8);
        size_t payload = type == WRITE ? length : 0;
        if (type == DISC)
            pthread_exit(0);
        if (have - at < 28 + payload)
            break;
        if (used + 16 + length > BUFFER) {
            transmit(fd, out, used);
            used = 0;
        }
        put(out + used, 0x67446698, 4);
        put(out + used + 4, 0, 4);
        memcpy(out + used + 8, request + 8, 8);
        used += 16;
        if (type == READ) {
            memcpy(out + used, disk + offset, length);
            used += length;
        } else if (type == WRITE)
            memcpy(disk + offset, request + 28, length);
        at += 28 + payload;
    }
    transmit(fd, out, used);
    return at;
}

static void *serve(void *argument)
{
    int fd = (int)(intptr_t)argument;
    char *in = malloc(BUFFER), *out = malloc(BUFFER);
    size_t have = 0;
    shake_hands(fd);
    for (ssize_t got; (got = read(fd, in + have, BUFFER - have)) > 0;) {
        have += got;
        size_t done = answer(fd, in, have, out);
        memmove(in, in + done, have -= done);
    }
    return 0;
}

int main(int count, char **words)
{
    struct sockaddr_un address = {AF_UNIX, ""};
    pthread_t thread;
    if (count != 3)
        return 2;
    signal(SIGPIPE, SIG_IGN); /* a client that leaves ends its thread alone */
    disk = calloc(1, disk_size = strtoull(words[2], 0, 10));
    strncpy(address.sun_path, words[1], sizeof address.sun_path - 1);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    if (!disk || bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 8) < 0)
        return 1;
    for (int fd; (fd = accept(listener, 0, 0)) >= 0;)
        pthread_create(&thread, 0, serve, (void *)(intptr_t)fd);
    return 0;
}

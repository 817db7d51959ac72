#include "say.h"
#include "io.h"

static void to_output(const char *bytes, size_t n)
{
    io_write_all(1, bytes, n);
}

static say_writer write_line = to_output;

void say_line(const char *const *parts)
{
    struct text line = {0};
    text_add(&line, "nodeos: ");
    while (*parts)
        text_add(&line, *parts++);
    text_add(&line, "\n");
    write_line(line.bytes, line.length);
}

void say_through(say_writer writer)
{
    write_line = writer ? writer : to_output;
}

void say_add_error(struct text *t, long error)
{
    static const struct { int number; const char *words; } ERRORS[] = {
        {ENOENT, "no such file"},
        {EIO, "input/output error"},
        {ENXIO, "no such device"},
        {EBUSY, "busy"},
        {ENODEV, "no such device"},
        {EINVAL, "invalid argument"},
        {EROFS, "read-only"},
        {EUCLEAN, "the filesystem is damaged"},
        {ENETUNREACH, "network is unreachable (does the command line have ip=?)"},
        {EADDRNOTAVAIL, "there is no address to connect from"},
        {ECONNRESET, "the server hung up"},
        {EPIPE, "the server hung up"},
        {EBADMSG, "a checksum is wrong"},
        {ETIMEDOUT, "no answer in time"},
        {ECONNREFUSED, "connection refused"},
        {EHOSTUNREACH, "no route to host"},
    };
    for (size_t i = 0; i < sizeof ERRORS / sizeof *ERRORS; i++)
        if (ERRORS[i].number == -error) {
            text_add(t, ERRORS[i].words);
            return;
        }
    text_add(t, "error ");
    text_add_number(t, -error);
}

#include "../lib/clock.h"
#include "../lib/folder.h"
#include "../lib/io.h"
#include "../lib/text.h"
#include "contract.h"
#include "events.h"

static long events = -1;

static void try_port(const char *name)
{
    struct text path = {0};
    char title[32];
    text_add(&path, "/sys/class/virtio-ports/");
    text_add(&path, name);
    text_add(&path, "/name");
    if (io_read_file(path.bytes, title, sizeof title) && text_equal(title, PORT_EVENTS "\n")) {
        path.length = 0;
        text_add(&path, "/dev/");
        text_add(&path, name);
        events = io_open(path.bytes, O_RDWR | O_NONBLOCK);
    }
}

void events_open(void)
{
    folder_each("/sys/class/virtio-ports", try_port);
    if (events >= 0)
        events = io_move_high(events);
}

long events_port(void)
{
    return events;
}

void events_send(const char *what, const char *name1, long value1, const char *name2, long value2)
{
    struct text line = {0};
    text_add(&line, "{\"us\":");
    text_add_number(&line, clock_now());
    text_add(&line, ",\"event\":\"");
    text_add(&line, what);
    text_add(&line, "\"");
    if (name1) {
        text_add(&line, ",\"");
        text_add(&line, name1);
        text_add(&line, "\":");
        text_add_number(&line, value1);
    }
    if (name2) {
        text_add(&line, ",\"");
        text_add(&line, name2);
        text_add(&line, "\":");
        text_add_number(&line, value2);
    }
    text_add(&line, "}\n");
    if (events >= 0)
        io_write_all(events, line.bytes, line.length);
}

#include <linux/input-event-codes.h>
#include <linux/ioctl.h>
#include <asm/ioctls.h>

#include "../lib/folder.h"
#include "../lib/io.h"
#include "../lib/text.h"
#include "buttons.h"

/* linux/input.h pulls in a C library. */
#define EVIOCGBIT(type, size) _IOC(_IOC_READ, 'E', 0x20 + (type), size)
struct input_event {
    long seconds, microseconds;
    unsigned short type, code;
    int value;
};

static long buttons[MAX_BUTTONS];
static int count;

static void try_button(const char *name)
{
    struct text path = {0};
    unsigned char keys[KEY_MAX / 8 + 1] = {0};
    if (!text_after(name, "event") || count == MAX_BUTTONS)
        return;
    text_add(&path, "/dev/input/");
    text_add(&path, name);
    long fd = io_open(path.bytes, O_RDONLY | O_NONBLOCK);
    if (fd < 0)
        return;
    sys3(__NR_ioctl, fd, EVIOCGBIT(EV_KEY, sizeof keys), keys);
    if (keys[KEY_POWER / 8] & (1 << KEY_POWER % 8))
        buttons[count++] = fd;
    else
        sys1(__NR_close, fd);
}

static int pressed(long fd)
{
    struct input_event input;
    int found = 0;
    while (sys3(__NR_read, fd, &input, sizeof input) == sizeof input)
        found |= input.type == EV_KEY && input.code == KEY_POWER && input.value == 1;
    return found;
}

void buttons_open(void)
{
    folder_each("/dev/input", try_button);
}

int buttons_poll(struct pollfd *poll)
{
    for (int i = 0; i < count; i++)
        poll[i] = (struct pollfd){buttons[i], POLLIN, 0};
    return count;
}

int buttons_pressed(void)
{
    int all = 0;
    for (int i = 0; i < count; i++)
        all += pressed(buttons[i]);
    return all;
}

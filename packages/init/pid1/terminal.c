#include <asm/ioctls.h>
#include <asm/poll.h>
#include <asm/termbits.h>

#include "../lib/io.h"
#include "../lib/say.h"
#include "contract.h"
#include "terminal.h"

/* Its master, and a descriptor of the terminal itself: without one, the master says at each call that nobody is there. */
static long master = -1, held = -1;

/* The pseudo-terminal edits lines, echoes, and makes signals of keys: a console passes on each key as it is. */
static void pass_keys(long console)
{
    struct termios settings;
    if (sys3(__NR_ioctl, console, TCGETS, &settings) < 0)
        return;
    settings.c_lflag &= ~(ICANON | ECHO | ISIG | IEXTEN);
    settings.c_iflag &= ~(ICRNL | IXON);
    settings.c_cc[VMIN] = 1;
    settings.c_cc[VTIME] = 0;
    sys3(__NR_ioctl, console, TCSETS, &settings);
}

void terminal_open(void)
{
    int unlocked = 0;
    if (master >= 0 || console_count() < 2)
        return;
    master = io_open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK);
    if (master >= 0)
        sys3(__NR_ioctl, master, TIOCSPTLCK, &unlocked);
    held = master < 0 ? master : io_open(PATH_TERMINAL, O_RDWR | O_NOCTTY);
    if (held < 0) {
        SAY("there is no terminal for several consoles: " PATH_TERMINAL);
        return;
    }
    master = io_move_high(master);
    held = io_move_high(held);
    for (int i = 0; i < console_count(); i++)
        pass_keys(console_descriptor(i));
}

int terminal_poll(struct pollfd *poll)
{
    if (master < 0)
        return 0;
    for (int i = 0; i < console_count(); i++)
        poll[i] = (struct pollfd){console_descriptor(i), POLLIN, 0};
    poll[console_count()] = (struct pollfd){console_is_behind() ? -1 : master, POLLIN, 0};
    return console_count() + 1;
}

void terminal_pump(void)
{
    static char bytes[4096];
    long n;
    if (master < 0)
        return;
    for (int i = 0; i < console_count(); i++)
        if ((n = sys3(__NR_read, console_descriptor(i), bytes, sizeof bytes)) > 0)
            sys3(__NR_write, master, bytes, n);
    /* Only once: a screen takes everything, and a flood would keep PID 1 here, from keys, signals and the watchdog. */
    if (!console_is_behind() && (n = sys3(__NR_read, master, bytes, sizeof bytes)) > 0)
        console_write(bytes, n);
}

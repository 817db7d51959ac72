/* Power buttons: input devices with a power key (linux/input-event-codes.h). */
#ifndef NODEOS_BUTTONS_H
#define NODEOS_BUTTONS_H

#include <asm/poll.h>

#define MAX_BUTTONS 4

/* Looks for them. */
void buttons_open(void);

/* Sets what poll(2) is to wait for. Returns the number of elements that are set, at most MAX_BUTTONS. */
int buttons_poll(struct pollfd *poll);

/* Returns how many were pressed since the last time. */
int buttons_pressed(void);

#endif

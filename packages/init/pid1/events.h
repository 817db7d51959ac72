/* The event port: a virtio-serial port that a host tool listens to, and may write a wish to. */
#ifndef NODEOS_EVENTS_H
#define NODEOS_EVENTS_H

#include "../lib/sys.h"

/* Looks for the port. */
void events_open(void);

/* Returns the port's descriptor, which reading does not wait for, or -1 if there is none. */
long events_port(void);

/* Sends one JSON line: what happened, when, and up to two numbers with their names. A name of 0 leaves one out. The
 * text must not need escapes. */
void events_send(const char *what, const char *name1, long value1, const char *name2, long value2);

#endif

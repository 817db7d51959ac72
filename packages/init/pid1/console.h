/*
 * The consoles: the machine's own, and all others that the kernel's command line names, such as a screen beside a serial
 * port. Each shows everything. A console may be slow, and nobody may read it: what it does not take at once is kept here,
 * and PID 1 goes on. While something is kept for the machine's own, nothing more is read from the application (log.h): it
 * waits for its console, as everywhere. On the others, what does not fit is lost.
 */
#ifndef NODEOS_CONSOLE_H
#define NODEOS_CONSOLE_H

#include "../lib/sys.h"

#define PIPE_SIZE (64 << 10) /* bytes that an ended application may leave in its pipe: pipe(7) */
#define MAX_CONSOLES 4

/* Finds the consoles. From here on PID 1's lines wait for nobody. */
void console_open(void);

/* Writes or keeps n bytes. What there is no room for is lost, and a line says how much that was. */
void console_write(const char *bytes, size_t n);

/* Writes what the consoles take now. Returns the number of bytes. */
long console_flush(void);

/* Returns whether something is kept for the machine's own console. */
int console_is_behind(void);

/* Waits until the console has sent everything, as long as it goes on. */
void console_finish(void);

/* Writes n bytes for a process beside PID 1, which has no loop that would write the rest: it waits a little, then
 * goes on without. */
void console_write_beside(const char *bytes, size_t n);

/* Returns the number of consoles, at least 1. */
int console_count(void);

/* Returns the descriptor of a console: 0 to console_count() - 1. */
long console_descriptor(int index);

/* Fills in an entry for each console that something is kept for. Returns the number of entries. */
int console_poll(struct pollfd *poll);

#endif

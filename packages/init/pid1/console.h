/*
 * The console. It may be slow, and nobody may read it: what it does not take at once is kept here, and PID 1 goes on.
 * While something is kept, nothing more is read from the application (log.h): it waits for its console, as everywhere.
 */
#ifndef NODEOS_CONSOLE_H
#define NODEOS_CONSOLE_H

#include "../lib/sys.h"

#define PIPE_SIZE (64 << 10) /* bytes that an ended application may leave in its pipe: pipe(7) */

/* From here on PID 1's lines wait for nobody. */
void console_open(void);

/* Writes or keeps n bytes. What there is no room for is lost, and a line says how much that was. */
void console_write(const char *bytes, size_t n);

/* Writes what the console takes now. Returns the number of bytes. */
long console_flush(void);

/* Returns whether something is kept. */
int console_is_behind(void);

/* Waits until the console has sent everything, as long as it goes on. */
void console_finish(void);

/* Writes n bytes for a process beside PID 1, which has no loop that would write the rest: it waits a little, then
 * goes on without. */
void console_write_beside(const char *bytes, size_t n);

#endif

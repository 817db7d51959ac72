/*
 * The supervisor: starts the init and what it becomes, the application, starts that again, and decides when the machine
 * ends.
 *
 * The init brings the machine up and then becomes the application: so a boot starts Node.js once, and no second runtime
 * stays in memory. To start the application again, and to renew what must be renewed, the init gets another role:
 *
 *     /bin/node /sbin/init boot|start|renew|shell
 *
 * The init says what it wants with lines on descriptor 3: `onexit reboot|poweroff|halt|shell`,
 * `restart never|on-failure|always`, `attempts N`, `signal N`, `renew SECONDS`, `booted`, `terminal`,
 * `stop poweroff|reboot|halt`.
 */
#ifndef NODEOS_SUPERVISOR_H
#define NODEOS_SUPERVISOR_H

/* Takes note of a word of the kernel's command line, which must stay where it is. */
void supervisor_read_word(char *word);

/* Starts the init; if the machine is not complete, does what follows the application's end. */
void supervisor_start(int complete);

/* Reads what the init wants. */
void supervisor_listen(void);

/* Takes note of processes that have ended. Does not return if the machine is ending and none is left. */
void supervisor_reap(void);

/* Begins the end of the machine (REBOOT, POWEROFF or HALT of end.h), unless it has begun. */
void supervisor_end(int how);

/* Returns whether it has begun. */
int supervisor_is_ending(void);

/* Does what is due. */
void supervisor_on_time(void);

/* Returns the milliseconds until something is due, at most an hour; -1 if nothing is. */
int supervisor_next(void);

#endif

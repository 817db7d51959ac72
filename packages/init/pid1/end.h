/* How it all ends: what is mounted is put away, servers are told, and the machine reboots, powers off or halts. */
#ifndef NODEOS_END_H
#define NODEOS_END_H

#define LOST 5 /* seconds without a server after which nothing more is expected of it */

/* What may follow the end of the application. */
enum { REBOOT, POWEROFF, HALT, SHELL, ENDS_COUNT };

/* Returns the end with a name, or -1. */
int end_find(const char *word);

/* Returns the name of an end. */
const char *end_name(int how);

/* Ends the machine, but not with SHELL. by_reset: it cannot power off, but ends when it is reset. Does not return. */
void end_machine(int how, int by_reset);

#endif

/* Starting the init: with pipes for its output and its wishes, and nothing else of PID 1's. */
#ifndef NODEOS_SPAWN_H
#define NODEOS_SPAWN_H

#define NOT_STARTED 127 /* the status of a process that could not become the init, as in a shell */

/* Makes the pipes. */
void spawn_open(void);

/* Return the descriptors that the init's output, and its wishes, are read from. Reading does not wait. */
long spawn_output(void);
long spawn_control(void);

/* Starts the init with a role. A helper is not in the application's group, and is the first to go when memory is
 * short: it is started again. Returns the process id; 0 if there is none, and says why. */
long spawn_init(const char *role, int is_helper);

#endif

/*
 * The application's processes as a group: what they may take of the machine, and their end.
 * https://docs.kernel.org/admin-guide/cgroup-v2.html
 *
 * Without cgroups in the kernel there is no group, and no limit.
 */
#ifndef NODEOS_GROUP_H
#define NODEOS_GROUP_H

/* Makes the group, and sets its limits by what is free now. */
void group_open(void);

/* fork(2), into the group if there is one. Returns what fork does. */
long group_fork(void);

/* Ends what is left of the group: SIGKILL. */
void group_end(void);

/* Returns whether no process is left in it. */
int group_is_empty(void);

/* Returns the MiB that it may have; 0: there is no limit. */
long group_memory(void);

/* Returns whether the kernel has ended it since the last call, because there was no memory left for it. */
int group_was_out_of_memory(void);

#endif

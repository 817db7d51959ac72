/* What is mounted when every program can start, and the end of all that is mounted. */
#ifndef NODEOS_MOUNTS_H
#define NODEOS_MOUNTS_H

#include <linux/mount.h>

/* Mounts a filesystem, and waits for its device for some seconds: it may come a moment after PID 1, as memory devices
 * do, which the kernel looks for beside the boot. Returns success; else it says why. */
int mounts_add(const char *source, const char *path, const char *type, long flags, const char *options);

/* Mounts what must be there before any program can start: /proc, /sys and /dev. Other mounts are the init's. */
void mounts_add_first(void);

/* Moves these below a folder. */
void mounts_move_first(const char *folder);

/* Unmounts everything but the root, the last mounted first; detaches what is busy. */
void mounts_remove(void);

#endif

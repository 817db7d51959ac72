/*
 * The root, if it is on the network: mounts it under a layer for what is written, and moves the machine into it.
 *
 *     root=nbd[s]://HOST[:PORT]/EXPORT[?connections=N]   rootfstype=erofs   ro|rw
 *     nodeos.upper=tmpfs|nbd[s]://…   nodeos.nbd.wait=SECONDS   nodeos.nbd.timeout=SECONDS   nodeos.readahead=BYTES
 *
 * The file PATH_NBD_SECRET in the initramfs has the end of each export's name: every program of the machine, and every
 * user of its host, can read the command line.
 *
 * With `ro` (the default) the root is an overlay: below is what the server has, above a tmpfs or an ext4 on another
 * export. With `rw` the export itself is the root.
 */
#ifndef NODEOS_ROOT_H
#define NODEOS_ROOT_H

#include "../lib/say.h"

/* What the root needs of PID 1. */
struct root_host {
    int (*stop)(void);                       /* whether the machine is to end while the root is waited for */
    void (*move_mounts)(const char *folder); /* moves what PID 1 has mounted below a folder */
    say_writer keeper;                       /* what writes the keeper's lines */
};

/* Takes note of a word of the kernel's command line, which must stay where it is. Returns whether it is about the
 * root. */
int root_read_word(const char *word);

/* Mounts the root and moves into it, if it is on the network. Returns success, also if it is not. */
int root_mount(const struct root_host *host);

/* Ends the layers: nothing writes to them afterwards. */
void root_put_away(void);

#endif

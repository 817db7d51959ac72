/* The runtime's disk, if it is not in the initramfs. */
#ifndef NODEOS_USR_H
#define NODEOS_USR_H

/* Takes note of a word of the kernel's command line, which must stay where it is; the names are those of systemd's
 * kernel-command-line(7). Returns whether it is about the disk. */
int usr_read_word(const char *word);

/* Mounts the disk on /usr, if there is one. Returns success, also if there is none. */
int usr_mount(void);

#endif

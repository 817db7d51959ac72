/* The disks that the command line names: the runtime's, if it is not in the initramfs, and that of the users' data. */
#ifndef NODEOS_USR_H
#define NODEOS_USR_H

/* Takes note of a word of the kernel's command line, which must stay where it is; the names are those of systemd's
 * kernel-command-line(7). Returns whether it is about the disk. */
int usr_read_word(const char *word);

/* Mounts the disk on /usr, if there is one. Returns success, also if there is none. */
int usr_mount(void);

/* Mounts the users' data, if the machine has any. It says why if that fails: the machine goes on without them. */
void usr_mount_data(void);

#endif

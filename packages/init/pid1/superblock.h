/* The superblock of ext4, as far as a power cut can spoil it. https://docs.kernel.org/filesystems/ext4/super.html */
#ifndef NODEOS_SUPERBLOCK_H
#define NODEOS_SUPERBLOCK_H

/*
 * A drive with sectors of 512 bytes may have written one half of the superblock, of 1024 bytes. The kernel then refuses the
 * filesystem for its checksum, before it replays the journal, which has the whole superblock. This sets the checksum
 * right if a journal is to be replayed. Returns whether it has changed something.
 */
int superblock_mend(const char *device);

#endif

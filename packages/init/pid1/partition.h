/* Partitions by what their table calls them, for machines that boot from disks, sticks and CDs. */
#ifndef NODEOS_PARTITION_H
#define NODEOS_PARTITION_H

#include "../lib/text.h"

/* Returns whether `source` names a partition by its table: PARTUUID=…, a GUID or for an MBR 1234abcd-02, or
 * PARTLABEL=…. */
int partition_is_named(const char *source);

/*
 * Finds such a partition in the tables of all disks, and waits for the disk: a USB stick takes seconds to appear. The
 * kernel makes no partitions of a CD, nor of a disk whose table was written for sectors of another size; then it sets up a
 * loop device. A label is first looked for on the disk where the last partition was. Returns success and the device's
 * path; else it says which partition is missing.
 */
int partition_find(const char *source, int writable, struct text *device);

#endif

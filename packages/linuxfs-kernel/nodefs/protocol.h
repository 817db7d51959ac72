/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the kernel and the process that started it say to each other. packages/linuxfs/protocol.ts has the same numbers;
 * a test compares the two.
 *
 * Numbers are little-endian. Descriptor 3, or port 1 of a virtual machine, carries requests for files and their replies;
 * descriptor 4, or port 2, requests for disks and their replies. Bulk data crosses neither: it lies in the kernel's
 * memory, which is a file that the other side reads and writes, at offsets that are given here.
 */
#ifndef NODEFS_PROTOCOL_H
#define NODEFS_PROTOCOL_H

#include <linux/types.h>

#define NODEFS_VERSION 4
#define NODEFS_FILES_FD 3
#define NODEFS_DISKS_FD 4
#define NODEFS_FILES_PORT 1
#define NODEFS_DISKS_PORT 2
#define NODEFS_SLOTS 16
#define NODEFS_SLOT_SIZE (1 << 20)
#define NODEFS_MOUNTS 64
#define NODEFS_DISKS 64
/* The longest request with its names and data, and the longest reply. */
#define NODEFS_MESSAGE_MAX 65536
#define NODEFS_NO_SLOT 0xffffffff

enum nodefs_op {
	NODEFS_ATTACH = 1,
	NODEFS_DETACH = 2,
	NODEFS_MOUNT = 3,
	NODEFS_UNMOUNT = 4,
	NODEFS_REMOUNT = 5,
	NODEFS_SYNC = 6,
	NODEFS_LOOK = 7,	/* a request is in the mailbox; has no reply */
	NODEFS_OPEN = 10,
	NODEFS_CLOSE = 11,
	NODEFS_READ = 12,
	NODEFS_WRITE = 13,
	NODEFS_STAT = 14,
	NODEFS_READDIR = 15,
	NODEFS_FSYNC = 16,
	NODEFS_TRUNCATE = 17,
	NODEFS_ALLOCATE = 18,
	NODEFS_SEEK = 19,
	NODEFS_COPY = 20,
	NODEFS_READ_FILE = 21,
	NODEFS_WRITE_FILE = 22,
	NODEFS_IOCTL = 23,
	NODEFS_MKDIR = 30,
	NODEFS_RMDIR = 31,
	NODEFS_UNLINK = 32,
	NODEFS_RENAME = 33,
	NODEFS_LINK = 34,
	NODEFS_SYMLINK = 35,
	NODEFS_READLINK = 36,
	NODEFS_MKNOD = 37,
	NODEFS_REALPATH = 38,
	NODEFS_ACCESS = 39,
	NODEFS_CHMOD = 40,
	NODEFS_CHOWN = 41,
	NODEFS_UTIMES = 42,
	NODEFS_STATFS = 43,
	NODEFS_GETXATTR = 44,
	NODEFS_SETXATTR = 45,
	NODEFS_LISTXATTR = 46,
	NODEFS_REMOVEXATTR = 47,
};
#define NODEFS_OPS 64

/* A request: this, then the bytes of `name` and `other`, then data. The meaning of the fields depends on the operation. */
struct nodefs_request {
	__le32 length;		/* of all of it */
	__le32 tag;		/* comes back in the reply */
	__le16 op;
	__le16 mount;
	__le32 slot;		/* where bulk data is, or NODEFS_NO_SLOT */
	__le32 handle;		/* an open file; 0: the file is given by its name */
	__le32 flags;
	__le32 mode;
	__le32 uid;
	__le32 gid;
	__le16 name;		/* bytes */
	__le16 other;		/* bytes */
	__le64 offset;
	__le64 size;
	__le64 value;
} __packed;

/* A reply: this, then bytes. The first message has the tag 0 and a struct nodefs_hello. */
struct nodefs_reply {
	__le32 length;
	__le32 tag;
	__le32 error;		/* an errno, positive, or 0; with NODEFS_AFTER_OPEN */
	__le32 handle;
	__le64 value;
} __packed;

struct nodefs_hello {
	__le32 version;
	__le32 workers;
	__le64 mailbox;			/* offset in the kernel's memory */
	__le64 slots[NODEFS_SLOTS];	/* offsets in the kernel's memory */
} __packed;

/*
 * The mailbox: a request and its reply through memory, one at a time. As long as each side looks for what the other
 * writes, nobody sleeps, so nobody has to be woken, which for short requests one after the other is most of the time.
 *
 * The client writes the request, then its number. The kernel writes the reply, then the same number, and if nobody looks,
 * it sends a reply with the tag 0 over the socket. A reply that does not fit goes over the socket, and its length here
 * is 0. Single bytes are what both sides can write and read in one piece.
 */
struct nodefs_mailbox {
	__u8 posted;		/* the client's: the number of the request */
	__u8 looking;		/* the client's: 1 while it looks for the reply */
	__u8 reserved[62];
	__u8 replied;		/* the kernel's: the number of the request that it has replied to last */
	__u8 asleep;		/* the kernel's: 1 while a request is noticed only after LOOK */
	__u8 unused[62];
	__u8 reply[3968];
	__u8 request[4096];
} __packed;

/* What STAT replies, and READDIR for each entry if asked to. */
struct nodefs_stat {
	__le32 mode;
	__le32 links;
	__le32 uid;
	__le32 gid;
	__le64 inode;
	__le64 size;
	__le64 blocks;
	__le32 device[2];	/* of the filesystem: major, minor */
	__le32 special[2];	/* of a device node: major, minor */
	__le32 block_size;
	__le32 nanoseconds[4];	/* access, modification, change, birth */
	__le32 has_birth;
	__le64 seconds[4];
} __packed;

/* READDIR fills its slot with these; the name follows, and up to 7 bytes so that the next is at a multiple of 8. */
struct nodefs_entry {
	__le64 inode;
	__le64 next;		/* the position after this entry */
	__le16 length;		/* of the name, in bytes */
	__u8 type;		/* DT_* */
	__u8 has_stat;
	__le32 reserved;
} __packed;

struct nodefs_statfs {
	__le64 type;
	__le64 block_size;
	__le64 blocks;
	__le64 free;
	__le64 available;
	__le64 files;
	__le64 free_files;
	__le64 name_max;
} __packed;

/* Disks. A request: this, then its segments. A reply: struct nodefs_disk_reply. */
enum nodefs_disk_op {
	NODEFS_DISK_READ = 0,
	NODEFS_DISK_WRITE = 1,
	NODEFS_DISK_FLUSH = 2,
	NODEFS_DISK_TRIM = 3,
	NODEFS_DISK_ZERO = 4,
};

struct nodefs_disk_request {
	__le32 length;
	__le32 tag;
	__le16 disk;
	__u8 op;
	__u8 segments;
	__le32 reserved;
	__le64 offset;		/* on the disk, bytes */
	__le64 size;		/* bytes */
} __packed;

struct nodefs_segment {
	__le64 offset;		/* in the kernel's memory */
	__le64 size;
} __packed;

struct nodefs_disk_reply {
	__le32 tag;		/* or NODEFS_CANCEL */
	__le32 error;		/* an errno, positive, or 0; of NODEFS_CANCEL the tag of a request for files */
} __packed;

/* No disk's reply: a request for files is given up. It is replied to nevertheless. */
#define NODEFS_CANCEL 0xffffffff

/* Flags of ATTACH. */
#define NODEFS_READ_ONLY 1
#define NODEFS_CAN_TRIM 2
#define NODEFS_CAN_ZERO 4
/* Flags of OPEN, READ_FILE and WRITE_FILE, with the access as in open(2): x86's numbers, since those of processors differ. */
#define NODEFS_O_CREAT 0x40
#define NODEFS_O_EXCL 0x80
#define NODEFS_O_TRUNC 0x200
#define NODEFS_O_APPEND 0x400
#define NODEFS_O_DSYNC 0x1000
#define NODEFS_O_DIRECT 0x4000
#define NODEFS_O_DIRECTORY 0x10000
#define NODEFS_O_NOFOLLOW 0x20000
#define NODEFS_O_NOATIME 0x40000
#define NODEFS_O_SYNC 0x101000
/* Of WRITE_FILE, in `value`: fsync comes after it. */
#define NODEFS_THEN_SYNC 1
/* Of an error of READ_FILE and WRITE_FILE: the file could be opened, and what came then failed. */
#define NODEFS_AFTER_OPEN 0x10000
/* Flags of STAT, CHMOD, CHOWN, UTIMES and the extended attributes. */
#define NODEFS_NO_FOLLOW 1
/* Flags of READDIR. */
#define NODEFS_WITH_STATS 1
/* Flags of FSYNC. */
#define NODEFS_DATA_ONLY 1
/* Of COPY, in `mode`: the blocks become common to both files, or it is an error. */
#define NODEFS_CLONE 1
/* Flags of UTIMES: these times become the present, or stay. */
#define NODEFS_ATIME_NOW 2
#define NODEFS_MTIME_NOW 4

#endif

/* SPDX-License-Identifier: GPL-2.0 */
/* The units of the file server and what each gives to the others. */
#ifndef NODEFS_H
#define NODEFS_H

#include <linux/fs.h>
#include <linux/list.h>
#include <linux/path.h>
#include "protocol.h"

/* One request while a worker does it. */
struct nodefs_call {
	const struct nodefs_request *request;
	char *name;		/* ends with a NUL; empty if there is none */
	char *other;
	const void *data;
	u32 data_size;
	void *slot;		/* NODEFS_SLOT_SIZE bytes, or NULL */
	bool opened;		/* an error comes from what is done to an open file */
	/* What the reply says. */
	u64 value;
	u32 handle;
	void *out;		/* room for NODEFS_OUT_MAX bytes */
	u32 out_size;
};

#define NODEFS_OUT_MAX (NODEFS_MESSAGE_MAX - sizeof(struct nodefs_reply))

/*
 * An operation: one of these functions, which returns 0 or a negative errno. What it is done to is found before, and let
 * go of afterwards.
 */
struct nodefs_operation {
	int (*plain)(struct nodefs_call *call);
	int (*on_path)(struct nodefs_call *call, const struct path *path);	/* of the handle or the name */
	int (*on_file)(struct nodefs_call *call, struct file *file);		/* of the handle */
};

/* What a worker needs for itself. */
struct nodefs_worker {
	struct list_head list;
	struct task_struct *task;
	u32 tag;			/* of its request; 0: it has none */
	u8 *request;			/* NODEFS_MESSAGE_MAX bytes */
	struct nodefs_reply *reply;	/* NODEFS_MESSAGE_MAX bytes */
	char *names;			/* 2 * PATH_MAX bytes */
};

/* server.c: takes requests and replies. */
void nodefs_serve(void);	/* never returns */
void nodefs_equip(struct nodefs_worker *worker);
void nodefs_perform(struct nodefs_worker *worker);	/* the request; makes the reply */
void nodefs_send(const struct nodefs_reply *reply);	/* at once */
void nodefs_end(const char *why);	/* does not return */

/* mailbox.c: requests and replies through memory. */
int nodefs_carry(void *unused);	/* a worker's function */
void nodefs_mailbox_make(void);
u64 nodefs_mailbox_place(void);	/* in the kernel's memory */
void nodefs_mailbox_look(void);	/* something is in it */

/* cancel.c: requests that are given up. */
void nodefs_add_worker(struct nodefs_worker *worker);	/* the one that calls it */
void nodefs_begin(struct nodefs_worker *worker, u32 tag);
void nodefs_finish(struct nodefs_worker *worker);
void nodefs_cancel(u32 tag);	/* called by an interrupt */

/* disks.c: block devices whose bytes the other side has. */
int nodefs_disks_start(void);
int nodefs_attach(struct nodefs_call *call);
int nodefs_detach(struct nodefs_call *call);
dev_t nodefs_disk_device(u32 disk);

/* mounts.c: filesystems by their numbers. */
int nodefs_mount(struct nodefs_call *call);
int nodefs_unmount(struct nodefs_call *call);
int nodefs_remount(struct nodefs_call *call);
int nodefs_sync(struct nodefs_call *call);
int nodefs_enter(u32 mount);	/* the worker's root becomes that of the filesystem */
void nodefs_leave(u32 mount);

/* files.c: open files by their handles. */
struct file *nodefs_file(u32 handle);	/* to be put; or an ERR_PTR */
extern const struct nodefs_operation nodefs_file_operations[NODEFS_OPS];
int nodefs_close_all(u32 mount);	/* closes what is open there */

/* streams.c: long files that are written from front to back. */
void nodefs_flow(struct file *file, loff_t began, loff_t from, loff_t to);	/* was written, from `began` on; now `from` to `to` */

/* names.c: what is done to names. */
int nodefs_path(struct nodefs_call *call, struct path *path);	/* of the handle or the name */
extern const struct nodefs_operation nodefs_name_operations[NODEFS_OPS];
void nodefs_fill_stat(struct nodefs_stat *to, const struct kstat *from);

/*
 * um.c or virt.c: what the kernel runs on. It has two lines to the other side, which sees the kernel's memory as a file.
 * Neither reading nor writing waits.
 */
enum nodefs_line { NODEFS_LINE_FILES, NODEFS_LINE_DISKS };
typedef void nodefs_arrived(void);	/* something can be read; called by an interrupt */
int nodefs_line_open(enum nodefs_line line, nodefs_arrived *arrived);
int nodefs_line_read(enum nodefs_line line, void *to, u32 size);	/* bytes, 0 at the end, or -EAGAIN */
int nodefs_line_write(enum nodefs_line line, const void *from, u32 size);	/* bytes, or -EAGAIN */
s64 nodefs_place(phys_addr_t at);	/* in the file; negative: it is not there */
int nodefs_ioctl(struct file *file, unsigned int command, void *argument, u32 size);
void nodefs_power_off(void);

/* confine_user.c or virt.c: what runs the kernel gives up what it does not need. */
int nodefs_confine(void);

#endif

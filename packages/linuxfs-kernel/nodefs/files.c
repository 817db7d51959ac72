// SPDX-License-Identifier: GPL-2.0
/* Open files by their handles, and what is done to them. */
#include <linux/fs.h>
#include <linux/falloc.h>
#include <linux/file.h>
#include <linux/fs_struct.h>
#include <linux/namei.h>
#include <linux/slab.h>
#include <linux/stat.h>
#include <linux/xarray.h>
#include "../internal.h"
#include "nodefs.h"

/* A handle knows its filesystem, so that unmounting finds what is open there. */
struct opened {
	struct file *file;
	u32 mount;
	/* Of writes one behind the other: where the first began, and where the last ended. */
	loff_t began;
	loff_t ended;
};

#define HANDLES 65536

static DEFINE_XARRAY_ALLOC1(handles);

struct file *nodefs_file(u32 handle)
{
	struct opened *opened;
	struct file *file = ERR_PTR(-EBADF);

	xa_lock(&handles);
	opened = xa_load(&handles, handle);
	if (opened)
		file = get_file(opened->file);
	xa_unlock(&handles);
	return file;
}

/* @return where the writes began that `from` continues */
static loff_t continued(u32 handle, loff_t from, loff_t to)
{
	struct opened *opened;
	loff_t began = from;

	xa_lock(&handles);
	opened = xa_load(&handles, handle);
	if (opened) {
		if (opened->ended == from)
			began = opened->began;
		opened->began = began;
		opened->ended = to;
	}
	xa_unlock(&handles);
	return began;
}

static int remember(struct file *file, u32 mount, u32 *handle)
{
	struct opened *opened = kmalloc(sizeof(*opened), GFP_KERNEL);
	int error;

	if (!opened)
		return -ENOMEM;
	*opened = (struct opened){ file, mount };
	error = xa_alloc(&handles, handle, opened, XA_LIMIT(1, HANDLES), GFP_KERNEL);
	if (error) {
		kfree(opened);
		return error == -EBUSY ? -EMFILE : error;
	}
	return 0;
}

static int forget(u32 handle)
{
	struct opened *opened = xa_erase(&handles, handle);
	struct file *file;
	int error;

	if (!opened)
		return -EBADF;
	file = opened->file;
	kfree(opened);
	error = filp_close(file, current->files);
	return error;
}

int nodefs_close_all(u32 mount)
{
	struct opened *opened;
	unsigned long handle;

	xa_for_each(&handles, handle, opened)
		if (opened->mount == mount)
			forget(handle);
	return 0;
}

/* A request's flags, as this processor numbers them. Others are left out, as open(2) does. */
static int open_flags(const struct nodefs_request *request)
{
	static const struct {
		u32 request;
		int here;
	} names[] = {
		{ NODEFS_O_CREAT, O_CREAT },
		{ NODEFS_O_EXCL, O_EXCL },
		{ NODEFS_O_TRUNC, O_TRUNC },
		{ NODEFS_O_APPEND, O_APPEND },
		{ NODEFS_O_DSYNC, O_DSYNC },
		{ NODEFS_O_DIRECT, O_DIRECT },
		{ NODEFS_O_DIRECTORY, O_DIRECTORY },
		{ NODEFS_O_NOFOLLOW, O_NOFOLLOW },
		{ NODEFS_O_NOATIME, O_NOATIME },
		{ NODEFS_O_SYNC, O_SYNC },
	};
	u32 wanted = le32_to_cpu(request->flags);
	int flags = (wanted & O_ACCMODE) | O_LARGEFILE | O_NONBLOCK | O_NOCTTY, i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		if ((wanted & names[i].request) == names[i].request)
			flags |= names[i].here;
	return flags;
}

/* Device nodes of an image are data: opening one would reach a driver of this kernel, if there were one. */
static struct file *open_named(struct nodefs_call *call, umode_t mode)
{
	struct file *file = filp_open(call->name, open_flags(call->request), mode);

	if (!IS_ERR(file) && !S_ISREG(file_inode(file)->i_mode) && !S_ISDIR(file_inode(file)->i_mode)) {
		filp_close(file, NULL);
		return ERR_PTR(-ENXIO);
	}
	return file;
}

static int open_file(struct nodefs_call *call)
{
	struct file *file = open_named(call, le32_to_cpu(call->request->mode));
	int error;

	if (IS_ERR(file))
		return PTR_ERR(file);
	error = remember(file, le16_to_cpu(call->request->mount), &call->handle);
	if (error)
		filp_close(file, NULL);
	return error;
}

static int close_file(struct nodefs_call *call)
{
	return forget(le32_to_cpu(call->request->handle));
}

/* Where bulk data goes: to the slot, or, if there is none, into the reply. */
static void *room(struct nodefs_call *call, u64 *size)
{
	u64 most = call->slot ? NODEFS_SLOT_SIZE : NODEFS_OUT_MAX;

	*size = min(*size, most);
	return call->slot ?: call->out;
}

static ssize_t read_fully(struct file *file, void *to, u64 size, loff_t offset)
{
	u64 done = 0;

	if (!(file->f_mode & FMODE_READ))
		return -EBADF;
	if (S_ISDIR(file_inode(file)->i_mode))
		return -EISDIR;
	while (done < size) {
		ssize_t n = kernel_read(file, to + done, size - done, &offset);

		if (n < 0)
			return done ? done : n;
		if (n == 0)
			break;
		done += n;
	}
	return done;
}

static ssize_t write_fully(struct file *file, const void *from, u64 size, loff_t *offset)
{
	u64 done = 0;

	if (!(file->f_mode & FMODE_WRITE))
		return -EBADF;
	while (done < size) {
		ssize_t n = kernel_write(file, from + done, size - done, offset);

		if (n < 0)
			return done ? done : n;
		if (n == 0)
			break;
		done += n;
	}
	return done;
}

static int answer_read(struct nodefs_call *call, ssize_t n)
{
	if (n < 0)
		return n;
	call->value = n;
	if (!call->slot)
		call->out_size = n;
	return 0;
}

static int read_file(struct nodefs_call *call, struct file *file)
{
	u64 size = le64_to_cpu(call->request->size);
	void *to = room(call, &size);

	return answer_read(call, read_fully(file, to, size, le64_to_cpu(call->request->offset)));
}

/* The bytes that the request has, in its slot or in itself. */
static const void *bytes(struct nodefs_call *call, u64 *size)
{
	*size = le64_to_cpu(call->request->size);
	if (call->slot)
		return *size <= NODEFS_SLOT_SIZE ? call->slot : NULL;
	return *size <= call->data_size ? call->data : NULL;
}

/* Of the bytes that were written, or the place that was found: `value`, or an error. */
static int answer_value(struct nodefs_call *call, loff_t value)
{
	if (value < 0)
		return value;
	call->value = value;
	return 0;
}

static int write_file(struct nodefs_call *call, struct file *file)
{
	u32 handle = le32_to_cpu(call->request->handle);
	loff_t offset = le64_to_cpu(call->request->offset);
	u64 size;
	const void *from = bytes(call, &size);
	ssize_t n = from ? write_fully(file, from, size, &offset) : -EINVAL;

	if (n > 0)
		nodefs_flow(file, continued(handle, offset - n, offset), offset - n, offset);
	return answer_value(call, n);
}

/* A whole small file in one request. `handle` is 0 in the reply if that was all, else the file stays open. */
static int read_whole(struct nodefs_call *call)
{
	struct file *file = open_named(call, 0);
	u64 size = NODEFS_SLOT_SIZE;
	void *to = room(call, &size);
	ssize_t n;
	int error;

	if (IS_ERR(file))
		return PTR_ERR(file);
	call->opened = true;
	n = read_fully(file, to, size, 0);
	if (n == size) {
		error = remember(file, le16_to_cpu(call->request->mount), &call->handle);
		if (!error)
			return answer_read(call, n);
		n = error;
	}
	filp_close(file, NULL);
	return answer_read(call, n);
}

/* Opens with `flags` and `mode`, writes, closes. */
static int write_whole(struct nodefs_call *call)
{
	loff_t offset = 0;
	const void *from;
	struct file *file;
	u64 size;
	ssize_t n;
	int error;

	from = bytes(call, &size);
	if (!from)
		return -EINVAL;
	file = open_named(call, le32_to_cpu(call->request->mode));
	if (IS_ERR(file))
		return PTR_ERR(file);
	call->opened = true;
	n = S_ISDIR(file_inode(file)->i_mode) ? -EISDIR : write_fully(file, from, size, &offset);
	error = n < 0 ? n : n < size ? -ENOSPC : 0;
	if (!error && (le64_to_cpu(call->request->value) & NODEFS_THEN_SYNC))
		error = vfs_fsync(file, 0);
	return filp_close(file, current->files) ?: error;
}

struct listing {
	struct dir_context context;
	void *to;
	u32 used;
	u32 room;
	bool with_stats;
	struct nodefs_entry *last;
};

static bool list_one(struct dir_context *context, const char *name, int length, loff_t offset, u64 inode,
		     unsigned int type)
{
	struct listing *list = container_of(context, struct listing, context);
	u32 size = ALIGN(sizeof(struct nodefs_entry) + length + (list->with_stats ? sizeof(struct nodefs_stat) : 0), 8);
	struct nodefs_entry *entry = list->to + list->used;

	if (list->last)
		list->last->next = cpu_to_le64(offset);
	if (list->used + size > list->room)
		return false;
	*entry = (struct nodefs_entry){ .inode = cpu_to_le64(inode), .length = cpu_to_le16(length), .type = type };
	memcpy(entry + 1, name, length);
	list->last = entry;
	list->used += size;
	return true;
}

/* Stats are added when the folder is no longer locked; they lie behind the names. */
static void add_stats(struct listing *list, struct path *folder)
{
	u32 at = 0;

	while (at < list->used) {
		struct nodefs_entry *entry = list->to + at;
		u32 length = le16_to_cpu(entry->length);
		struct nodefs_stat *to = (void *)(entry + 1) + length;
		struct kstat stat;
		struct path path = *folder;

		at += ALIGN(sizeof(*entry) + length + sizeof(*to), 8);
		path.dentry = lookup_positive_unlocked((char *)(entry + 1), folder->dentry, length);
		if (IS_ERR(path.dentry))
			continue;
		if (!vfs_getattr(&path, &stat, STATX_BASIC_STATS | STATX_BTIME, 0)) {
			nodefs_fill_stat(to, &stat);
			entry->has_stat = 1;
		}
		dput(path.dentry);
	}
}

/*
 * Fills the slot with entries from the position `offset` on. `value` is the number of bytes; `handle` is 1 at the end of
 * the folder.
 */
static int read_folder(struct nodefs_call *call, struct file *file)
{
	u64 size = NODEFS_SLOT_SIZE;
	struct listing list = { .context.actor = list_one };
	int error;

	list.to = room(call, &size);
	list.room = size;
	list.with_stats = le32_to_cpu(call->request->flags) & NODEFS_WITH_STATS;
	error = vfs_llseek(file, le64_to_cpu(call->request->offset), SEEK_SET) < 0 ? -EINVAL : 0;
	if (!error)
		error = iterate_dir(file, &list.context);
	if (!error && list.last)
		list.last->next = cpu_to_le64(list.context.pos);
	if (!error && list.with_stats)
		add_stats(&list, &file->f_path);
	call->handle = list.used == 0;
	return error ?: answer_read(call, list.used);
}

static int sync_file(struct nodefs_call *call, struct file *file)
{
	return vfs_fsync(file, le32_to_cpu(call->request->flags) & NODEFS_DATA_ONLY);
}

/* An open file must have been opened for writing; a name must lead to what may be written. */
static int truncate_one(struct nodefs_call *call)
{
	loff_t size = le64_to_cpu(call->request->size);
	struct path path __free(path_put) = {};
	struct file *file __free(fput) = NULL;
	int error;

	if (!call->request->handle) {
		error = nodefs_path(call, &path);
		return error ?: vfs_truncate(&path, size);
	}
	file = nodefs_file(le32_to_cpu(call->request->handle));
	return IS_ERR(file) ? PTR_ERR(file) : do_ftruncate(file, size, 0);
}

/* `mode` has the FALLOC_FL_* flags. */
static int allocate(struct nodefs_call *call, struct file *file)
{
	return vfs_fallocate(file, le32_to_cpu(call->request->mode), le64_to_cpu(call->request->offset),
			     le64_to_cpu(call->request->size));
}

/* `mode` is SEEK_DATA or SEEK_HOLE. */
static int seek(struct nodefs_call *call, struct file *file)
{
	return answer_value(call, vfs_llseek(file, le64_to_cpu(call->request->offset),
					     le32_to_cpu(call->request->mode)));
}

/* From `handle` at `offset` to the handle `flags` at `value`, `size` bytes; without data crossing to the other side. */
static int copy_range(struct nodefs_call *call, struct file *from)
{
	struct file *to __free(fput) = nodefs_file(le32_to_cpu(call->request->flags));
	loff_t offset = le64_to_cpu(call->request->offset), at = le64_to_cpu(call->request->value);
	u64 size = le64_to_cpu(call->request->size);

	if (IS_ERR(to))
		return PTR_ERR(to);
	if (le32_to_cpu(call->request->mode) == NODEFS_CLONE)
		return answer_value(call, vfs_clone_file_range(from, offset, to, at, size, 0));
	return answer_value(call, vfs_copy_file_range(from, offset, to, at, size, 0));
}

const struct nodefs_operation nodefs_file_operations[NODEFS_OPS] = {
	[NODEFS_OPEN] = { open_file },
	[NODEFS_CLOSE] = { close_file },
	[NODEFS_READ] = { .on_file = read_file },
	[NODEFS_WRITE] = { .on_file = write_file },
	[NODEFS_READDIR] = { .on_file = read_folder },
	[NODEFS_FSYNC] = { .on_file = sync_file },
	[NODEFS_TRUNCATE] = { truncate_one },
	[NODEFS_ALLOCATE] = { .on_file = allocate },
	[NODEFS_SEEK] = { .on_file = seek },
	[NODEFS_COPY] = { .on_file = copy_range },
	[NODEFS_READ_FILE] = { read_whole },
	[NODEFS_WRITE_FILE] = { write_whole },
};

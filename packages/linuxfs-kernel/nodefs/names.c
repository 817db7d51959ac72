// SPDX-License-Identifier: GPL-2.0
/* What is done to names, and ioctl: each operation as the system call of that name does it, for paths of the kernel's own memory. */
#include <linux/dcache.h>
#include <linux/file.h>
#include <linux/fs_struct.h>
#include <linux/kdev_t.h>
#include <linux/mount.h>
#include <linux/namei.h>
#include <linux/posix_acl.h>
#include <linux/security.h>
#include <linux/slab.h>
#include <linux/stat.h>
#include <linux/statfs.h>
#include <linux/xattr.h>
#include "../internal.h"
#include "nodefs.h"

static bool no_follow(struct nodefs_call *call)
{
	return le32_to_cpu(call->request->flags) & NODEFS_NO_FOLLOW;
}

/* The open file of the handle, else what the name leads to. To be put. */
int nodefs_path(struct nodefs_call *call, struct path *path)
{
	struct file *file;

	if (!call->request->handle)
		return kern_path(call->name, no_follow(call) ? 0 : LOOKUP_FOLLOW, path);
	file = nodefs_file(le32_to_cpu(call->request->handle));
	if (IS_ERR(file))
		return PTR_ERR(file);
	*path = file->f_path;
	path_get(path);
	fput(file);
	return 0;
}

static void fill_time(struct nodefs_stat *to, int which, const struct timespec64 *time)
{
	to->seconds[which] = cpu_to_le64(time->tv_sec);
	to->nanoseconds[which] = cpu_to_le32(time->tv_nsec);
}

void nodefs_fill_stat(struct nodefs_stat *to, const struct kstat *from)
{
	*to = (struct nodefs_stat){
		.mode = cpu_to_le32(from->mode),
		.links = cpu_to_le32(from->nlink),
		.uid = cpu_to_le32(from_kuid_munged(&init_user_ns, from->uid)),
		.gid = cpu_to_le32(from_kgid_munged(&init_user_ns, from->gid)),
		.inode = cpu_to_le64(from->ino),
		.size = cpu_to_le64(from->size),
		.blocks = cpu_to_le64(from->blocks),
		.device = { cpu_to_le32(MAJOR(from->dev)), cpu_to_le32(MINOR(from->dev)) },
		.special = { cpu_to_le32(MAJOR(from->rdev)), cpu_to_le32(MINOR(from->rdev)) },
		.block_size = cpu_to_le32(from->blksize),
		.has_birth = cpu_to_le32(!!(from->result_mask & STATX_BTIME)),
	};
	fill_time(to, 0, &from->atime);
	fill_time(to, 1, &from->mtime);
	fill_time(to, 2, &from->ctime);
	fill_time(to, 3, &from->btime);
}

static int stat(struct nodefs_call *call, const struct path *path)
{
	struct kstat stat;
	int error = vfs_getattr(path, &stat, STATX_BASIC_STATS | STATX_BTIME, AT_STATX_SYNC_AS_STAT);

	if (error)
		return error;
	nodefs_fill_stat(call->out, &stat);
	call->out_size = sizeof(struct nodefs_stat);
	return 0;
}

static int make_folder(struct nodefs_call *call)
{
	return do_mkdirat(AT_FDCWD, getname_kernel(call->name), le32_to_cpu(call->request->mode));
}

static int remove_folder(struct nodefs_call *call)
{
	return do_rmdir(AT_FDCWD, getname_kernel(call->name));
}

static int unlink_name(struct nodefs_call *call)
{
	return do_unlinkat(AT_FDCWD, getname_kernel(call->name));
}

/* `flags` are RENAME_*. */
static int rename_to(struct nodefs_call *call)
{
	return do_renameat2(AT_FDCWD, getname_kernel(call->name), AT_FDCWD, getname_kernel(call->other),
			    le32_to_cpu(call->request->flags));
}

static int link_to(struct nodefs_call *call)
{
	return do_linkat(AT_FDCWD, getname_kernel(call->name), AT_FDCWD, getname_kernel(call->other), 0);
}

/* `other` is the link; `name` what is in it. */
static int make_link(struct nodefs_call *call)
{
	return do_symlinkat(getname_kernel(call->name), AT_FDCWD, getname_kernel(call->other));
}

static int read_link(struct nodefs_call *call)
{
	DEFINE_DELAYED_CALL(done);
	struct path path __free(path_put) = {};
	const char *target;
	int error = kern_path(call->name, 0, &path);

	if (error)
		return error;
	target = d_is_symlink(path.dentry) ? vfs_get_link(path.dentry, &done) : ERR_PTR(-EINVAL);
	error = PTR_ERR_OR_ZERO(target);
	if (!error) {
		call->out_size = min_t(size_t, strlen(target), PATH_MAX);
		memcpy(call->out, target, call->out_size);
	}
	do_delayed_call(&done);
	return error;
}

/* `value` has the major number in its upper half, the minor in its lower. */
static int make_node(struct nodefs_call *call)
{
	u64 device = le64_to_cpu(call->request->value);
	umode_t mode = le32_to_cpu(call->request->mode);
	struct dentry *dentry;
	struct path path;
	int error;

	if (S_ISDIR(mode) || S_ISLNK(mode))
		return -EPERM;
	dentry = kern_path_create(AT_FDCWD, call->name, &path, 0);
	if (IS_ERR(dentry))
		return PTR_ERR(dentry);
	mode = mode_strip_umask(d_inode(path.dentry), mode);
	if (S_ISREG(mode) || !(mode & S_IFMT))
		error = vfs_create(mnt_idmap(path.mnt), d_inode(path.dentry), dentry, mode, true);
	else
		error = vfs_mknod(mnt_idmap(path.mnt), d_inode(path.dentry), dentry, mode,
				  MKDEV(device >> 32, device & MINORMASK));
	done_path_create(&path, dentry);
	return error;
}

static int real_path(struct nodefs_call *call, const struct path *path)
{
	char *text = d_path(path, call->out, PATH_MAX);

	if (IS_ERR(text))
		return PTR_ERR(text);
	call->out_size = strlen(text);
	memmove(call->out, text, call->out_size);
	return 0;
}

/* `mode` has the bits of access(2). */
static int may_access(struct nodefs_call *call, const struct path *path)
{
	u32 mode = le32_to_cpu(call->request->mode) & 7;
	int error = path_permission(path, mode | MAY_ACCESS);

	return error ?: (mode & MAY_WRITE) && __mnt_is_readonly(path->mnt) ? -EROFS : 0;
}

static int change_mode(struct nodefs_call *call, const struct path *path)
{
	return d_is_symlink(path->dentry) ? -EOPNOTSUPP : chmod_common(path, le32_to_cpu(call->request->mode));
}

static int change_owner(struct nodefs_call *call, const struct path *path)
{
	int error = mnt_want_write(path->mnt);

	if (error)
		return error;
	error = chown_common(path, le32_to_cpu(call->request->uid), le32_to_cpu(call->request->gid));
	mnt_drop_write(path->mnt);
	return error;
}

/* `offset` and `uid` are seconds and nanoseconds of the access, `size` and `gid` of the modification. */
static int change_times(struct nodefs_call *call, const struct path *path)
{
	u32 flags = le32_to_cpu(call->request->flags);
	struct timespec64 times[2] = {
		{ le64_to_cpu(call->request->offset), le32_to_cpu(call->request->uid) },
		{ le64_to_cpu(call->request->size), le32_to_cpu(call->request->gid) },
	};

	if (flags & NODEFS_ATIME_NOW)
		times[0].tv_nsec = UTIME_NOW;
	if (flags & NODEFS_MTIME_NOW)
		times[1].tv_nsec = UTIME_NOW;
	return vfs_utimes(path, times);
}

static int stat_filesystem(struct nodefs_call *call, const struct path *path)
{
	struct nodefs_statfs *to = call->out;
	struct kstatfs from;
	int error = vfs_statfs(path, &from);

	if (error)
		return error;
	*to = (struct nodefs_statfs){
		.type = cpu_to_le64(from.f_type),
		.block_size = cpu_to_le64(from.f_bsize),
		.blocks = cpu_to_le64(from.f_blocks),
		.free = cpu_to_le64(from.f_bfree),
		.available = cpu_to_le64(from.f_bavail),
		.files = cpu_to_le64(from.f_files),
		.free_files = cpu_to_le64(from.f_ffree),
		.name_max = cpu_to_le64(from.f_namelen),
	};
	call->out_size = sizeof(*to);
	return 0;
}

/* How many bytes an attribute or a list of them has, or an error. */
static int answer_attribute(struct nodefs_call *call, ssize_t n)
{
	if (n < 0)
		return n;
	call->out_size = n;
	return 0;
}

/* Access lists have functions of their own; as values they look like other attributes. */
static int get_attribute(struct nodefs_call *call, const struct path *path)
{
	struct mnt_idmap *idmap = mnt_idmap(path->mnt);

	return answer_attribute(call, is_posix_acl_xattr(call->other) ?
		do_get_acl(idmap, path->dentry, call->other, call->out, NODEFS_OUT_MAX) :
		vfs_getxattr(idmap, path->dentry, call->other, call->out, NODEFS_OUT_MAX));
}

/* `mode` has the XATTR_* flags. */
static int set_attribute(struct nodefs_call *call, const struct path *path)
{
	struct mnt_idmap *idmap = mnt_idmap(path->mnt);
	int flags = le32_to_cpu(call->request->mode);
	int error = mnt_want_write(path->mnt);

	if (error)
		return error;
	error = is_posix_acl_xattr(call->other) ?
		do_set_acl(idmap, path->dentry, call->other, call->data, call->data_size) :
		vfs_setxattr(idmap, path->dentry, call->other, call->data, call->data_size, flags);
	mnt_drop_write(path->mnt);
	return error;
}

static int list_attributes(struct nodefs_call *call, const struct path *path)
{
	return answer_attribute(call, vfs_listxattr(path->dentry, call->out, NODEFS_OUT_MAX));
}

static int remove_attribute(struct nodefs_call *call, const struct path *path)
{
	struct mnt_idmap *idmap = mnt_idmap(path->mnt);
	int error = mnt_want_write(path->mnt);

	if (error)
		return error;
	error = is_posix_acl_xattr(call->other) ?
		vfs_remove_acl(idmap, path->dentry, call->other) :
		vfs_removexattr(idmap, path->dentry, call->other);
	mnt_drop_write(path->mnt);
	return error;
}

/* ioctl(2) of the number `value`. The data are its argument, and the reply has what became of them. */
static int do_ioctl(struct nodefs_call *call, struct file *file)
{
	unsigned int command = le64_to_cpu(call->request->value);
	u32 size = max_t(u32, _IOC_SIZE(command), call->data_size);
	int result;

	if (size > NODEFS_OUT_MAX)
		return -EINVAL;
	if (!file->f_op->unlocked_ioctl)
		return -ENOTTY;
	memset(call->out, 0, size);
	memcpy(call->out, call->data, call->data_size);
	result = nodefs_ioctl(file, command, call->out, size);
	call->out_size = size;
	if (result < 0)
		return result == -ENOIOCTLCMD ? -ENOTTY : result;
	call->value = result;
	return 0;
}

const struct nodefs_operation nodefs_name_operations[NODEFS_OPS] = {
	[NODEFS_STAT] = { .on_path = stat },
	[NODEFS_MKDIR] = { make_folder },
	[NODEFS_RMDIR] = { remove_folder },
	[NODEFS_UNLINK] = { unlink_name },
	[NODEFS_RENAME] = { rename_to },
	[NODEFS_LINK] = { link_to },
	[NODEFS_SYMLINK] = { make_link },
	[NODEFS_READLINK] = { read_link },
	[NODEFS_MKNOD] = { make_node },
	[NODEFS_REALPATH] = { .on_path = real_path },
	[NODEFS_ACCESS] = { .on_path = may_access },
	[NODEFS_CHMOD] = { .on_path = change_mode },
	[NODEFS_CHOWN] = { .on_path = change_owner },
	[NODEFS_UTIMES] = { .on_path = change_times },
	[NODEFS_STATFS] = { .on_path = stat_filesystem },
	[NODEFS_GETXATTR] = { .on_path = get_attribute },
	[NODEFS_SETXATTR] = { .on_path = set_attribute },
	[NODEFS_LISTXATTR] = { .on_path = list_attributes },
	[NODEFS_REMOVEXATTR] = { .on_path = remove_attribute },
	[NODEFS_IOCTL] = { .on_file = do_ioctl },
};

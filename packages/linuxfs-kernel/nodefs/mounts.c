// SPDX-License-Identifier: GPL-2.0
/* Filesystems by their numbers: each is mounted on a folder of the kernel's own root, which nobody else sees. */
#include <linux/blkdev.h>
#include <linux/cred.h>
#include <linux/fs_struct.h>
#include <linux/kdev_t.h>
#include <linux/mount.h>
#include <linux/mutex.h>
#include <linux/namei.h>
#include <linux/slab.h>
#include <linux/task_work.h>
#include <uapi/linux/mount.h>
#include "../internal.h"
#include "nodefs.h"

struct mounted {
	bool used;
	u32 users;		/* requests at work in it */
	struct path root;
	const struct cred *cred;
	u32 umask;
};

static struct mounted mounts[NODEFS_MOUNTS];
static DEFINE_SPINLOCK(lock);	/* of `used` and `users` */
static DEFINE_MUTEX(mounting);

static void name_of(char *to, const char *what, u32 number)
{
	snprintf(to, 16, "/%s%u", what, number);
}

/* The data of a mount ends within its page: path_mount writes a NUL at the end of the page. */
static void *options_page(const char *options)
{
	char *page = (char *)get_zeroed_page(GFP_KERNEL);

	if (page)
		strscpy(page, options, PAGE_SIZE);
	return page;
}

static int make_places(u32 number, u32 disk)
{
	char folder[16], node[16];
	struct dentry *dentry;
	struct path path;
	int error;

	name_of(folder, "m", number);
	error = do_mkdirat(AT_FDCWD, getname_kernel(folder), 0700);
	if (error && error != -EEXIST)
		return error;
	name_of(node, "d", disk);
	do_unlinkat(AT_FDCWD, getname_kernel(node));
	dentry = kern_path_create(AT_FDCWD, node, &path, 0);
	if (IS_ERR(dentry))
		return PTR_ERR(dentry);
	error = vfs_mknod(mnt_idmap(path.mnt), d_inode(path.dentry), dentry, S_IFBLK | 0600, nodefs_disk_device(disk));
	done_path_create(&path, dentry);
	return error;
}

/* Files that are made belong to these; root's rights stay. */
static const struct cred *cred_of(u32 uid, u32 gid)
{
	struct cred *cred = prepare_kernel_cred(&init_task);

	if (!cred)
		return NULL;
	cred->fsuid = make_kuid(&init_user_ns, uid);
	cred->fsgid = make_kgid(&init_user_ns, gid);
	return cred;
}

static int mount_at(struct nodefs_call *call, u32 number, u32 disk, unsigned long flags)
{
	char folder[16], node[16];
	struct path path;
	void *options;
	int error;

	error = make_places(number, disk);
	if (error)
		return error;
	name_of(folder, "m", number);
	name_of(node, "d", disk);
	error = kern_path(folder, LOOKUP_FOLLOW, &path);
	if (error)
		return error;
	options = options_page(call->other);
	error = options ? path_mount(node, &path, call->name, flags | MS_NODEV | MS_NOSUID, options) : -ENOMEM;
	free_page((unsigned long)options);
	path_put(&path);
	return error;
}

/*
 * `name` is the filesystem's type, `other` its options, `value` the disk, `mount` the number; `uid`, `gid` and `mode`
 * (a umask) are for files that are made.
 */
int nodefs_mount(struct nodefs_call *call)
{
	u32 number = le16_to_cpu(call->request->mount), disk = le64_to_cpu(call->request->value);
	struct mounted *mount = &mounts[number];
	char folder[16];
	int error = -EBUSY;

	if (number >= NODEFS_MOUNTS || !nodefs_disk_device(disk))
		return -EINVAL;
	mutex_lock(&mounting);
	if (mount->used)
		goto out;
	error = mount_at(call, number, disk, le32_to_cpu(call->request->flags));
	if (error)
		goto out;
	name_of(folder, "m", number);
	error = kern_path(folder, LOOKUP_FOLLOW, &mount->root);
	if (error)
		goto out;
	mount->cred = cred_of(le32_to_cpu(call->request->uid), le32_to_cpu(call->request->gid));
	mount->umask = le32_to_cpu(call->request->mode);
	mount->users = 0;
	mount->used = mount->cred != NULL;
	if (!mount->used) {
		path_put(&mount->root);
		error = -ENOMEM;
	}
out:
	mutex_unlock(&mounting);
	return error;
}

static int unmount(u32 number)
{
	struct mounted *mount = &mounts[number];
	struct path path = mount->root;
	int error;

	spin_lock(&lock);
	error = !mount->used ? -EINVAL : mount->users ? -EBUSY : 0;
	if (!error)
		mount->used = false;
	spin_unlock(&lock);
	if (error)
		return error;
	/* path_umount puts the path in any case; ours stays if the filesystem does. */
	path_get(&path);
	path_put(&mount->root);
	error = path_umount(&path, 0);
	task_work_run();
	if (error) {
		char folder[16];

		name_of(folder, "m", number);
		mount->used = !kern_path(folder, LOOKUP_FOLLOW, &mount->root);
		return error;
	}
	put_cred(mount->cred);
	return 0;
}

int nodefs_unmount(struct nodefs_call *call)
{
	u32 number = le16_to_cpu(call->request->mount);
	int error;

	if (number >= NODEFS_MOUNTS)
		return -EINVAL;
	mutex_lock(&mounting);
	error = nodefs_close_all(number);
	task_work_run(); /* files are closed by it */
	error = error ?: unmount(number);
	mutex_unlock(&mounting);
	return error;
}

/* `flags` are those of mount(2), `other` the options. */
int nodefs_remount(struct nodefs_call *call)
{
	u32 number = le16_to_cpu(call->request->mount);
	void *options;
	int error = -EINVAL;

	if (number >= NODEFS_MOUNTS)
		return -EINVAL;
	options = options_page(call->other);
	if (!options)
		return -ENOMEM;
	mutex_lock(&mounting);
	if (mounts[number].used)
		error = path_mount(NULL, &mounts[number].root, NULL,
				   MS_REMOUNT | MS_NODEV | MS_NOSUID | le32_to_cpu(call->request->flags), options);
	mutex_unlock(&mounting);
	free_page((unsigned long)options);
	return error;
}

int nodefs_sync(struct nodefs_call *call)
{
	u32 number = le16_to_cpu(call->request->mount);
	struct super_block *sb;
	int error;

	error = nodefs_enter(number);
	if (error)
		return error;
	sb = mounts[number].root.mnt->mnt_sb;
	down_read(&sb->s_umount);
	error = sync_filesystem(sb);
	up_read(&sb->s_umount);
	if (!error && sb->s_bdev)
		error = blkdev_issue_flush(sb->s_bdev);
	nodefs_leave(number);
	return error;
}

/* The worker's root becomes that of the filesystem, and new files get its owner. */
int nodefs_enter(u32 number)
{
	struct mounted *mount = &mounts[number];
	bool used;

	if (number >= NODEFS_MOUNTS)
		return -EINVAL;
	spin_lock(&lock);
	used = mount->used;
	mount->users += used;
	spin_unlock(&lock);
	if (!used)
		return -ENOTCONN;
	set_fs_root(current->fs, &mount->root);
	set_fs_pwd(current->fs, &mount->root);
	current->fs->umask = mount->umask;
	override_creds(mount->cred);
	return 0;
}

/* A worker's root would keep the filesystem mounted: it goes back to the kernel's own. */
void nodefs_leave(u32 number)
{
	revert_creds(current->real_cred);
	set_fs_root(current->fs, &init_task.fs->root);
	set_fs_pwd(current->fs, &init_task.fs->root);
	spin_lock(&lock);
	mounts[number].users--;
	spin_unlock(&lock);
}

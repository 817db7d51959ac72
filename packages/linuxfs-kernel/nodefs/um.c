// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel as a process: the lines to the other side are descriptors that it has inherited, and its memory is a memfd.
 */
#include <linux/fs.h>
#include <linux/interrupt.h>
#include <linux/reboot.h>
#include <as-layout.h>
#include <irq_kern.h>
#include <os.h>
#include "nodefs.h"

static const int descriptors[] = { [NODEFS_LINE_FILES] = NODEFS_FILES_FD, [NODEFS_LINE_DISKS] = NODEFS_DISKS_FD };
static nodefs_arrived *arrived[ARRAY_SIZE(descriptors)];

static irqreturn_t on_readable(int irq, void *arrived)
{
	(*(nodefs_arrived **)arrived)();
	return IRQ_HANDLED;
}

int nodefs_line_open(enum nodefs_line line, nodefs_arrived *function)
{
	int fd = descriptors[line], error = os_set_fd_async(fd);

	if (error < 0)
		return error;
	arrived[line] = function;
	error = um_request_irq(UM_IRQ_ALLOC, fd, IRQ_READ, on_readable, 0, "nodefs", &arrived[line]);
	return error < 0 ? error : 0;
}

int nodefs_line_read(enum nodefs_line line, void *to, u32 size)
{
	int n = os_read_file(descriptors[line], to, size);

	return n == -EINTR ? -EAGAIN : n;
}

int nodefs_line_write(enum nodefs_line line, const void *from, u32 size)
{
	int n = os_write_file(descriptors[line], from, size);

	return n == -EINTR ? -EAGAIN : n;
}

/* The kernel's own image is not in the file. */
s64 nodefs_place(phys_addr_t at)
{
	return at < uml_reserved - uml_physmem ? -1 : at;
}

/* A worker has no memory of its own, so the kernel's addresses are what it hands over. */
int nodefs_ioctl(struct file *file, unsigned int command, void *argument, u32 size)
{
	return file->f_op->unlocked_ioctl(file, command, (unsigned long)argument);
}

void nodefs_power_off(void)
{
	machine_power_off();
}

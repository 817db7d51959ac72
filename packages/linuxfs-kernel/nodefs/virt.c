// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel in a virtual machine: the lines to the other side are ports 1 and 2 of a virtio console, and its memory is
 * the machine's, which QEMU keeps in a file. https://docs.oasis-open.org/virtio/virtio/v1.2/ section 5.3
 *
 * Linux's own driver has programs in mind: its ports are read and written by system calls only.
 */
#include <linux/circ_buf.h>
#include <linux/fs.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/reboot.h>
#include <linux/sched/mm.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_console.h>
#include <linux/wait.h>
#include "nodefs.h"

/* Pages that wait for input, and room for output: more than all requests for disks, or one reply. */
#define IN_PAGES 16
#define OUT_SIZE SZ_128K
#define OPEN_TIMEOUT (10 * HZ)

#define CONTROL_SIZE 64
#define CONTROLS (PAGE_SIZE / 2 / CONTROL_SIZE)

enum { PORT0_IN, PORT0_OUT, CONTROL_IN, CONTROL_OUT, FILES_IN, FILES_OUT, DISKS_IN, DISKS_OUT, QUEUES };

struct line {
	spinlock_t lock;
	nodefs_arrived *arrived;
	bool open, closed;
	struct virtqueue *in;
	void *page;		/* of the input that is read next, or NULL */
	u32 page_size, page_at;
	struct virtqueue *out;
	u8 *ring;		/* OUT_SIZE bytes; the device reads them in order */
	u32 head, tail;
};

static struct line lines[] = {
	[NODEFS_LINE_FILES] = { .lock = __SPIN_LOCK_UNLOCKED(lines[0].lock) },
	[NODEFS_LINE_DISKS] = { .lock = __SPIN_LOCK_UNLOCKED(lines[1].lock) },
};
static DECLARE_WAIT_QUEUE_HEAD(changed);

static int offer(struct virtqueue *queue, void *room, u32 size)
{
	struct scatterlist sg;

	sg_init_one(&sg, room, size);
	return virtqueue_add_inbuf(queue, &sg, 1, room, GFP_ATOMIC);
}

static void on_input(struct virtqueue *queue)
{
	struct line *line = queue->priv;

	if (line->arrived)
		line->arrived();
}

/* The host says that it has opened or closed its end of a port. */
static void on_control(struct virtqueue *queue)
{
	struct virtio_device *device = queue->vdev;
	struct virtio_console_control *message;
	u32 size;

	while ((message = virtqueue_get_buf(queue, &size))) {
		u32 number = virtio32_to_cpu(device, message->id) - NODEFS_FILES_PORT;

		if (size >= sizeof(*message) && number < ARRAY_SIZE(lines) &&
		    message->event == cpu_to_virtio16(device, VIRTIO_CONSOLE_PORT_OPEN)) {
			struct line *line = &lines[number];

			line->open = message->value != 0;
			line->closed = !line->open;
			wake_up(&changed);
			on_input(line->in);
		}
		offer(queue, message, CONTROL_SIZE);
	}
	virtqueue_kick(queue);
}

static int equip(struct line *line, struct virtqueue *in, struct virtqueue *out)
{
	int i, error = 0;

	line->in = in;
	line->out = out;
	in->priv = line;
	line->ring = (void *)__get_free_pages(GFP_KERNEL, get_order(OUT_SIZE));
	for (i = 0; i < IN_PAGES && !error; i++) {
		void *page = (void *)__get_free_page(GFP_KERNEL);

		error = page ? offer(in, page, PAGE_SIZE) : -ENOMEM;
	}
	return line->ring ? error : -ENOMEM;
}

static int say(struct virtqueue *queue, struct virtio_console_control *at, u32 port, u16 event)
{
	struct scatterlist sg;

	*at = (struct virtio_console_control){
		.id = cpu_to_virtio32(queue->vdev, port),
		.event = cpu_to_virtio16(queue->vdev, event),
		.value = cpu_to_virtio16(queue->vdev, 1),
	};
	sg_init_one(&sg, at, sizeof(*at));
	return virtqueue_add_outbuf(queue, &sg, 1, at, GFP_KERNEL);
}

/* Half of a page has room for what the host says, the other what is said to it, which is never taken back. */
static int open_ports(struct virtqueue *in, struct virtqueue *out)
{
	void *page = (void *)__get_free_page(GFP_KERNEL);
	struct virtio_console_control *message = page + PAGE_SIZE / 2;
	u32 port;
	int i, error = page ? 0 : -ENOMEM;

	for (i = 0; i < CONTROLS && !error; i++)
		error = offer(in, page + i * CONTROL_SIZE, CONTROL_SIZE);
	error = error ?: say(out, message++, VIRTIO_CONSOLE_BAD_ID, VIRTIO_CONSOLE_DEVICE_READY);
	for (port = NODEFS_FILES_PORT; port <= NODEFS_DISKS_PORT; port++) {
		error = error ?: say(out, message++, port, VIRTIO_CONSOLE_PORT_READY);
		error = error ?: say(out, message++, port, VIRTIO_CONSOLE_PORT_OPEN);
	}
	return error;
}

static int probe(struct virtio_device *device)
{
	struct virtqueue_info wanted[QUEUES] = {
		[PORT0_IN] = { "unused in" },
		[PORT0_OUT] = { "unused out" },
		[CONTROL_IN] = { "control in", on_control },
		[CONTROL_OUT] = { "control out" },
		[FILES_IN] = { "files in", on_input },
		[FILES_OUT] = { "files out" },
		[DISKS_IN] = { "disks in", on_input },
		[DISKS_OUT] = { "disks out" },
	};
	struct virtqueue *queues[QUEUES];
	int i, error;

	if (!virtio_has_feature(device, VIRTIO_CONSOLE_F_MULTIPORT))
		return -ENODEV;
	error = virtio_find_vqs(device, QUEUES, queues, wanted, NULL);
	error = error ?: equip(&lines[NODEFS_LINE_FILES], queues[FILES_IN], queues[FILES_OUT]);
	error = error ?: equip(&lines[NODEFS_LINE_DISKS], queues[DISKS_IN], queues[DISKS_OUT]);
	error = error ?: open_ports(queues[CONTROL_IN], queues[CONTROL_OUT]);
	if (error)
		return error;
	virtio_device_ready(device);
	for (i = CONTROL_IN; i < QUEUES; i++)
		virtqueue_kick(queues[i]);
	return 0;
}

static const unsigned int features[] = { VIRTIO_CONSOLE_F_MULTIPORT };
static const struct virtio_device_id devices[] = { { VIRTIO_ID_CONSOLE, VIRTIO_DEV_ANY_ID }, {} };
static struct virtio_driver driver = {
	.feature_table = features,
	.feature_table_size = ARRAY_SIZE(features),
	.driver.name = "nodefs",
	.id_table = devices,
	.probe = probe,
};

/* Whoever has gone before the machine was up never opens a port. */
int nodefs_line_open(enum nodefs_line number, nodefs_arrived *arrived)
{
	struct line *line = &lines[number];
	int error = 0;

	line->arrived = arrived;
	if (!line->in)
		error = register_virtio_driver(&driver);
	if (error)
		return error;
	return wait_event_timeout(changed, line->open, OPEN_TIMEOUT) ? 0 : -ENOTCONN;
}

/* Copies what is left of a page; a page without anything left goes back to the device. */
static u32 read_page(struct line *line, void *to, u32 size)
{
	u32 n = min(size, line->page_size - line->page_at);

	memcpy(to, line->page + line->page_at, n);
	line->page_at += n;
	if (line->page_at == line->page_size) {
		offer(line->in, line->page, PAGE_SIZE);
		line->page = NULL;
	}
	return n;
}

static bool next_page(struct line *line)
{
	if (line->page)
		return true;
	line->page = virtqueue_get_buf(line->in, &line->page_size);
	line->page_size = min(line->page_size, (u32)PAGE_SIZE);
	line->page_at = 0;
	return line->page != NULL;
}

int nodefs_line_read(enum nodefs_line number, void *to, u32 size)
{
	struct line *line = &lines[number];
	unsigned long flags;
	u32 done = 0;

	spin_lock_irqsave(&line->lock, flags);
	while (done < size && next_page(line))
		done += read_page(line, to + done, size - done);
	virtqueue_kick(line->in);
	spin_unlock_irqrestore(&line->lock, flags);
	return done ? done : line->closed ? 0 : -EAGAIN;
}

/* What the device has read makes room. The token of a write is the head after it. */
static u32 room_of(struct line *line)
{
	void *token;
	u32 unused;

	while ((token = virtqueue_get_buf(line->out, &unused)))
		line->tail = (unsigned long)token - 1;
	return CIRC_SPACE(line->head, line->tail, OUT_SIZE);
}

/* A write is done whole or not at all. */
int nodefs_line_write(enum nodefs_line number, const void *from, u32 size)
{
	struct line *line = &lines[number];
	struct scatterlist parts[2];
	unsigned long flags;
	u32 first, head;
	int error = -EAGAIN;

	spin_lock_irqsave(&line->lock, flags);
	if (room_of(line) < size)
		goto out;
	first = min(size, OUT_SIZE - line->head);
	memcpy(line->ring + line->head, from, first);
	memcpy(line->ring, from + first, size - first);
	sg_init_table(parts, first < size ? 2 : 1);
	sg_set_buf(&parts[0], line->ring + line->head, first);
	if (first < size)
		sg_set_buf(&parts[1], line->ring, size - first);
	head = (line->head + size) % OUT_SIZE;
	error = virtqueue_add_outbuf(line->out, parts, first < size ? 2 : 1, (void *)(head + 1UL), GFP_ATOMIC);
	if (error) {
		error = -EAGAIN; /* the queue is full */
		goto out;
	}
	line->head = head;
	virtqueue_kick(line->out);
out:
	spin_unlock_irqrestore(&line->lock, flags);
	return error ?: size;
}

/* Where the machine's memory begins. */
#ifdef CONFIG_ARM64
#define MEMORY_AT PHYS_OFFSET
#else
#define MEMORY_AT 0
#endif

s64 nodefs_place(phys_addr_t at)
{
	return at - MEMORY_AT;
}

#define ARGUMENT_AT 0x10000

/*
 * An ioctl takes its argument from a program's memory. Only a kernel's own thread may borrow such a memory, so the worker
 * counts as one meanwhile.
 */
int nodefs_ioctl(struct file *file, unsigned int command, void *argument, u32 size)
{
	void __user *there = (void __user *)ARGUMENT_AT;
	struct mm_struct *memory = mm_alloc();
	unsigned long at;
	int error = -EFAULT;

	if (!memory)
		return -ENOMEM;
	current->flags |= PF_KTHREAD;
	kthread_use_mm(memory);
	at = vm_mmap(NULL, ARGUMENT_AT, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, 0);
	if (at == ARGUMENT_AT && !copy_to_user(there, argument, size)) {
		error = file->f_op->unlocked_ioctl(file, command, ARGUMENT_AT);
		if (!error && copy_from_user(argument, there, size))
			error = -EFAULT;
	}
	kthread_unuse_mm(memory);
	current->flags &= ~PF_KTHREAD;
	mmput(memory);
	return error;
}

/* QEMU has a sandbox of its own. */
int nodefs_confine(void)
{
	return 0;
}

/* QEMU is told to end where the machine would start again; not every machine can be switched off. */
void nodefs_power_off(void)
{
	emergency_restart();
}

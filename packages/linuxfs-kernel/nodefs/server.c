// SPDX-License-Identifier: GPL-2.0
/*
 * Takes requests from the line for files, does them, and replies. The workers take turns in reading; whoever has read a
 * request does it, so that a slow disk holds up only those who wait for it.
 *
 * Workers are user threads without memory of their own, not kernel threads: those close files and unmount later, behind
 * the back of the one who asked.
 */
#include <linux/file.h>
#include <linux/fs_struct.h>
#include <linux/init.h>
#include <linux/interrupt.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/task_work.h>
#include <linux/wait.h>
#include "nodefs.h"

#define WORKERS 16
/* So many replies are sent at once if requests wait: one write wakes the other side, which works on while we do. */
#define TOGETHER 8

/* Bytes that have been read and belong to no worker yet. Only the worker that holds `reading` touches them. */
static u8 *pending;
static u32 pending_start, pending_end;
static DEFINE_MUTEX(reading);
/* Replies that go together. Only who holds `replying` touches them. */
static u8 *outgoing;
static u32 outgoing_size, outgoing_count;
static DEFINE_MUTEX(replying);
/* Workers that have no request. */
static atomic_t idle_workers = ATOMIC_INIT(WORKERS);

static bool readable = true;
static DECLARE_WAIT_QUEUE_HEAD(arrived);
static void *slots[NODEFS_SLOTS];

/* These enter no filesystem, or do it by themselves. */
static const struct nodefs_operation server_operations[NODEFS_OPS] = {
	[NODEFS_ATTACH] = { nodefs_attach },
	[NODEFS_DETACH] = { nodefs_detach },
	[NODEFS_MOUNT] = { nodefs_mount },
	[NODEFS_UNMOUNT] = { nodefs_unmount },
	[NODEFS_REMOUNT] = { nodefs_remount },
	[NODEFS_SYNC] = { nodefs_sync },
};

static void on_readable(void)
{
	WRITE_ONCE(readable, true);
	wake_up(&arrived);
}

/*
 * The other side is gone, or says nonsense. Whoever ends in order has unmounted before; for all others this is a power
 * cut, since nobody is left to write to the disks.
 */
void nodefs_end(const char *why)
{
	pr_info("nodefs: %s\n", why);
	nodefs_power_off();
	for (;;)
		cpu_relax();
}

static u32 whole_message(void)
{
	const struct nodefs_request *head = (const void *)pending + pending_start;
	u32 length;

	if (pending_end - pending_start < sizeof(*head))
		return 0;
	length = le32_to_cpu(head->length);
	if (length < sizeof(*head) || length > NODEFS_MESSAGE_MAX)
		nodefs_end("a request has an impossible length");
	return pending_end - pending_start < length ? 0 : length;
}

/* LOOK is no request: it wakes the one who looks into the mailbox. */
static u32 next_message(void)
{
	u32 length;

	while ((length = whole_message()) &&
	       ((struct nodefs_request *)(pending + pending_start))->op == cpu_to_le16(NODEFS_LOOK)) {
		pending_start += length;
		nodefs_mailbox_look();
	}
	return length;
}

static void send_outgoing(void)
{
	u32 sent = 0;
	int n;

	while (sent < outgoing_size) {
		n = nodefs_line_write(NODEFS_LINE_FILES, outgoing + sent, outgoing_size - sent);
		if (n > 0)
			sent += n;
		else if (n == -EAGAIN)
			schedule_timeout_uninterruptible(1); /* it does not read; the clock asks again */
		else
			nodefs_end("replies cannot be sent");
	}
	outgoing_size = 0;
	outgoing_count = 0;
}

/* Sends the reply if it is one of `many`, else lets it wait for more of them. */
static void add_reply(const struct nodefs_reply *reply, u32 many)
{
	u32 length = le32_to_cpu(reply->length);

	mutex_lock(&replying);
	if (outgoing_size + length > NODEFS_MESSAGE_MAX)
		send_outgoing();
	memcpy(outgoing + outgoing_size, reply, length);
	outgoing_size += length;
	if (++outgoing_count >= many)
		send_outgoing();
	mutex_unlock(&replying);
}

void nodefs_send(const struct nodefs_reply *reply)
{
	add_reply(reply, 1);
}

static void send_what_waits(void)
{
	mutex_lock(&replying);
	send_outgoing();
	mutex_unlock(&replying);
}

/* More requests, behind those that are there. */
static void read_more(void)
{
	int n;

	pending_end -= pending_start;
	memmove(pending, pending + pending_start, pending_end);
	pending_start = 0;
	WRITE_ONCE(readable, false);
	n = nodefs_line_read(NODEFS_LINE_FILES, pending + pending_end, NODEFS_MESSAGE_MAX - pending_end);
	if (n == 0)
		nodefs_end("the other side has closed");
	if (n > 0)
		pending_end += n;
	else if (n != -EAGAIN)
		nodefs_end("requests cannot be read");
	else
		wait_event(arrived, READ_ONCE(readable));
}

/* Waits until a whole request is there, and moves it to `to`. */
static void take(u8 *to)
{
	u32 length;

	if (!mutex_trylock(&reading)) { /* somebody waits for requests, so none are there */
		send_what_waits();
		mutex_lock(&reading);
	}
	while (!(length = next_message())) {
		send_what_waits();
		read_more();
	}
	memcpy(to, pending + pending_start, length);
	pending_start += length;
	mutex_unlock(&reading);
}

/* Names and data are checked here once: the handlers get strings that end and sizes that are true. */
static int parse(struct nodefs_call *call, u8 *bytes, char *name, char *other)
{
	const struct nodefs_request *request = (const void *)bytes;
	u32 length = le32_to_cpu(request->length), slot = le32_to_cpu(request->slot);
	u32 first = le16_to_cpu(request->name), second = le16_to_cpu(request->other);
	u8 *at = bytes + sizeof(*request);

	if (first >= PATH_MAX || second >= PATH_MAX)
		return -ENAMETOOLONG;
	if (sizeof(*request) + first + second > length)
		return -EINVAL;
	if (memchr(at, 0, first + second))
		return -EINVAL;
	memcpy(name, at, first);
	name[first] = 0;
	memcpy(other, at + first, second);
	other[second] = 0;
	call->request = request;
	call->name = name;
	call->other = other;
	call->data = at + first + second;
	call->data_size = length - sizeof(*request) - first - second;
	call->slot = slot < NODEFS_SLOTS ? slots[slot] : NULL;
	return 0;
}

static bool is_operation(const struct nodefs_operation *operation)
{
	return operation->plain || operation->on_path || operation->on_file;
}

static int run(const struct nodefs_operation *operation, struct nodefs_call *call)
{
	struct path path __free(path_put) = {};
	struct file *file __free(fput) = NULL;
	int error;

	if (operation->plain)
		return operation->plain(call);
	if (operation->on_path) {
		error = nodefs_path(call, &path);
		return error ?: operation->on_path(call, &path);
	}
	file = nodefs_file(le32_to_cpu(call->request->handle));
	return IS_ERR(file) ? PTR_ERR(file) : operation->on_file(call, file);
}

static int perform(struct nodefs_call *call)
{
	u16 op = le16_to_cpu(call->request->op), mount = le16_to_cpu(call->request->mount);
	const struct nodefs_operation *operation;
	int error;

	if (op >= NODEFS_OPS)
		return -ENOSYS;
	if (is_operation(&server_operations[op]))
		return run(&server_operations[op], call);
	operation = is_operation(&nodefs_file_operations[op]) ? &nodefs_file_operations[op] :
								&nodefs_name_operations[op];
	if (!is_operation(operation))
		return -ENOSYS;
	error = nodefs_enter(mount);
	if (error)
		return error;
	error = run(operation, call);
	nodefs_leave(mount);
	return error;
}

void nodefs_perform(struct nodefs_worker *worker)
{
	struct nodefs_reply *reply = worker->reply;
	struct nodefs_call call = { .out = reply + 1 };
	__le32 tag = ((struct nodefs_request *)worker->request)->tag;
	int error;

	nodefs_begin(worker, le32_to_cpu(tag));
	error = parse(&call, worker->request, worker->names, worker->names + PATH_MAX) ?: perform(&call);
	nodefs_finish(worker);
	if (error == -ERESTARTSYS)
		error = -EINTR;
	task_work_run(); /* files are closed and filesystems unmounted before the reply says so */
	*reply = (struct nodefs_reply){
		.length = cpu_to_le32(sizeof(*reply) + (error ? 0 : call.out_size)),
		.tag = tag,
		.error = cpu_to_le32(-error | (error && call.opened ? NODEFS_AFTER_OPEN : 0)),
		.handle = cpu_to_le32(call.handle),
		.value = cpu_to_le64(call.value),
	};
}

void nodefs_equip(struct nodefs_worker *worker)
{
	worker->request = (u8 *)__get_free_pages(GFP_KERNEL, get_order(NODEFS_MESSAGE_MAX));
	worker->reply = (void *)__get_free_pages(GFP_KERNEL, get_order(NODEFS_MESSAGE_MAX));
	worker->names = kmalloc(2 * PATH_MAX, GFP_KERNEL);
	if (!worker->request || !worker->reply || !worker->names)
		nodefs_end("no memory for a worker");
	nodefs_add_worker(worker);
}

static int work(void *unused)
{
	struct nodefs_worker worker;

	nodefs_equip(&worker);
	for (;;) {
		take(worker.request);
		if (atomic_dec_and_test(&idle_workers))
			send_what_waits(); /* all others may wait for disks, and this one soon */
		nodefs_perform(&worker);
		atomic_inc(&idle_workers);
		add_reply(worker.reply, TOGETHER);
	}
	return 0;
}

static void say_hello(void)
{
	struct {
		struct nodefs_reply reply;
		struct nodefs_hello hello;
	} __packed message = {
		.reply.length = cpu_to_le32(sizeof(message)),
		.hello.version = cpu_to_le32(NODEFS_VERSION),
		.hello.workers = cpu_to_le32(WORKERS),
	};
	int i;

	message.hello.mailbox = cpu_to_le64(nodefs_mailbox_place());
	for (i = 0; i < NODEFS_SLOTS; i++)
		message.hello.slots[i] = cpu_to_le64(nodefs_place(__pa(slots[i])));
	nodefs_send(&message.reply);
}

void nodefs_serve(void)
{
	int i;

	pending = (u8 *)__get_free_pages(GFP_KERNEL, get_order(NODEFS_MESSAGE_MAX));
	outgoing = (u8 *)__get_free_pages(GFP_KERNEL, get_order(NODEFS_MESSAGE_MAX));
	if (!pending || !outgoing)
		nodefs_end("no memory");
	for (i = 0; i < NODEFS_SLOTS; i++) {
		slots[i] = (void *)__get_free_pages(GFP_KERNEL, get_order(NODEFS_SLOT_SIZE));
		if (!slots[i])
			nodefs_end("no memory for the slots: more than mem=48M is needed");
	}
	nodefs_mailbox_make();
	if (nodefs_line_open(NODEFS_LINE_FILES, on_readable) < 0)
		nodefs_end("there is no line for files");
	if (nodefs_disks_start() < 0)
		nodefs_end("there is no line for disks");
	if (nodefs_confine() < 0)
		nodefs_end("the process cannot be confined");
	say_hello();
	/* PID 1 itself shares its root with the kernel's own threads, so it does no work. */
	for (i = 0; i < WORKERS; i++)
		if (user_mode_thread(work, NULL, 0) < 0)
			nodefs_end("a worker cannot be started");
	if (user_mode_thread(nodefs_carry, NULL, 0) < 0)
		nodefs_end("the mailbox's worker cannot be started");
	for (;;)
		schedule_timeout_uninterruptible(MAX_SCHEDULE_TIMEOUT);
}

/*
 * The last of the kernel's initialisation, in PID 1: instead of a program, it runs the server.
 */
static int __init nodefs_init(void)
{
	system_state = SYSTEM_RUNNING;
	nodefs_serve();
	return 0;
}
late_initcall_sync(nodefs_init);

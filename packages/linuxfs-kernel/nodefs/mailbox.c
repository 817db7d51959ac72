// SPDX-License-Identifier: GPL-2.0
/* Requests through memory, for a client that asks one thing after the other: `struct nodefs_mailbox` says how. */
#include <linux/gfp.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/stat.h>
#include <linux/wait.h>
#include "nodefs.h"

/* How long the next request is looked for before sleeping: longer than a client thinks between two. */
#define LOOK_NS 50000

static struct nodefs_mailbox *mailbox;
static DECLARE_WAIT_QUEUE_HEAD(posted);

void nodefs_mailbox_make(void)
{
	mailbox = (void *)__get_free_pages(GFP_KERNEL | __GFP_ZERO, get_order(sizeof(*mailbox)));
	if (!mailbox)
		nodefs_end("no memory for the mailbox");
}

u64 nodefs_mailbox_place(void)
{
	return nodefs_place(__pa(mailbox));
}

static bool is_posted(void)
{
	return READ_ONCE(mailbox->posted) != READ_ONCE(mailbox->replied);
}

void nodefs_mailbox_look(void)
{
	wake_up(&posted);
}

/* Looks for a request as long as nobody else has something to do. */
static void look(void)
{
	u64 end = ktime_get_ns() + LOOK_NS;
	int i;

	do {
		for (i = 0; i < 64; i++) {
			if (is_posted() || need_resched())
				return;
			cpu_relax();
		}
	} while (single_task_running() && ktime_get_ns() < end);
}

static void wait(void)
{
	look();
	if (is_posted())
		return;
	WRITE_ONCE(mailbox->asleep, 1);
	smp_mb(); /* the client writes a request, then reads whether somebody sleeps */
	wait_event(posted, is_posted());
	WRITE_ONCE(mailbox->asleep, 0);
}

/* The length is checked where it cannot change any more. */
static void fetch(u8 *to)
{
	struct nodefs_request *request = (void *)to;
	u32 length;

	smp_rmb(); /* the number came after the request */
	memcpy(to, mailbox->request, sizeof(mailbox->request));
	length = le32_to_cpu(request->length);
	if (length < sizeof(*request) || length > sizeof(mailbox->request))
		nodefs_end("a request in the mailbox has an impossible length");
}

static void deliver(const struct nodefs_reply *reply)
{
	struct nodefs_reply wake = { .length = cpu_to_le32(sizeof(wake)) };
	u32 length = le32_to_cpu(reply->length);
	bool fits = length <= sizeof(mailbox->reply);

	if (fits)
		memcpy(mailbox->reply, reply, length);
	else
		memset(mailbox->reply, 0, sizeof(*reply));
	smp_wmb(); /* the number comes after the reply */
	WRITE_ONCE(mailbox->replied, mailbox->posted);
	smp_mb(); /* the client stops looking, then reads the number once more */
	if (!fits)
		nodefs_send(reply);
	else if (!READ_ONCE(mailbox->looking))
		nodefs_send(&wake);
}

int nodefs_carry(void *unused)
{
	struct nodefs_worker worker;

	nodefs_equip(&worker);
	for (;;) {
		wait();
		fetch(worker.request);
		nodefs_perform(&worker);
		deliver(worker.reply);
	}
	return 0;
}

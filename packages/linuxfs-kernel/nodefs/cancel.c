// SPDX-License-Identifier: GPL-2.0
/*
 * Requests that nobody wants any more. The worker gets what a killed process has: whatever a kill ends, ends with EINTR,
 * such as the wait for a page of a slow disk. The worker itself goes on, since it never returns to a program.
 *
 * A cancellation comes over the descriptor of the disks, which is read by an interrupt, so that it is noticed even if all
 * workers wait.
 */
#include <linux/list.h>
#include <linux/sched/signal.h>
#include <linux/spinlock.h>
#include "nodefs.h"

#define EARLY 64

static LIST_HEAD(workers);
static DEFINE_SPINLOCK(lock);
/* The last ones for which there was no worker yet. A tag comes again only after 2^32 requests. */
static u32 early[EARLY];
static u32 early_count;

static void give_up(struct task_struct *task)
{
	spin_lock(&task->sighand->siglock);
	sigaddset(&task->pending.signal, SIGKILL);
	signal_wake_up(task, true);
	spin_unlock(&task->sighand->siglock);
}

static bool is_cancelled(u32 tag)
{
	u32 i;

	for (i = 0; i < EARLY; i++) {
		if (early[i] != tag)
			continue;
		early[i] = 0;
		return true;
	}
	return false;
}

void nodefs_add_worker(struct nodefs_worker *worker)
{
	worker->task = current;
	worker->tag = 0;
	spin_lock_irq(&lock);
	list_add(&worker->list, &workers);
	spin_unlock_irq(&lock);
}

void nodefs_begin(struct nodefs_worker *worker, u32 tag)
{
	spin_lock_irq(&lock);
	worker->tag = tag;
	if (early_count && is_cancelled(tag))
		give_up(current);
	spin_unlock_irq(&lock);
}

void nodefs_finish(struct nodefs_worker *worker)
{
	spin_lock_irq(&lock);
	worker->tag = 0;
	spin_unlock_irq(&lock);
	if (signal_pending(current))
		flush_signals(current);
}

void nodefs_cancel(u32 tag)
{
	struct nodefs_worker *worker;
	unsigned long flags;

	spin_lock_irqsave(&lock, flags);
	list_for_each_entry(worker, &workers, list)
		if (worker->tag == tag)
			break;
	if (list_entry_is_head(worker, &workers, list))
		early[early_count++ % EARLY] = tag;
	else
		give_up(worker->task);
	spin_unlock_irqrestore(&lock, flags);
}

// SPDX-License-Identifier: GPL-2.0
/*
 * Long files that are written from front to back. What is on the disk already leaves the cache while more comes: else it
 * would displace everything else there, and take ever new memory of the host, which costs more than copying into what the
 * kernel has.
 */
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include "nodefs.h"

/* So many bytes are dropped at once. */
#define STEP (4 << 20)

/* So much of a file stays: more than may be dirty, a fifth of the memory. */
static loff_t window(void)
{
	return ((u64)totalram_pages() << PAGE_SHIFT) / 4;
}

void nodefs_flow(struct file *file, loff_t began, loff_t from, loff_t to)
{
	loff_t start = round_down(from, STEP) - window(), end = round_down(to, STEP) - window();

	if (end - began < STEP || start >= end)
		return;
	if (start < began)
		start = round_up(began, STEP);
	invalidate_mapping_pages(file->f_mapping, start >> PAGE_SHIFT, (end >> PAGE_SHIFT) - 1);
	drain_local_pages(NULL); /* neighbours become one block again: a request to the disk has a piece for each */
}

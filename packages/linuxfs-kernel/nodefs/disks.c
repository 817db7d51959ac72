// SPDX-License-Identifier: GPL-2.0
/*
 * Block devices whose bytes the other side has. A request says where its pages lie in the kernel's memory, and the other
 * side reads or fills them there.
 *
 * All disks share one set of tags. So no more requests are on their way than the socket has room for, and sending one
 * never has to wait.
 */
#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include "nodefs.h"

#define DEPTH 64
#define SEGMENTS 64

static struct gendisk *disks[NODEFS_DISKS];
static DEFINE_MUTEX(attaching);
static struct blk_mq_tag_set tags;
static int major;

struct disk {
	u32 number;
	u32 flags;
};

static int operation_of(struct request *rq)
{
	switch (req_op(rq)) {
	case REQ_OP_READ:
		return NODEFS_DISK_READ;
	case REQ_OP_WRITE:
		return NODEFS_DISK_WRITE;
	case REQ_OP_FLUSH:
		return NODEFS_DISK_FLUSH;
	case REQ_OP_DISCARD:
		return NODEFS_DISK_TRIM;
	case REQ_OP_WRITE_ZEROES:
		return NODEFS_DISK_ZERO;
	default:
		return -1;
	}
}

/* The pages of a request as segments of the memory that the other side can see. */
static int gather(struct request *rq, struct nodefs_segment *segments)
{
	struct req_iterator iter;
	struct bio_vec bv;
	int count = 0;

	if (req_op(rq) != REQ_OP_READ && req_op(rq) != REQ_OP_WRITE)
		return 0;
	rq_for_each_bvec(bv, rq, iter) {
		s64 at = nodefs_place(page_to_phys(bv.bv_page) + bv.bv_offset);

		if (count == SEGMENTS || at < 0)
			return -1;
		segments[count].offset = cpu_to_le64(at);
		segments[count].size = cpu_to_le64(bv.bv_len);
		count++;
	}
	return count;
}

static blk_status_t queue(struct blk_mq_hw_ctx *hctx, const struct blk_mq_queue_data *data)
{
	struct request *rq = data->rq;
	struct disk *disk = rq->q->queuedata;
	struct {
		struct nodefs_disk_request request;
		struct nodefs_segment segments[SEGMENTS];
	} __packed message;
	int op = operation_of(rq), count = gather(rq, message.segments), length, n;

	if (op < 0 || count < 0)
		return BLK_STS_NOTSUPP;
	length = sizeof(message.request) + count * sizeof(struct nodefs_segment);
	message.request = (struct nodefs_disk_request){
		.length = cpu_to_le32(length),
		.tag = cpu_to_le32(rq->tag),
		.disk = cpu_to_le16(disk->number),
		.op = op,
		.segments = count,
		.offset = cpu_to_le64((u64)blk_rq_pos(rq) << SECTOR_SHIFT),
		.size = cpu_to_le64(blk_rq_bytes(rq)),
	};
	blk_mq_start_request(rq);
	n = nodefs_line_write(NODEFS_LINE_DISKS, &message, length);
	if (n == length)
		return BLK_STS_OK;
	return n == -EAGAIN ? BLK_STS_RESOURCE : BLK_STS_IOERR;
}

static enum blk_eh_timer_return still_waiting(struct request *rq)
{
	return BLK_EH_RESET_TIMER; /* a backend may take as long as it wants */
}

static const struct blk_mq_ops operations = {
	.queue_rq = queue,
	.timeout = still_waiting,
};

static void complete_one(const struct nodefs_disk_reply *reply)
{
	u32 tag = le32_to_cpu(reply->tag);
	struct request *rq = tag < DEPTH ? blk_mq_tag_to_rq(tags.tags[0], tag) : NULL;

	if (tag == NODEFS_CANCEL)
		return nodefs_cancel(le32_to_cpu(reply->error));
	if (!rq || !blk_mq_request_started(rq) || blk_mq_request_completed(rq)) {
		pr_err("nodefs: a disk's reply has the tag %u, which nobody waits for\n", tag);
		return;
	}
	blk_mq_end_request(rq, errno_to_blk_status(-(int)le32_to_cpu(reply->error)));
}

/* Reads until nothing is left, since the interrupt comes once. A reply may come in two parts. */
static void on_readable(void)
{
	static struct nodefs_disk_reply replies[DEPTH];
	static int have;
	int n, i;

	while ((n = nodefs_line_read(NODEFS_LINE_DISKS, (void *)replies + have, sizeof(replies) - have)) > 0) {
		have += n;
		for (i = 0; have >= (int)sizeof(replies[0]); i++, have -= sizeof(replies[0]))
			complete_one(&replies[i]);
		memmove(replies, &replies[i], have);
	}
}

static const struct block_device_operations disk_operations = { .owner = THIS_MODULE };

dev_t nodefs_disk_device(u32 disk)
{
	return disk < NODEFS_DISKS && disks[disk] ? disk_devt(disks[disk]) : 0;
}

static struct gendisk *make_disk(struct nodefs_call *call, struct disk *disk)
{
	u32 flags = disk->flags, sector = le32_to_cpu(call->request->mode);
	struct queue_limits limits = {
		.features = BLK_FEAT_WRITE_CACHE,
		.logical_block_size = sector,
		.physical_block_size = max(sector, 4096u),
		.max_segments = SEGMENTS,
		.max_segment_size = 1 << 20,
		.max_hw_sectors = (1 << 20) >> SECTOR_SHIFT,
		.io_opt = 1 << 20,	/* what is read one after the other comes in requests of this size */
		.max_hw_discard_sectors = flags & NODEFS_CAN_TRIM ? (1 << 30) >> SECTOR_SHIFT : 0,
		.discard_granularity = flags & NODEFS_CAN_TRIM ? max(sector, 4096u) : 0,
		.max_write_zeroes_sectors = flags & NODEFS_CAN_ZERO ? (1 << 30) >> SECTOR_SHIFT : 0,
	};
	struct gendisk *made = blk_mq_alloc_disk(&tags, &limits, disk);

	if (IS_ERR(made))
		return made;
	made->major = major;
	made->first_minor = disk->number;
	made->minors = 1;
	made->flags |= GENHD_FL_NO_PART;
	made->fops = &disk_operations;
	made->private_data = disk;
	snprintf(made->disk_name, sizeof(made->disk_name), "disk%u", disk->number);
	set_capacity(made, le64_to_cpu(call->request->size) >> SECTOR_SHIFT);
	set_disk_ro(made, flags & NODEFS_READ_ONLY);
	return made;
}

static int add(struct nodefs_call *call, u32 number)
{
	struct disk *disk = kzalloc(sizeof(*disk), GFP_KERNEL);
	struct gendisk *made;
	int error;

	if (!disk)
		return -ENOMEM;
	*disk = (struct disk){ number, le32_to_cpu(call->request->flags) };
	made = make_disk(call, disk);
	error = PTR_ERR_OR_ZERO(made);
	if (error)
		goto no_disk;
	error = add_disk(made);
	if (error)
		goto not_added;
	disks[number] = made;
	return 0;

not_added:
	put_disk(made);
no_disk:
	kfree(disk);
	return error;
}

/* `value` is the number of the disk, `size` its bytes, `mode` the bytes of a sector. */
int nodefs_attach(struct nodefs_call *call)
{
	u64 number = le64_to_cpu(call->request->value);
	u32 sector = le32_to_cpu(call->request->mode);
	int error = -EBUSY;

	if (number >= NODEFS_DISKS || sector < 512 || sector > 4096 || (sector & (sector - 1)))
		return -EINVAL;
	mutex_lock(&attaching);
	if (!disks[number])
		error = add(call, number);
	mutex_unlock(&attaching);
	return error;
}

int nodefs_detach(struct nodefs_call *call)
{
	u64 number = le64_to_cpu(call->request->value);
	struct gendisk *disk;
	void *private;

	mutex_lock(&attaching);
	disk = number < NODEFS_DISKS ? disks[number] : NULL;
	if (disk) {
		private = disk->private_data;
		disks[number] = NULL;
		del_gendisk(disk);
		put_disk(disk);
		kfree(private);
	}
	mutex_unlock(&attaching);
	return disk ? 0 : -ENODEV;
}

int nodefs_disks_start(void)
{
	int error;

	tags = (struct blk_mq_tag_set){
		.ops = &operations,
		.nr_hw_queues = 1,
		.queue_depth = DEPTH,
		.numa_node = NUMA_NO_NODE,
		.flags = BLK_MQ_F_SHOULD_MERGE,
	};
	major = register_blkdev(0, "nodefs");
	if (major < 0)
		return major;
	error = blk_mq_alloc_tag_set(&tags);
	return error ?: nodefs_line_open(NODEFS_LINE_DISKS, on_readable);
}

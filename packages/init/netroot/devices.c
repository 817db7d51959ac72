#include <linux/mman.h>
#include <linux/sched.h>
#include <linux/wait.h>

#include "../lib/io.h"
#include "contract.h"
#include "device.h"
#include "devices.h"
#include "keeper.h"
#include "tls.h"

static struct {
    struct nbd_device *list; /* in memory that the keeper shares */
    int count;
    long keeper; /* its process id; 0: not started yet, -1: ended */
    say_writer writer;
} devices;

int devices_open(say_writer writer)
{
    long shared = sys6(__NR_mmap, 0, DEVICES * sizeof *devices.list, PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared < 0)
        return 0;
    devices.list = (struct nbd_device *)shared;
    devices.writer = writer;
    return 1;
}

int devices_count(void)
{
    return devices.count;
}

int devices_use_tls(void)
{
    return devices.list[ROOT].uri.tls.used || devices.list[UPPER].uri.tls.used;
}

/* The keeper shares the descriptors and the devices, so that another one can take its place. */
static void start_keeper(void)
{
    struct text path = {0};
    devices.keeper = sys5(__NR_clone, CLONE_FILES | KEEPER_ENDED, 0, 0, 0, 0);
    if (devices.keeper == 0) {
        say_through(devices.writer);
        keeper_run(devices.list, DEVICES);
        sys1(__NR_exit_group, 0);
    }
    text_add(&path, "/proc/");
    text_add_number(&path, devices.keeper);
    text_add(&path, "/oom_score_adj");
    io_write_file(path.bytes, "-1000");
}

void devices_check_keeper(void)
{
    int status;
    if (devices.keeper <= 0 || sys4(__NR_wait4, devices.keeper, &status, WNOHANG | __WCLONE, 0) != devices.keeper)
        return;
    devices.keeper = -1;
    if (status & 0x7f) /* killed: it ends by itself only if there is nothing left to keep */
        start_keeper();
}

long devices_seconds_lost(void)
{
    long since = 0;
    for (int i = 0; i < devices.count; i++)
        if (devices.list[i].dead_since && (!since || devices.list[i].dead_since < since))
            since = devices.list[i].dead_since;
    return since ? (clock_now() - since) / SECOND : 0;
}

/* Only TLS_FOLDER stays in memory, and what TLS reads must be there when it connects again. */
static int stays(const char *path)
{
    const char *rest = text_after(path, TLS_FOLDER);
    return !*path || (rest && (*rest == '/' || !*rest));
}

int devices_attach(int index, const struct device_wish *wish, struct text *why)
{
    struct nbd_device *d = &devices.list[index];
    char secret[MAX_EXPORT];
    size_t secret_length = io_read_file(PATH_NBD_SECRET, secret, sizeof secret);
    d->index = index;
    d->timeout = wish->timeout;
    d->constant = !wish->writable;
    if (!uri_parse(&d->uri, wish->uri, why) || !uri_complete(&d->uri, secret, secret_length, why))
        return 0;
    if (!stays(d->uri.tls.folder) || !stays(d->uri.tls.keys)) {
        text_add(why, "certificates and keys must be in " TLS_FOLDER ": nothing else stays in memory");
        return 0;
    }
    /* What was written on one connection must be there on the other, and not come late: docs/stream.md. */
    if (wish->writable)
        d->uri.connections = 1;
    if (!device_attach(d, wish->wait, wish->stop, why))
        return 0;
    devices.count = index + 1;
    /* The server may go away while its filesystem is being mounted. */
    if (!devices.keeper)
        start_keeper();
    if (wish->writable && (d->export.flags & EXPORT_READ_ONLY)) {
        text_add(why, "the export is read-only");
        return 0;
    }
    return 1;
}

void devices_detach(void)
{
    for (int i = 0; i < devices.count; i++)
        device_detach(devices.list[i].index);
}

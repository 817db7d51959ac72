/*
 * The root, if it is on the network: mounts it under a layer for what is written, and moves the machine into it.
 *
 *     root=nbd[s]://HOST[:PORT]/EXPORT[?connections=N]   rootfstype=erofs   ro|rw
 *     nodeos.upper=tmpfs|nbd[s]://…   nodeos.nbd.wait=SECONDS   nodeos.nbd.timeout=SECONDS   nodeos.readahead=BYTES
 *
 * What the file PATH_NBD_SECRET in the initramfs has is the end of each export's name. The command line can be read by every
 * program of the machine, and by every user of its host.
 *
 * With `ro` (the default) the root is an overlay: below what the server has, above a tmpfs or an ext4 on another
 * export. With `rw` the export itself is the root.
 */
#ifndef NODEOS_ROOT_H
#define NODEOS_ROOT_H

#include <asm/signal.h>
#include <linux/mman.h>
#include <linux/openat2.h>
#include <linux/sched.h>

#include "console.h"
#include "machine.h"
#include "nbd-keeper.h"

#define AT_REMOVEDIR 0x200
#define WAIT 30 /* seconds for the server to come */
#define UPPER_SIZE "35%" /* of the memory: whoever fills the root must leave enough to start again */
/* The keeper's end; nothing else sends it. Its children are no children to wait4 without __WCLONE: the machine has
 * ended its programs when only the keeper is left. */
#define KEEPER_ENDED SIGURG

enum { ROOT, UPPER, DEVICES };

static struct {
    const char *source, *type, *upper;
    int writable;
    long wait, timeout, readahead;
    struct nbd_device *devices; /* shared with the keeper */
    int count;
    long upper_folder; /* where the upper filesystem is mounted, out of sight */
    long keeper;
} root = {.type = "erofs", .upper = "tmpfs", .wait = WAIT, .upper_folder = -1};

static int read_root_word(const char *word)
{
    const char *value;
    if ((value = after(word, "root=")))
        root.source = value;
    else if ((value = after(word, "rootfstype="))) {
        /* These two are of the kernel's own first root, not of ours. */
        if (!equal(value, "ramfs") && !equal(value, "tmpfs"))
            root.type = value;
    } else if (equal(word, "ro") || equal(word, "rw"))
        root.writable = word[1] == 'w';
    else if ((value = after(word, WORD_UPPER "=")))
        root.upper = value;
    else if ((value = after(word, WORD_NBD_WAIT "=")))
        root.wait = number(value);
    else if ((value = after(word, WORD_NBD_TIMEOUT "=")))
        root.timeout = number(value);
    else if ((value = after(word, WORD_READ_AHEAD "=")))
        root.readahead = number(value);
    else
        return 0;
    return 1;
}

static int no_root(const char *what, const char *why)
{
    SAY("mount root: ", what, ": ", why);
    return 0;
}

/* The keeper shares the descriptors and the devices, so that another one can take its place. */
static void start_keeper(void)
{
    struct text path = {0};
    root.keeper = sys5(__NR_clone, CLONE_FILES | KEEPER_ENDED, 0, 0, 0, 0);
    if (root.keeper == 0) {
        say_with = console_write_beside;
        keep_devices(root.devices, DEVICES);
        sys1(__NR_exit_group, 0);
    }
    add(&path, "/proc/");
    add_number(&path, root.keeper);
    add(&path, "/oom_score_adj");
    write_file(path.bytes, "-1000");
}

/* Called after every signal. */
static void check_keeper(void)
{
    int status;
    if (root.keeper <= 0 || sys4(__NR_wait4, root.keeper, &status, WNOHANG | __WCLONE, 0) != root.keeper)
        return;
    root.keeper = -1;
    if (status & 0x7f) /* killed: it ends by itself only if there is nothing left to keep */
        start_keeper();
}

/* Seconds since the last device lost its server; 0 if all are there. */
static long seconds_without_server(void)
{
    long since = 0;
    for (int i = 0; i < root.count; i++)
        if (root.devices[i].dead_since && (!since || root.devices[i].dead_since < since))
            since = root.devices[i].dead_since;
    return since ? (now() - since) / SECOND : 0;
}

/* What TLS takes from a file must be there when it connects again: only TLS_FOLDER stays in memory. */
static int stays(const char *path)
{
    const char *rest = after(path, TLS_FOLDER);
    return !*path || (rest && (*rest == '/' || !*rest));
}

static int attach_device(int index, const char *uri, int writable, int (*stop)(void))
{
    struct nbd_device *d = &root.devices[index];
    struct text why = {0};
    char secret[MAX_EXPORT];
    size_t secret_length = read_file(PATH_NBD_SECRET, secret, sizeof secret);
    d->index = index;
    d->timeout = root.timeout;
    d->constant = !writable;
    if (!parse_uri(&d->uri, uri, &why) || !complete_name(&d->uri, secret, secret_length, &why))
        return no_root(uri, why.bytes);
    if (!stays(d->uri.tls.folder) || !stays(d->uri.tls.keys))
        return no_root(uri, "certificates and keys must be in " TLS_FOLDER ": nothing else stays in memory");
    /* What was written on one connection must be there on the other, and not come late: docs/stream.md. */
    if (writable)
        d->uri.connections = 1;
    if (!nbd_attach_within(d, root.wait, stop, &why))
        return no_root(uri, why.bytes);
    root.count = index + 1;
    /* The server may go away while its filesystem is being mounted. */
    if (!root.keeper)
        start_keeper();
    if (writable && (d->export.flags & EXPORT_READ_ONLY))
        return no_root(uri, "the export is read-only");
    return 1;
}

static int mount_device(int index, const char *path, const char *type, long flags)
{
    char device[] = "/dev/nbd0";
    struct text why = {0};
    device[8] += index;
    long error = sys5(__NR_mount, device, path, type, flags, 0);
    if (error >= 0)
        return 1;
    add(&why, error == -ENODEV ? "the kernel does not know the filesystem " : "cannot be mounted as ");
    add(&why, type);
    if (error == -EINVAL)
        add(&why, ": there is none on it, or none that this kernel can read");
    else if (error != -ENODEV) {
        add(&why, ": ");
        add_error(&why, error);
    }
    return no_root(root.devices[index].uri.text, why.bytes);
}

/* Asks for the start of the root, where a filesystem has what it needs first, before it is needed: a few large requests
 * instead of hundreds of small ones, each of which somebody would wait for. Returns at once. */
static void read_ahead(long bytes)
{
    long fd = open_at("/dev/nbd0", O_RDONLY | O_CLOEXEC);
    for (long at = 0; fd >= 0 && at < bytes; at += READ_AHEAD << 10)
        sys3(__NR_readahead, fd, at, READ_AHEAD << 10);
    if (fd >= 0)
        sys1(__NR_close, fd);
}

/* Whether folders of the root can be renamed without being copied. In a layer that is kept they must not: it would name
 * them to the root's next version, which may have others there.
 * https://docs.kernel.org/filesystems/overlayfs.html#changes-to-underlying-filesystems */
#define LAYERS "lowerdir=/lower,upperdir=/upper/upper,workdir=/upper/work,redirect_dir="

/* Mounts the new root on /new. */
static int mount_layers(int (*stop)(void))
{
    static const char *const FOLDERS[] = {"/new", "/lower", "/upper"};
    for (size_t i = 0; i < sizeof FOLDERS / sizeof *FOLDERS; i++)
        sys2(__NR_mkdir, FOLDERS[i], 0755);
    if (!attach_device(ROOT, root.source, root.writable, stop))
        return 0;
    if (root.writable)
        return mount_device(ROOT, "/new", root.type, 0);
    if (!mount_device(ROOT, "/lower", root.type, MS_RDONLY))
        return 0;
    read_ahead(root.readahead);
    int is_kept = !equal(root.upper, "tmpfs");
    if (!is_kept)
        sys5(__NR_mount, "tmpfs", "/upper", "tmpfs", 0, "mode=755,size=" UPPER_SIZE);
    else if (!attach_device(UPPER, root.upper, 1, stop) || !mount_device(UPPER, "/upper", "ext4", MS_NOATIME))
        return 0;
    root.upper_folder = open_at("/upper", O_PATH | O_DIRECTORY);
    sys2(__NR_mkdir, "/upper/upper", 0755);
    sys2(__NR_mkdir, "/upper/work", 0755);
    long error = sys5(__NR_mount, "overlay", "/new", "overlay", 0, is_kept ? LAYERS "follow" : LAYERS "on");
    if (error >= 0)
        return 1;
    struct text why = {0};
    add_error(&why, error);
    return no_root("overlay", why.bytes);
}

/* Removes everything below a folder that is in the same filesystem, but one of its entries. */
static void remove_all(long folder, const char *but)
{
    struct open_how how = {O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0, RESOLVE_NO_XDEV};
    char buffer[1024] __attribute__((aligned(8)));
    long n;
    while ((n = sys3(__NR_getdents64, folder, buffer, sizeof buffer)) > 0)
        for (long at = 0; at < n; at += ((struct entry *)(buffer + at))->size) {
            const char *name = ((struct entry *)(buffer + at))->name;
            if (equal(name, ".") || equal(name, "..") || equal(name, but))
                continue;
            long inner = sys4(__NR_openat2, folder, name, &how, sizeof how);
            if (inner >= 0) {
                remove_all(inner, "");
                sys1(__NR_close, inner);
            }
            sys3(__NR_unlinkat, folder, name, inner >= 0 ? AT_REMOVEDIR : 0);
        }
}

/* Makes /new the root; what the initramfs brought leaves memory, but for what TLS needs to connect again. PID 1's own
 * code stays: it runs. */
static void switch_root(void)
{
    long old = open_at("/", O_RDONLY | O_DIRECTORY);
    int with_tls = root.devices[ROOT].uri.tls.used || root.devices[UPPER].uri.tls.used;
    for (size_t i = 0; i < sizeof MOUNTS / sizeof *MOUNTS; i++) {
        struct text target = {0};
        add(&target, "/new");
        add(&target, MOUNTS[i].path);
        sys2(__NR_mkdir, target.bytes, 0755);
        sys5(__NR_mount, MOUNTS[i].path, target.bytes, 0, MS_MOVE, 0);
    }
    sys1(__NR_chdir, "/new");
    sys5(__NR_mount, ".", "/", 0, MS_MOVE, 0);
    sys1(__NR_chroot, ".");
    sys1(__NR_chdir, "/");
    remove_all(old, with_tls ? after(TLS_FOLDER, "/") : "");
    if (with_tls)
        tls.root = old;
    else
        sys1(__NR_close, old);
}

/* Returns success, which it is too if the root is not on the network. stop() says whether the machine is to end. */
static int mount_root(int (*stop)(void))
{
    if (!root.source || !after(root.source, "nbd"))
        return 1;
    long shared = sys6(__NR_mmap, 0, DEVICES * sizeof *root.devices, PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared < 0)
        return no_root(root.source, "out of memory");
    root.devices = (struct nbd_device *)shared;
    find_servers();
    if (!mount_layers(stop))
        return 0;
    switch_root();
    return 1;
}

/* The end of the layers: nothing of them is written afterwards. */
static void put_root_away(void)
{
    if (root.count == 0)
        return;
    sys5(__NR_mount, 0, "/", 0, MS_REMOUNT | MS_RDONLY, 0);
    if (root.upper_folder >= 0 && sys1(__NR_fchdir, root.upper_folder) == 0)
        sys5(__NR_mount, 0, ".", 0, MS_REMOUNT | MS_RDONLY, 0);
    sys1(__NR_chdir, "/");
}

static void detach_all(void)
{
    for (int i = 0; i < root.count; i++)
        nbd_detach(root.devices[i].index);
}

#endif

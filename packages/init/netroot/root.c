#include <linux/mount.h>

#include "../lib/folder.h"
#include "../lib/io.h"
#include "contract.h"
#include "device.h"
#include "devices.h"
#include "resolve.h"
#include "root.h"
#include "tls.h"

#define WAIT 30          /* seconds for the server to come */
#define UPPER_SIZE "35%" /* of the memory: enough must be left to start again when somebody fills the root */

static struct {
    const char *source, *type, *upper;
    int writable;
    long wait, timeout, readahead;
    long upper_folder; /* the upper filesystem: no path leads to it */
} root = {.type = "erofs", .upper = "tmpfs", .wait = WAIT, .upper_folder = -1};

int root_read_word(const char *word)
{
    const char *value;
    if ((value = text_after(word, "root=")))
        root.source = value;
    else if ((value = text_after(word, "rootfstype="))) {
        /* These two are about the kernel's own first root. */
        if (!text_equal(value, "ramfs") && !text_equal(value, "tmpfs"))
            root.type = value;
    } else if (text_equal(word, "ro") || text_equal(word, "rw"))
        root.writable = word[1] == 'w';
    else if ((value = text_after(word, WORD_UPPER "=")))
        root.upper = value;
    else if ((value = text_after(word, WORD_NBD_WAIT "=")))
        root.wait = text_number(value);
    else if ((value = text_after(word, WORD_NBD_TIMEOUT "=")))
        root.timeout = text_number(value);
    else if ((value = text_after(word, WORD_READ_AHEAD "=")))
        root.readahead = text_number(value);
    else
        return 0;
    return 1;
}

static int no_root(const char *what, const char *why)
{
    SAY("mount root: ", what, ": ", why);
    return 0;
}

static int attach(int index, const char *uri, int writable, const struct root_host *host)
{
    struct device_wish wish = {uri, writable, root.wait, root.timeout, host->stop};
    struct text why = {0};
    return devices_attach(index, &wish, &why) || no_root(uri, why.bytes);
}

static int mount_device(int index, const char *path, const char *type, long flags)
{
    char device[] = "/dev/nbd0";
    struct text why = {0};
    device[8] += index;
    long error = sys5(__NR_mount, device, path, type, flags, 0);
    if (error >= 0)
        return 1;
    text_add(&why, error == -ENODEV ? "the kernel does not know the filesystem " : "cannot be mounted as ");
    text_add(&why, type);
    if (error == -EINVAL)
        text_add(&why, ": there is none on it, or none that this kernel can read");
    else if (error != -ENODEV) {
        text_add(&why, ": ");
        say_add_error(&why, error);
    }
    return no_root(index == ROOT ? root.source : root.upper, why.bytes);
}

/* Asks for the start of the root, where a filesystem has what it needs first, before it is needed: a few large requests
 * replace hundreds of small ones, each with a wait of its own. Returns at once. */
static void read_ahead(long bytes)
{
    long fd = io_open("/dev/nbd0", O_RDONLY);
    for (long at = 0; fd >= 0 && at < bytes; at += DEVICE_READ_AHEAD << 10)
        sys3(__NR_readahead, fd, at, DEVICE_READ_AHEAD << 10);
    if (fd >= 0)
        sys1(__NR_close, fd);
}

/* With redirect_dir=on a folder of the root is renamed without a copy: the layer refers to it by its name. A layer that
 * is kept must not do that: the root's next version may have another folder of that name.
 * https://docs.kernel.org/filesystems/overlayfs.html#changes-to-underlying-filesystems */
#define LAYERS "lowerdir=/lower,upperdir=/upper/upper,workdir=/upper/work,redirect_dir="

/* Mounts the new root on /new. */
static int mount_layers(const struct root_host *host)
{
    static const char *const FOLDERS[] = {"/new", "/lower", "/upper"};
    for (size_t i = 0; i < sizeof FOLDERS / sizeof *FOLDERS; i++)
        sys_mkdir(FOLDERS[i], 0755);
    if (!attach(ROOT, root.source, root.writable, host))
        return 0;
    if (root.writable)
        return mount_device(ROOT, "/new", root.type, 0);
    if (!mount_device(ROOT, "/lower", root.type, MS_RDONLY))
        return 0;
    read_ahead(root.readahead);
    int is_kept = !text_equal(root.upper, "tmpfs");
    if (!is_kept)
        sys5(__NR_mount, "tmpfs", "/upper", "tmpfs", 0, "mode=755,size=" UPPER_SIZE);
    else if (!attach(UPPER, root.upper, 1, host) || !mount_device(UPPER, "/upper", "ext4", MS_NOATIME))
        return 0;
    root.upper_folder = io_open("/upper", O_PATH | O_DIRECTORY);
    sys_mkdir("/upper/upper", 0755);
    sys_mkdir("/upper/work", 0755);
    long error = sys5(__NR_mount, "overlay", "/new", "overlay", 0, is_kept ? LAYERS "follow" : LAYERS "on");
    if (error >= 0)
        return 1;
    struct text why = {0};
    say_add_error(&why, error);
    return no_root("overlay", why.bytes);
}

/* Makes /new the root. What the initramfs brought leaves memory, but for what TLS needs to connect again, and for PID
 * 1's own code, which runs. */
static void switch_root(const struct root_host *host)
{
    long old = io_open("/", O_RDONLY | O_DIRECTORY);
    int with_tls = devices_use_tls();
    host->move_mounts("/new");
    sys1(__NR_chdir, "/new");
    sys5(__NR_mount, ".", "/", 0, MS_MOVE, 0);
    sys1(__NR_chroot, ".");
    sys1(__NR_chdir, "/");
    folder_remove_all(old, with_tls ? text_after(TLS_FOLDER, "/") : "");
    if (with_tls)
        tls_set_folder(old);
    else
        sys1(__NR_close, old);
}

int root_mount(const struct root_host *host)
{
    if (!root.source || !text_after(root.source, "nbd"))
        return 1;
    if (!devices_open(host->keeper))
        return no_root(root.source, "out of memory");
    resolve_find_servers();
    if (!mount_layers(host))
        return 0;
    switch_root(host);
    return 1;
}

void root_put_away(void)
{
    if (devices_count() == 0)
        return;
    sys5(__NR_mount, 0, "/", 0, MS_REMOUNT | MS_RDONLY, 0);
    if (root.upper_folder >= 0 && sys1(__NR_fchdir, root.upper_folder) == 0)
        sys5(__NR_mount, 0, ".", 0, MS_REMOUNT | MS_RDONLY, 0);
    sys1(__NR_chdir, "/");
}

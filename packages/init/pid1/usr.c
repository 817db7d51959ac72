#include "../lib/say.h"
#include "../lib/sys.h"
#include "../lib/text.h"
#include "contract.h"
#include "mounts.h"
#include "partition.h"
#include "superblock.h"
#include "usr.h"

static struct { const char *source, *type, *options; } usr = {.type = "erofs"};
static const char *data;

int usr_read_word(const char *word)
{
    const char *value;
    if ((value = text_after(word, WORD_USR "=")))
        usr.source = value;
    else if ((value = text_after(word, WORD_USR_TYPE "=")))
        usr.type = value;
    else if ((value = text_after(word, WORD_USR_FLAGS "=")))
        usr.options = value;
    else if ((value = text_after(word, WORD_DATA "=")))
        data = value;
    else
        return 0;
    return 1;
}

/* Returns the path of the device, or 0 if no disk has it. */
static const char *find_device(const char *source, int writable, struct text *device)
{
    if (!partition_is_named(source))
        return source;
    return partition_find(source, writable, device) ? device->bytes : 0;
}

int usr_mount(void)
{
    struct text text = {0};
    if (!usr.source || !*usr.source)
        return 1;
    const char *device = find_device(usr.source, 0, &text);
    return device && mounts_add(device, "/usr", usr.type, MS_RDONLY | MS_NODEV | MS_NOSUID, usr.options);
}

static int mount_data(const char *device, long flags)
{
    return mounts_add(device, PATH_DATA, "ext4", flags | MS_NODEV | MS_NOSUID | MS_NOATIME, "errors=remount-ro");
}

/*
 * A power cut while they grew may have left a superblock that knows of more groups than there are descriptors on the disk.
 * Those are in the journal, but before it replays that, the kernel refuses such a filesystem, unless it is to be read only.
 */
void usr_mount_data(void)
{
    struct text text = {0};
    const char *device = data && *data ? find_device(data, 1, &text) : 0;
    if (!device || mount_data(device, 0))
        return;
    superblock_mend(device);
    if (!mount_data(device, MS_RDONLY))
        return;
    sys2(__NR_umount2, PATH_DATA, 0);
    if (mount_data(device, 0))
        SAY(PATH_DATA, " is whole again: its journal has been replayed");
}

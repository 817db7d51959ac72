#include "../lib/text.h"
#include "contract.h"
#include "mounts.h"
#include "partition.h"
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

/* Returns success, also if there is no such disk. */
static int mount_disk(const char *source, const char *path, const char *type, long flags, const char *options)
{
    struct text device = {0};
    if (!source || !*source)
        return 1;
    if (partition_is_named(source)) {
        if (!partition_find(source, !(flags & MS_RDONLY), &device))
            return 0;
        source = device.bytes;
    }
    return mounts_add(source, path, type, flags, options);
}

int usr_mount(void)
{
    return mount_disk(usr.source, "/usr", usr.type, MS_RDONLY | MS_NODEV | MS_NOSUID, usr.options);
}

void usr_mount_data(void)
{
    mount_disk(data, PATH_DATA, "ext4", MS_NODEV | MS_NOSUID | MS_NOATIME, "errors=remount-ro");
}

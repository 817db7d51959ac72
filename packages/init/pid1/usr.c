#include "../lib/text.h"
#include "contract.h"
#include "mounts.h"
#include "usr.h"

static struct { const char *source, *type, *options; } usr = {.type = "erofs"};

int usr_read_word(const char *word)
{
    const char *value;
    if ((value = text_after(word, WORD_USR "=")))
        usr.source = value;
    else if ((value = text_after(word, WORD_USR_TYPE "=")))
        usr.type = value;
    else if ((value = text_after(word, WORD_USR_FLAGS "=")))
        usr.options = value;
    else
        return 0;
    return 1;
}

int usr_mount(void)
{
    if (!usr.source || !*usr.source)
        return 1;
    return mounts_add(usr.source, "/usr", usr.type, MS_RDONLY | MS_NODEV | MS_NOSUID, usr.options);
}

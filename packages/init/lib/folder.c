#include "folder.h"
#include "io.h"
#include "text.h"

/* As getdents64(2) has it. */
struct entry {
    unsigned long inode;
    long offset;
    unsigned short size;
    unsigned char type;
    char name[];
};

void folder_each(const char *folder, void (*visit)(const char *name))
{
    static char buffer[4096] __attribute__((aligned(8)));
    long fd = io_open(folder, O_RDONLY | O_DIRECTORY), n;
    if (fd < 0)
        return;
    while ((n = sys3(__NR_getdents64, fd, buffer, sizeof buffer)) > 0)
        for (long at = 0; at < n; at += ((struct entry *)(buffer + at))->size) {
            const char *name = ((struct entry *)(buffer + at))->name;
            if (name[0] != '.')
                visit(name);
        }
    sys1(__NR_close, fd);
}

void folder_remove_all(long folder, const char *but)
{
    struct open_how how = {O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0, RESOLVE_NO_XDEV};
    char buffer[1024] __attribute__((aligned(8)));
    long n;
    while ((n = sys3(__NR_getdents64, folder, buffer, sizeof buffer)) > 0)
        for (long at = 0; at < n; at += ((struct entry *)(buffer + at))->size) {
            const char *name = ((struct entry *)(buffer + at))->name;
            if (text_equal(name, ".") || text_equal(name, "..") || text_equal(name, but))
                continue;
            long inner = sys4(__NR_openat2, folder, name, &how, sizeof how);
            if (inner >= 0) {
                folder_remove_all(inner, "");
                sys1(__NR_close, inner);
            }
            sys3(__NR_unlinkat, folder, name, inner >= 0 ? AT_REMOVEDIR : 0);
        }
}

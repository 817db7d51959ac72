#include "../lib/io.h"
#include "console.h"
#include "log.h"
#include "mounts.h"

#define FOLDER "/var/log"
#define LOG "app.log"
#define HALF (512 << 10) /* bytes; the log is at most two files of this size */

static long log_folder = -1, log_fd = -1, log_size;

void log_open(void)
{
    sys_mkdir("/var", 0755);
    sys_mkdir(FOLDER, 0755);
    mounts_add("tmpfs", FOLDER, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755,size=1100k,nr_inodes=16");
    log_folder = io_open(FOLDER, O_PATH | O_DIRECTORY);
}

static void keep(const char *bytes, size_t n)
{
    console_write(bytes, n);
    if (log_fd < 0 || log_size + (long)n > HALF) {
        if (log_fd >= 0) {
            sys1(__NR_close, log_fd);
            sys4(__NR_renameat, log_folder, LOG, log_folder, LOG ".1");
        }
        log_fd = io_open_in(log_folder, LOG, O_WRONLY | O_CREAT | O_TRUNC);
        log_size = 0;
    }
    if (log_fd >= 0)
        io_write_all(log_fd, bytes, n);
    log_size += n;
}

long log_pump(long from)
{
    static char bytes[16 << 10];
    long n = sys3(__NR_read, from, bytes, sizeof bytes);
    if (n > 0)
        keep(bytes, n);
    return n;
}

void log_drain(long from)
{
    for (long all = 0, n; all < PIPE_SIZE && (n = log_pump(from)) > 0; all += n)
        ;
}

/*
 * The log of the application's output: the current half and the one before it, in /var/log.
 */
#ifndef NODEOS_LOG_H
#define NODEOS_LOG_H

#include "console.h"
#include "machine.h"

#define LOG_FOLDER "/var/log"
#define LOG "app.log"
#define LOG_HALF (512 << 10) /* bytes; the log is at most two files of this size */

static long log_folder = -1, log_fd = -1, log_size;

/* Once the root is there: later, the way to the folder may lead over a server that is gone. Memory of its own: whoever
 * fills the root does not silence the log, and PID 1 never waits for a server. */
static void open_log(void)
{
    sys2(__NR_mkdir, "/var", 0755);
    sys2(__NR_mkdir, LOG_FOLDER, 0755);
    mount_one("tmpfs", LOG_FOLDER, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755,size=1100k,nr_inodes=16");
    log_folder = open_at(LOG_FOLDER, O_PATH | O_DIRECTORY);
}

/* Output goes to the console and to the log. */
static void keep(const char *bytes, size_t n)
{
    console_write(bytes, n);
    if (log_fd < 0 || log_size + (long)n > LOG_HALF) {
        if (log_fd >= 0) {
            sys1(__NR_close, log_fd);
            sys4(__NR_renameat, log_folder, LOG, log_folder, LOG ".1");
        }
        log_fd = sys4(__NR_openat, log_folder, LOG, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        log_size = 0;
    }
    if (log_fd >= 0)
        write_all(log_fd, bytes, n);
    log_size += n;
}

/* One piece: who writes without end must not keep PID 1 from everything else. Returns its size. */
static long pump_output(long from)
{
    static char bytes[16 << 10];
    long n = sys3(__NR_read, from, bytes, sizeof bytes);
    if (n > 0)
        keep(bytes, n);
    return n;
}

/* What is in the pipe when its writer has ended: its last words come before what is said about it. */
static void drain_output(long from)
{
    for (long all = 0, n; all < PIPE_SIZE && (n = pump_output(from)) > 0; all += n)
        ;
}

#endif

/*
 * The log of the application's output: the current half and the one before it, in /var/log.
 */
#ifndef NODEOS_LOG_H
#define NODEOS_LOG_H

#include "io.h"

#define LOG_FOLDER "/var/log"
#define LOG "app.log"
#define LOG_HALF (512 << 10) /* bytes; the log is at most two files of this size */

static long log_folder = -1, log_fd = -1, log_size;

/* Once the root is there: later, the way to the folder may lead over a server that is gone. */
static void open_log(void)
{
    log_folder = open_at(LOG_FOLDER, O_PATH | O_DIRECTORY);
}

/* Output goes to the console and to the log. */
static void keep(const char *bytes, size_t n)
{
    write_all(1, bytes, n);
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

static void pump_output(long from)
{
    static char bytes[4096];
    long n;
    while ((n = sys3(__NR_read, from, bytes, sizeof bytes)) > 0)
        keep(bytes, n);
}

#endif

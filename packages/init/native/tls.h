/*
 * TLS on a connection: a program of its own shakes hands (packages/init/tls/handshake.c), with Mbed TLS, and gives the
 * keys to the kernel. After that the connection is read and written as if it were in the clear, by the kernel's NBD too.
 *
 * The program, and certificates or keys, are in the folder /tls of the initramfs. It stays there, out of sight, when the
 * machine moves to its root: a connection that is lost is made again without anything that is on that root.
 */
#ifndef NODEOS_TLS_H
#define NODEOS_TLS_H

#include <asm/poll.h>
#include <asm/signal.h>

#include "contract.h"
#include "io.h"
#include "nbd-uri.h"

#define TLS_FOLDER PATH_TLS
#define TLS_PROGRAM PATH_TLS_HANDSHAKE
#define NOT_STARTED 127 /* as a shell has it */
#define SHARED_KEYS "keys.psk" /* in the folder, if there is a user but no file */

static struct {
    long root;           /* the initramfs, when it is no longer the root; -1: it still is */
    const char *program;
} tls = {-1, TLS_PROGRAM};

/* Does not return. */
static void run_handshake(const struct nbd_tls *t, long fd, long output)
{
    struct text keys = {0};
    const char *words[10], **word = words;
    const char *folder = *t->folder ? t->folder : TLS_FOLDER, *none[] = {0};
    *word++ = tls.program;
    *word++ = "-n";
    *word++ = t->name;
    if (t->any)
        *word++ = "-k";
    if (*t->user) {
        *word++ = "-u";
        *word++ = t->user;
    }
    if (*t->user || *t->keys) {
        add(&keys, *t->keys ? t->keys : folder);
        add(&keys, *t->keys ? "" : "/" SHARED_KEYS);
        *word++ = "-p";
        *word++ = keys.bytes;
    }
    *word++ = folder;
    *word = 0;
    if (tls.root >= 0 && (sys1(__NR_fchdir, tls.root) < 0 || sys1(__NR_chroot, ".") < 0))
        sys1(__NR_exit_group, NOT_STARTED);
    sys2(__NR_dup2, fd, 0);
    sys2(__NR_dup2, output, 1);
    sys3(__NR_execve, tls.program, words, none);
    sys1(__NR_exit_group, NOT_STARTED);
}

/* All that a program says, in one line. Returns whether it has ended by then. */
static int hear(long fd, long deadline, struct text *said)
{
    char bytes[256];
    for (;;) {
        struct pollfd poll = {fd, POLLIN, 0};
        long left = (deadline - now()) / 1000;
        if (left <= 0 || sys3(__NR_poll, &poll, 1, left) <= 0)
            return 0;
        long n = sys3(__NR_read, fd, bytes, sizeof bytes);
        if (n <= 0)
            return 1;
        for (long i = 0; i < n; i++)
            if (bytes[i] >= ' ' && bytes[i] <= '~')
                add_bytes(said, bytes + i, 1);
    }
}

/* As the program's status. From TLS_ALERT on: the server has ended it with the alert of that number above TLS_ALERT. */
enum { TLS_DONE, TLS_ANOTHER_TIME, TLS_NEVER, TLS_ALERT = 128 };

/* Secures a connection; if it does not, why says why. */
static int tls_begin(const struct nbd_tls *t, long fd, long deadline, struct text *why)
{
    int pipe[2], status = 0;
    long error = sys2(__NR_pipe2, pipe, O_CLOEXEC);
    if (error < 0) {
        add_error(why, error);
        return TLS_ANOTHER_TIME;
    }
    long pid = sys0(__NR_fork);
    if (pid == 0)
        run_handshake(t, fd, pipe[1]);
    sys1(__NR_close, pipe[1]);
    if (!hear(pipe[0], deadline, why) && pid > 0)
        sys2(__NR_kill, pid, SIGKILL);
    sys1(__NR_close, pipe[0]);
    if (pid < 0)
        add_error(why, pid);
    if (pid < 0 || sys4(__NR_wait4, pid, &status, 0, 0) != pid)
        return TLS_ANOTHER_TIME;
    int signal = status & 0x7f, code = status >> 8;
    if (signal == SIGALRM || signal == SIGKILL)
        add(why, "no answer in time to the TLS handshake");
    else if (signal) {
        add(why, "the TLS handshake ended with signal ");
        add_number(why, signal);
    } else if (code == NOT_STARTED) {
        add(why, tls.program);
        add(why, " cannot be started; for root=nbds:// it comes with nodeos build --tls");
    }
    return signal ? TLS_ANOTHER_TIME : code == NOT_STARTED ? TLS_NEVER : code;
}

#endif

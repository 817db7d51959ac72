#include <asm/poll.h>
#include <asm/signal.h>

#include "../lib/clock.h"
#include "../lib/io.h"
#include "../lib/say.h"
#include "tls.h"

#define NOT_STARTED 127        /* as a shell has it */
#define SHARED_KEYS "keys.psk" /* in the folder, if there is a user but no file */

static struct {
    long root; /* the initramfs, when it is no longer the root; else -1 */
    const char *program;
} tls = {-1, PATH_TLS_HANDSHAKE};

void tls_set_program(const char *path)
{
    tls.program = path;
}

void tls_set_folder(long initramfs)
{
    tls.root = initramfs;
}

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
        text_add(&keys, *t->keys ? t->keys : folder);
        text_add(&keys, *t->keys ? "" : "/" SHARED_KEYS);
        *word++ = "-p";
        *word++ = keys.bytes;
    }
    *word++ = folder;
    *word = 0;
    if (tls.root >= 0 && (sys1(__NR_fchdir, tls.root) < 0 || sys1(__NR_chroot, ".") < 0))
        sys1(__NR_exit_group, NOT_STARTED);
    sys_dup2(fd, 0);
    sys_dup2(output, 1);
    sys3(__NR_execve, tls.program, words, none);
    sys1(__NR_exit_group, NOT_STARTED);
}

/* Appends all that a program says, as one line. Returns whether the program has ended by then. */
static int hear(long fd, long deadline, struct text *said)
{
    char bytes[256];
    for (;;) {
        struct pollfd poll = {fd, POLLIN, 0};
        long left = clock_left(deadline);
        if (left == 0 || sys_poll(&poll, 1, left) <= 0)
            return 0;
        long n = sys3(__NR_read, fd, bytes, sizeof bytes);
        if (n <= 0)
            return 1;
        for (long i = 0; i < n; i++)
            if (bytes[i] >= ' ' && bytes[i] <= '~')
                text_add_bytes(said, bytes + i, 1);
    }
}

int tls_begin(const struct nbd_tls *t, long fd, long deadline, struct text *why)
{
    int pipe[2], status = 0;
    long error = sys2(__NR_pipe2, pipe, O_CLOEXEC);
    if (error < 0) {
        say_add_error(why, error);
        return TLS_ANOTHER_TIME;
    }
    long pid = sys_fork();
    if (pid == 0)
        run_handshake(t, fd, pipe[1]);
    sys1(__NR_close, pipe[1]);
    if (!hear(pipe[0], deadline, why) && pid > 0)
        sys2(__NR_kill, pid, SIGKILL);
    sys1(__NR_close, pipe[0]);
    if (pid < 0)
        say_add_error(why, pid);
    if (pid < 0 || sys4(__NR_wait4, pid, &status, 0, 0) != pid)
        return TLS_ANOTHER_TIME;
    int signal = status & 0x7f, code = status >> 8;
    if (signal == SIGALRM || signal == SIGKILL)
        text_add(why, "no answer in time to the TLS handshake");
    else if (signal) {
        text_add(why, "the TLS handshake ended with signal ");
        text_add_number(why, signal);
    } else if (code == NOT_STARTED) {
        text_add(why, tls.program);
        text_add(why, " cannot be started; for root=nbds:// it comes with nodeos build --tls");
    }
    return signal ? TLS_ANOTHER_TIME : code == NOT_STARTED ? TLS_NEVER : code;
}

/*
 * System calls without a C library.
 *
 * PID 1 and the addon of the init are freestanding: they do not depend on the C library of the machine that builds
 * them, so they come out the same everywhere, run beside any C library, and PID 1 stays a few dozen kilobytes.
 *
 * Leaves out: errno (a result below zero is the negated error), variadic calls, every architecture without a header in
 * arch/. Such a header has sys6 and START. Calls that newer architectures do not have (fork, pause, mkdir, dup2, poll)
 * are made of those that all have.
 */
#ifndef NODEOS_SYS_H
#define NODEOS_SYS_H

#include <asm/signal.h>
#include <asm/unistd.h>
#include <linux/fcntl.h>
#include <linux/time_types.h>

typedef unsigned long size_t;
typedef long ssize_t;

#ifdef __x86_64__
#include "arch/x86_64.h"
#elif defined __aarch64__
#include "arch/aarch64.h"
#else
#error "lib/arch knows no system calls for this architecture yet"
#endif

/* sysN(number of the call, N arguments): integers or pointers. Returns what the kernel does. */
#define SYS_L(x) ((long)(x))
#define sys0(nr) sys6(nr, 0, 0, 0, 0, 0, 0)
#define sys1(nr, a) sys6(nr, SYS_L(a), 0, 0, 0, 0, 0)
#define sys2(nr, a, b) sys6(nr, SYS_L(a), SYS_L(b), 0, 0, 0, 0)
#define sys3(nr, a, b, c) sys6(nr, SYS_L(a), SYS_L(b), SYS_L(c), 0, 0, 0)
#define sys4(nr, a, b, c, d) sys6(nr, SYS_L(a), SYS_L(b), SYS_L(c), SYS_L(d), 0, 0)
#define sys5(nr, a, b, c, d, e) sys6(nr, SYS_L(a), SYS_L(b), SYS_L(c), SYS_L(d), SYS_L(e), 0)

#define sys_fork() sys5(__NR_clone, SIGCHLD, 0, 0, 0, 0)
#define sys_pause() sys4(__NR_ppoll, 0, 0, 0, 0)
#define sys_mkdir(path, mode) sys3(__NR_mkdirat, AT_FDCWD, path, mode)
#define sys_dup2(from, to) sys3(__NR_dup3, from, to, 0)

struct pollfd;

/* As poll(2): below zero milliseconds there is no limit. */
static inline long sys_poll(struct pollfd *fds, long count, long milliseconds)
{
    struct __kernel_timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    return sys5(__NR_ppoll, fds, count, milliseconds < 0 ? 0 : &time, 0, 0);
}

/* As in C. They are in freestanding.c. */
void *memset(void *to, int value, size_t n);
void *memcpy(void *to, const void *from, size_t n);

#endif

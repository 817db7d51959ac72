/*
 * System calls without a C library.
 *
 * PID 1 and the addon of the init are freestanding: they do not depend on the C library of the machine that builds
 * them, so they come out the same everywhere, run beside any C library, and PID 1 stays a few dozen kilobytes.
 *
 * Calling convention: System V ABI, AMD64 supplement, appendix A.2.1 (Linux kernel conventions).
 * Leaves out: errno (a result below zero is the negated error), variadic calls, every architecture but x86_64.
 */
#ifndef NODEOS_SYS_H
#define NODEOS_SYS_H

#include <asm/unistd.h>

typedef unsigned long size_t;
typedef long ssize_t;

#ifndef __x86_64__
#error "sys.h knows no system calls for this architecture yet"
#endif

static inline long sys6(long nr, long a, long b, long c, long d, long e, long f)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

/* sys(nr, up to four arguments): integers or pointers. */
#define SYS_L(x) ((long)(x))
#define sys0(nr) sys6(nr, 0, 0, 0, 0, 0, 0)
#define sys1(nr, a) sys6(nr, SYS_L(a), 0, 0, 0, 0, 0)
#define sys2(nr, a, b) sys6(nr, SYS_L(a), SYS_L(b), 0, 0, 0, 0)
#define sys3(nr, a, b, c) sys6(nr, SYS_L(a), SYS_L(b), SYS_L(c), 0, 0, 0)
#define sys4(nr, a, b, c, d) sys6(nr, SYS_L(a), SYS_L(b), SYS_L(c), SYS_L(d), 0, 0)
#define sys5(nr, a, b, c, d, e) sys6(nr, SYS_L(a), SYS_L(b), SYS_L(c), SYS_L(d), SYS_L(e), 0)

/* In freestanding.c. */
void *memset(void *to, int value, size_t n);
void *memcpy(void *to, const void *from, size_t n);

static inline size_t length(const char *s)
{
    size_t n = 0;
    while (s[n])
        n++;
    return n;
}

#endif

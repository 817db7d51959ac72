/*
 * x86_64: how a program starts, and how it calls the kernel. Included by sys.h alone.
 * System V ABI, AMD64 supplement, sections 3.4.1 and A.2.1.
 */
#ifndef NODEOS_ARCH_X86_64_H
#define NODEOS_ARCH_X86_64_H

/* Any system call. Returns what the kernel does: below zero it is the negated error. */
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

/* Newer architectures have these under other names and with other arguments: fork(2), pause(2), mkdir(2), dup2(2), and
 * poll(2), which takes milliseconds. */
#define sys_fork() sys6(__NR_fork, 0, 0, 0, 0, 0, 0)
#define sys_pause() sys6(__NR_pause, 0, 0, 0, 0, 0, 0)
#define sys_mkdir(path, mode) sys6(__NR_mkdir, (long)(path), mode, 0, 0, 0, 0)
#define sys_dup2(from, to) sys6(__NR_dup2, from, to, 0, 0, 0, 0)
#define sys_poll(fds, count, milliseconds) sys6(__NR_poll, (long)(fds), count, milliseconds, 0, 0, 0)

/* Makes a function the program's start: void function(long *stack), which must not return. The stack begins with the
 * number of words, then the words, the first of which is the program's name. The kernel enters with a stack that is
 * aligned to 16 bytes and has no return address. */
#define START(function)                                                                                                \
    __attribute__((noreturn, used, externally_visible)) void function(long *stack);                                    \
    __asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tcall " #function "\n")

#endif

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

/* Makes a function the program's start: void function(long *stack), which must not return. The stack begins with the
 * number of words, then the words, the first of which is the program's name. The kernel enters with a stack that is
 * aligned to 16 bytes and has no return address. */
#define START(function)                                                                                                \
    __attribute__((noreturn, used, externally_visible)) void function(long *stack);                                    \
    __asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tcall " #function "\n")

#endif

/*
 * aarch64: how a program starts, and how it calls the kernel. Included by sys.h alone.
 * Procedure Call Standard for the Arm 64-bit Architecture; arch/arm64/kernel/entry.S in the kernel's source.
 */
#ifndef NODEOS_ARCH_AARCH64_H
#define NODEOS_ARCH_AARCH64_H

/* Any system call. Returns what the kernel does: below zero it is the negated error. */
static inline long sys6(long nr, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = nr;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory", "cc");
    return x0;
}

/* Makes a function the program's start: void function(long *stack), which must not return. The stack begins with the
 * number of words, then the words, the first of which is the program's name. The kernel enters with a stack that is
 * aligned to 16 bytes. */
#define START(function)                                                                                                \
    __attribute__((noreturn, used, externally_visible)) void function(long *stack);                                    \
    __asm__(".globl _start\n_start:\n\tmov x29, #0\n\tmov x30, #0\n\tmov x0, sp\n\tbl " #function "\n")

#endif

/*
 * What the official build of Node.js asks of glibc and musl does not have, under the name of the library that it asks
 * for last: ld-linux-x86-64.so.2, or that of another machine. It names the symbols' versions of glibc 2.28, which musl's
 * loader passes over. docs/runtime.md says what this does, and what it cannot.
 *
 * No constructor may be here: the program has a copy of `environ`, which musl fills in after constructors of libraries
 * that came before it have run.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <resolv.h>
#include <stdarg.h>
#include <stddef.h>

#define SYMBOL __attribute__((visibility("default")))

/* Node.js tells it in process.report. There it would make packages take their builds for glibc: they ask whether it is
 * empty (detect-libc, npm, the loaders of napi-rs). */
SYMBOL const char *gnu_get_libc_version(void)
{
    return "";
}

/* V8 asks it for the end of the stack where pthread_getattr_np() fails, which it does not. */
SYMBOL void *__libc_stack_end;

SYMBOL int __res_init(void)
{
    return res_init();
}

/* glibc forgets the handlers of a library that is unloaded; musl unloads none. */
SYMBOL int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *library)
{
    (void)library;
    return pthread_atfork(prepare, parent, child);
}

/* Offsets have 64 bits anyway. */
SYMBOL int fcntl64(int fd, int command, ...)
{
    va_list rest;
    va_start(rest, command);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    return fcntl(fd, command, argument);
}

/* Native stacks of crashes are empty: the program does with none. */
SYMBOL int backtrace(void **frames, int size)
{
    (void)frames, (void)size;
    return 0;
}

SYMBOL char **backtrace_symbols(void *const *frames, int size)
{
    (void)frames, (void)size;
    errno = ENOSYS;
    return NULL;
}

SYMBOL void backtrace_symbols_fd(void *const *frames, int size, int fd)
{
    (void)frames, (void)size, (void)fd;
}

/* OpenSSL asks whether it may have coroutines, and does without. */
static int unavailable(void)
{
    errno = ENOSYS;
    return -1;
}

SYMBOL int getcontext(void *context)
{
    (void)context;
    return unavailable();
}

SYMBOL int setcontext(const void *context)
{
    (void)context;
    return unavailable();
}

SYMBOL void makecontext(void *context, void (*function)(void), int count, ...)
{
    (void)context, (void)function, (void)count;
}

/*
 * Provides the symbols that the official build of Node.js needs from glibc, and that musl lacks. The library takes the
 * name of the last library that the build asks for: ld-linux-x86-64.so.2, or its equivalent on another machine. The
 * build asks for symbol versions of glibc 2.28, which musl's loader ignores. docs/runtime.md lists what this library
 * does, and what it cannot do.
 *
 * No constructors here: the program has a copy of `environ`, and musl fills that copy after it has run the constructors
 * of libraries that come before the program.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <resolv.h>
#include <stdarg.h>
#include <stddef.h>

#define SYMBOL __attribute__((visibility("default")))

/* Node.js reports this version in process.report. It is empty, because packages choose their builds for glibc if it is
 * not (detect-libc, npm, the loaders of napi-rs). */
SYMBOL const char *gnu_get_libc_version(void)
{
    return "";
}

/* V8 reads the end of the stack here if pthread_getattr_np() fails. On musl, that does not fail. */
SYMBOL void *__libc_stack_end;

SYMBOL int __res_init(void)
{
    return res_init();
}

/* Code for glibc before 2.34 takes a program without this symbol for one without threads: std::call_once then throws. */
SYMBOL int __pthread_key_create(pthread_key_t *key, void (*destroy)(void *))
{
    return pthread_key_create(key, destroy);
}

/* glibc removes the handlers of an unloaded library. musl never unloads libraries. */
SYMBOL int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *library)
{
    (void)library;
    return pthread_atfork(prepare, parent, child);
}

/* File offsets in musl always have 64 bits. */
SYMBOL int fcntl64(int fd, int command, ...)
{
    va_list arguments;
    va_start(arguments, command);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    return fcntl(fd, command, argument);
}

/* The native stack of a crash is empty. The program works without one. */
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

/* OpenSSL checks whether it can use coroutines, and works without them. */
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

/* Files without a C library. */
#ifndef NODEOS_IO_H
#define NODEOS_IO_H

#include <asm/errno.h>
#include <linux/fcntl.h>

#include "sys.h"

/* Opens a file, which children do not inherit. Returns a descriptor, or the negated error. */
long io_open(const char *path, int flags);

/* The same, in a folder that is a descriptor. */
long io_open_in(long folder, const char *path, int flags);

/* Moves a descriptor to 10 or above. Returns the new one, or the negated error. */
long io_move_high(long fd);

/* Sees to it that descriptors 0 to 2 are something: a machine need not have a console, and what took their place would
 * be written to. */
void io_hold_standard(void);

/* Writes n bytes, up to the first error. */
void io_write_all(long fd, const char *bytes, size_t n);

/* Writes to a file that is there, such as a setting of the kernel. Returns success. */
int io_write_file(const char *path, const char *content);

/* Reads at most size - 1 bytes of a file, and puts a zero behind them. Returns their number: 0 if it cannot be read. */
size_t io_read_file(const char *path, char *bytes, size_t size);

/* The same, in a folder that is a descriptor. */
size_t io_read_file_in(long folder, const char *path, char *bytes, size_t size);

/* Random numbers that need not be secret. */
void io_random(void *bytes, size_t n);

#endif

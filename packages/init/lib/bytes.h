/* Bytes as networks have them: integers are big-endian. */
#ifndef NODEOS_BYTES_H
#define NODEOS_BYTES_H

#include "sys.h"

/* Returns whether n bytes are the same. */
int bytes_same(const unsigned char *a, const unsigned char *b, size_t n);

/* Returns the integer of `size` bytes, at most eight. */
unsigned long bytes_get(const unsigned char *bytes, int size);

/* Writes an integer into `size` bytes. Returns what follows them. */
unsigned char *bytes_put(unsigned char *to, unsigned long value, int size);

#endif

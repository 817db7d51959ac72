/* What GCC may call even in freestanding code (GCC manual, "Language Standards Supported by GCC"). */
#include "sys.h"

/* Calls appear after the linker has thrown away what nobody calls. */
#define CALLED_LATE __attribute__((used))

CALLED_LATE void *memset(void *to, int value, size_t n)
{
    for (unsigned char *p = to; n > 0; n--)
        *p++ = value;
    return to;
}

CALLED_LATE void *memcpy(void *to, const void *from, size_t n)
{
    unsigned char *p = to;
    for (const unsigned char *q = from; n > 0; n--)
        *p++ = *q++;
    return to;
}

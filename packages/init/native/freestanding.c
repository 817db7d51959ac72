/* What GCC may call even in freestanding code (GCC manual, "Language Standards Supported by GCC"). */
#include "sys.h"

void *memset(void *to, int value, size_t n)
{
    for (unsigned char *p = to; n > 0; n--)
        *p++ = value;
    return to;
}

void *memcpy(void *to, const void *from, size_t n)
{
    unsigned char *p = to;
    for (const unsigned char *q = from; n > 0; n--)
        *p++ = *q++;
    return to;
}

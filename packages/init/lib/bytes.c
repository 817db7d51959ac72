#include "bytes.h"

int bytes_same(const unsigned char *a, const unsigned char *b, size_t n)
{
    while (n > 0 && *a == *b)
        a++, b++, n--;
    return n == 0;
}

unsigned long bytes_get(const unsigned char *bytes, int size)
{
    unsigned long value = 0;
    for (int i = 0; i < size; i++)
        value = value << 8 | bytes[i];
    return value;
}

unsigned char *bytes_put(unsigned char *to, unsigned long value, int size)
{
    for (int i = size; i-- > 0; value >>= 8)
        to[i] = value;
    return to + size;
}

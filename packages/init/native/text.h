/*
 * Text without a C library: a buffer that text and numbers are appended to. What does not fit is cut off.
 */
#ifndef NODEOS_TEXT_H
#define NODEOS_TEXT_H

#include "sys.h"

struct text {
    size_t length;
    char bytes[1000];
};

static void add_bytes(struct text *t, const char *s, size_t n)
{
    for (size_t i = 0; i < n && t->length < sizeof t->bytes - 1; i++)
        t->bytes[t->length++] = s[i];
    t->bytes[t->length] = 0;
}

static void add(struct text *t, const char *s)
{
    add_bytes(t, s, length(s));
}

static void add_number(struct text *t, long value)
{
    char digits[24];
    size_t n = sizeof digits;
    unsigned long rest = value < 0 ? -(unsigned long)value : (unsigned long)value;
    do
        digits[--n] = '0' + rest % 10;
    while (rest /= 10);
    if (value < 0)
        digits[--n] = '-';
    add_bytes(t, digits + n, sizeof digits - n);
}

static int equal(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

static int same_bytes(const unsigned char *a, const unsigned char *b, size_t n)
{
    while (n > 0 && *a == *b)
        a++, b++, n--;
    return n == 0;
}

/* The rest of s after prefix, or 0. */
static const char *after(const char *s, const char *prefix)
{
    while (*prefix)
        if (*s++ != *prefix++)
            return 0;
    return s;
}

static const char *find_any(const char *s, const char *end, const char *wanted)
{
    for (; s < end; s++)
        for (const char *w = wanted; *w; w++)
            if (*s == *w)
                return s;
    return end;
}

/* A decimal number at the start of s; 0 if there is none. */
static long number(const char *s)
{
    long value = 0;
    while (*s >= '0' && *s <= '9' && value < 1000000000)
        value = value * 10 + (*s++ - '0');
    return value;
}

/* Integers as networks have them: big-endian. */
static unsigned long get(const unsigned char *bytes, int size)
{
    unsigned long value = 0;
    for (int i = 0; i < size; i++)
        value = value << 8 | bytes[i];
    return value;
}

static unsigned char *put(unsigned char *to, unsigned long value, int size)
{
    for (int i = size; i-- > 0; value >>= 8)
        to[i] = value;
    return to + size;
}

#endif

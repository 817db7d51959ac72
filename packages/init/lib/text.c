#include "text.h"

void text_add_bytes(struct text *t, const char *s, size_t n)
{
    for (size_t i = 0; i < n && t->length < sizeof t->bytes - 1; i++)
        t->bytes[t->length++] = s[i];
    t->bytes[t->length] = 0;
}

void text_add(struct text *t, const char *s)
{
    text_add_bytes(t, s, text_length(s));
}

void text_add_number(struct text *t, long value)
{
    char digits[24];
    size_t n = sizeof digits;
    unsigned long rest = value < 0 ? -(unsigned long)value : (unsigned long)value;
    do
        digits[--n] = '0' + rest % 10;
    while (rest /= 10);
    if (value < 0)
        digits[--n] = '-';
    text_add_bytes(t, digits + n, sizeof digits - n);
}

size_t text_length(const char *s)
{
    size_t n = 0;
    while (s[n])
        n++;
    return n;
}

int text_equal(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

const char *text_after(const char *s, const char *prefix)
{
    while (*prefix)
        if (*s++ != *prefix++)
            return 0;
    return s;
}

const char *text_find_any(const char *s, const char *end, const char *wanted)
{
    for (; s < end; s++)
        for (const char *w = wanted; *w; w++)
            if (*s == *w)
                return s;
    return end;
}

long text_number(const char *s)
{
    long value = 0;
    while (*s >= '0' && *s <= '9' && value < 1000000000)
        value = value * 10 + (*s++ - '0');
    return value;
}

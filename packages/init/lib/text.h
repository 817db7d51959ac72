/* Text without a C library: strings, and a buffer that text and numbers are appended to. */
#ifndef NODEOS_TEXT_H
#define NODEOS_TEXT_H

#include "sys.h"

/* A zero follows the last byte. What does not fit is cut off. */
struct text {
    size_t length;
    char bytes[1000];
};

/* Appends a string. */
void text_add(struct text *t, const char *s);

/* Appends n bytes. */
void text_add_bytes(struct text *t, const char *s, size_t n);

/* Appends a decimal number. */
void text_add_number(struct text *t, long value);

/* Returns the bytes of a string, without the zero. */
size_t text_length(const char *s);

/* Returns whether two strings are the same. */
int text_equal(const char *a, const char *b);

/* Returns what follows the prefix in s, or 0 if s does not begin with it. */
const char *text_after(const char *s, const char *prefix);

/* Returns the first place before end that has one of the wanted characters, or end. */
const char *text_find_any(const char *s, const char *end, const char *wanted);

/* Returns the decimal number that s begins with, or 0 if there is none. It stops growing at ten digits. */
long text_number(const char *s);

#endif

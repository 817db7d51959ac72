/* Lines for whoever operates the machine. */
#ifndef NODEOS_SAY_H
#define NODEOS_SAY_H

#include "text.h"

typedef void (*say_writer)(const char *bytes, size_t n);

/* Says "nodeos: " and the strings, as one line. */
#define SAY(...) say_line((const char *const[]){__VA_ARGS__, 0})

/* The same, from strings up to a null pointer. */
void say_line(const char *const *parts);

/* Sets what writes the lines from now on; 0: standard output, as at the start. */
void say_through(say_writer writer);

/* Appends a negated error of the kernel, in words where an operator may meet it. */
void say_add_error(struct text *t, long error);

#endif

/*
 * One terminal on several consoles: what is typed on any of them is its input, and each shows its output. It is the first
 * pseudo-terminal, so there is one only if the machine has more than one console, and asks for it.
 */
#ifndef NODEOS_TERMINAL_H
#define NODEOS_TERMINAL_H

#include "console.h"

#define MAX_TERMINAL (MAX_CONSOLES + 1)

/* Makes the terminal, unless it is there or the machine has one console. */
void terminal_open(void);

/* Fills in entries for what it reads. Returns the number of entries. */
int terminal_poll(struct pollfd *poll);

/* Passes on what was typed and, unless the machine's own console is behind, what is shown. */
void terminal_pump(void);

#endif

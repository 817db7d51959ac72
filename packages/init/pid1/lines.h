/* What the init and the host want: lines, which may come in pieces. */
#ifndef NODEOS_LINES_H
#define NODEOS_LINES_H

#include "../lib/sys.h"

/* The line that is being read. */
struct lines {
    size_t length;
    char bytes[256];
};

/* Reads what there is from a descriptor that does not wait, and calls obey for each whole line. What is longer than a
 * line may be is cut off. */
void lines_pump(struct lines *l, long from, void (*obey)(char *line));

#endif

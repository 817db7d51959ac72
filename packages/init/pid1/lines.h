/* What the init wants: lines on its descriptor 3. */
#ifndef NODEOS_CONTROL_H
#define NODEOS_CONTROL_H

/* Reads what there is, and calls obey for each whole line. What is longer than a line may be is cut off. */
void control_pump(void (*obey)(char *line));

#endif

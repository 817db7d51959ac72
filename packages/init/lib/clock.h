/* Time, in microseconds. */
#ifndef NODEOS_CLOCK_H
#define NODEOS_CLOCK_H

#define SECOND 1000000L /* microseconds */

/* Returns the microseconds since boot. */
long clock_now(void);

/* Returns the milliseconds until a time of clock_now, for poll(2): 0 if it is over. */
long clock_left(long time);

/* Waits; a signal may end that early. */
void clock_rest(long microseconds);

#endif

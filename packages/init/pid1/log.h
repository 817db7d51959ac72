/* The log of the application's output: the current half and the one before it, in /var/log. */
#ifndef NODEOS_LOG_H
#define NODEOS_LOG_H

/* Makes the log's folder, as a filesystem of its own in memory: so whoever fills the root does not silence the log,
 * and PID 1 never waits for a server. To be called once the root is there: later, the way to the folder may lead over
 * a server that is gone. */
void log_open(void);

/* Reads one piece of output from a descriptor, to the console and the log: a program that writes without end must not
 * keep PID 1 from everything else. Returns the piece's bytes, below 1 if there is none. */
long log_pump(long from);

/* Reads what an ended program has left in its pipe: its last words come before what is said about its end. */
void log_drain(long from);

#endif

/*
 * The hardware watchdog: it resets the machine if PID 1 does not run for a while. On by the word nodeos.watchdog=SECONDS,
 * which boot media have; from then on it guards the end of the machine as well, up to a reboot.
 * https://docs.kernel.org/watchdog/watchdog-api.html
 */
#ifndef NODEOS_WATCHDOG_H
#define NODEOS_WATCHDOG_H

/* Takes note of a word of the kernel's command line. Returns whether it is one of these. */
int watchdog_read_word(const char *word);

/* Starts it, if it is wanted and the machine has one. */
void watchdog_open(void);

/* Feeds it if that is due. Returns the milliseconds until it is due again, or `wait` if that is sooner or there is no
 * watchdog. As for poll(2), -1 is without end. */
int watchdog_feed(int wait);

/* Before the machine ends. Stops it unless the machine reboots: then a reboot that hangs ends in a reset. */
void watchdog_end(int reboots);

#endif

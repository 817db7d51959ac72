/* The devices of the root, and the process that keeps them attached. */
#ifndef NODEOS_DEVICES_H
#define NODEOS_DEVICES_H

#include <asm/signal.h>

#include "../lib/say.h"

/* The signal of the keeper's end; nothing else sends it. So wait4 counts the keeper among the children only with
 * __WCLONE: the machine has ended its programs when only the keeper is left. */
#define KEEPER_ENDED SIGURG

enum { ROOT, UPPER, DEVICES };

struct device_wish {
    const char *uri;
    int writable;
    long wait;          /* seconds for the server to come; 0: no end */
    long timeout;       /* seconds until requests fail while there is no server; 0: never */
    int (*stop)(void);  /* whether to give up waiting */
};

/* Makes room for devices; the keeper says lines through `writer`. Returns success. */
int devices_open(say_writer writer);

/* Attaches /dev/nbd<index>, from 0 to DEVICES - 1, in this order, and starts the keeper. Returns success; if there is
 * none, why has the reason. */
int devices_attach(int index, const struct device_wish *wish, struct text *why);

/* Returns how many are attached. */
int devices_count(void);

/* Returns whether one of them is reached by TLS. */
int devices_use_tls(void);

/* Starts the keeper again if it was killed. To be called after every signal. */
void devices_check_keeper(void);

/* Returns the seconds since the first device lost its server; 0 if all have one. */
long devices_seconds_lost(void);

/* Detaches all. */
void devices_detach(void);

#endif

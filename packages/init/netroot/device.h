/* /dev/nbdN: attaches it to a server, and detaches it. keeper.h keeps it attached. */
#ifndef NODEOS_DEVICE_H
#define NODEOS_DEVICE_H

#include "../lib/clock.h"
#include "nbd.h"
#include "netlink.h"
#include "uri.h"

#define FIRST_PAUSE 50000L    /* microseconds between two attempts to connect; doubles up to LAST_PAUSE */
#define LAST_PAUSE SECOND
#define DEVICE_READ_AHEAD 512 /* KiB that the kernel reads ahead. Measured: docs/stream.md */

/* Times are those of clock_now. */
struct nbd_device {
    struct nbd_uri uri;
    struct nbd_export export;
    union address home;          /* where the server was found last */
    int index;                   /* -1: any that is free */
    int constant;                /* nobody is to write to it, whatever the server allows */
    long sysfs;                  /* a descriptor of the device's folder in /sys */
    char backend[24];            /* a name of this attachment: the kernel takes connections for no other */
    long timeout;                /* seconds until requests fail while there is no server; 0: never */
    long sockets[MAX_CONNECTIONS];
    int connections;             /* 0: it is not attached, or no longer */
    int missing;                 /* connections that the kernel has given up */
    int unsure;                  /* how often one was found dead that the kernel had not named */
    long dead_since;             /* when the last connection died; 0: there is one */
    long again, pause;           /* when to connect next; microseconds until the attempt after that */
    long since;                  /* when the last connection was made again */
    int told;                    /* the reason of a refusal was said: once for each loss */
    long attempt;                /* the descriptor of a connection that is being made; 0: none is */
};

/* Attaches a device whose uri, index, timeout and constant are set. Tries until it succeeds, is hopeless, has taken
 * `seconds` (0: no end), or stop() returns true. Returns success; if there is none, why has the reason. */
int device_attach(struct nbd_device *d, long seconds, int (*stop)(void), struct text *why);

/* Detaches /dev/nbd<index>: the server gets a farewell, and requests that still wait fail. Returns 0, or the negated
 * error. */
long device_detach(int index);

/* Makes one connection, and looks at the start of an export that must stay the same. The rest is as in
 * connect_export. */
long device_connect(struct nbd_device *d, struct nbd_export *export, struct text *why, int *never, long *attempt);

/* Returns whether the device is attached, and not anew by somebody else. */
int device_is_attached(struct nbd_device *d);

/* Appends connections to a request. */
void device_add_sockets(union message *m, const long *sockets, int count);

/* Returns the pause after this one. */
long device_longer(long pause);

#endif

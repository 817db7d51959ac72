/* One attempt to connect, and the bytes that go to and fro in it, with TLS or without. */
#ifndef NODEOS_ATTEMPT_H
#define NODEOS_ATTEMPT_H

#include "../lib/clock.h"
#include "../lib/text.h"

#define ATTEMPT_TIME (10 * SECOND) /* from the connect to the end of the handshake; then for what recognise.h reads */

struct attempt {
    long fd, deadline; /* the connection; a time of clock_now */
    struct text *why;  /* gets the reason of a failure */
    int hopeless;      /* set if it will not be better in a minute */
};

/* Waits for events of poll(2). Returns 0, or the negated error: after the deadline -ETIMEDOUT. */
long attempt_wait(struct attempt *a, short events);

/* Notes the negated error of a failure. Returns 0. */
int attempt_failed(struct attempt *a, long error);

/* Notes why no later attempt can succeed. Returns 0. */
int attempt_hopeless(struct attempt *a, const char *what);

/* Notes that the server has ended TLS with an alert: RFC 8446, section 6. Returns 0. */
int attempt_alerted(struct attempt *a, int alert);

/* Receives exactly n bytes. Returns success. */
int attempt_receive(struct attempt *a, void *to, size_t n);

/* Receives n bytes that nobody needs. Returns success. */
int attempt_skip(struct attempt *a, size_t n);

/* Sends n bytes, which must fit into the socket's buffer. Returns success. */
int attempt_send(struct attempt *a, const void *bytes, size_t n);

#endif

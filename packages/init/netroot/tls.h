/*
 * TLS on a connection: a program of its own shakes hands (packages/init/tls/handshake.c), with Mbed TLS, and gives the
 * keys to the kernel. After that the connection is read and written as if it were in the clear, by the kernel's NBD too.
 *
 * The program, and certificates or keys, are in the folder /tls of the initramfs. It stays there, out of sight, when the
 * machine moves to its root: a lost connection is made again without any file of that root.
 */
#ifndef NODEOS_TLS_H
#define NODEOS_TLS_H

#include "../lib/text.h"
#include "contract.h"
#include "uri.h"

#define TLS_FOLDER PATH_TLS

/* From TLS_ALERT on: the server has ended it with the alert of that number above TLS_ALERT. */
enum { TLS_DONE, TLS_ANOTHER_TIME, TLS_NEVER, TLS_ALERT = 128 };

/* Secures a connection, before a time of clock_now. Returns one of the above; if it is not TLS_DONE, why may have the
 * reason. */
int tls_begin(const struct nbd_tls *t, long fd, long deadline, struct text *why);

/* Sets another program than PATH_TLS_HANDSHAKE. */
void tls_set_program(const char *path);

/* Says that the initramfs is no longer the root, and what its descriptor is. */
void tls_set_folder(long initramfs);

#endif

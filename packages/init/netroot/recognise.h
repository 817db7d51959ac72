/*
 * Whether an export is still the same: a number made of its first bytes, where EROFS, ext4 and SquashFS keep what tells
 * one image from another. They are read before the kernel gets the connection.
 */
#ifndef NODEOS_RECOGNISE_H
#define NODEOS_RECOGNISE_H

#include "../lib/text.h"
#include "nbd.h"

/* Reads the export's first bytes from a connection, and sets export->start. Returns success; if there is none, why
 * has the reason, and *never is whether another attempt is in vain. */
int recognise_start(long fd, struct nbd_export *export, struct text *why, int *never);

/* Returns whether two have the same size and start, and are both read-only or both not. */
int recognise_same(const struct nbd_export *a, const struct nbd_export *b);

#endif

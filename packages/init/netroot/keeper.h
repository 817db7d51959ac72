/*
 * Keeping /dev/nbdN attached to its server.
 *
 * When a connection dies the kernel says so to a netlink group, and holds back what is read and written until it gets
 * another connection (or NBD_ATTR_DEAD_CONN_TIMEOUT is over). The keeper is a process of its own, which waits for nothing
 * but the network: it works while every file of a root on that device is out of reach.
 *
 * A slow request never ends a connection: the server may still execute an old write from the old connection after a newer
 * one from the new. So NBD_ATTR_TIMEOUT is not used; what counts is whether the server's TCP acknowledges.
 */
#ifndef NODEOS_KEEPER_H
#define NODEOS_KEEPER_H

#include "device.h"

/* Runs as long as one of the devices is attached. */
void keeper_run(struct nbd_device *devices, int count);

#endif

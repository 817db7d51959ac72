/* A port of this machine. */
#ifndef NODEOS_PORT_H
#define NODEOS_PORT_H

/* Returns whether a program listens on a TCP port, at an address that other machines reach. */
int port_is_open(long port);

#endif

/* The standard input and output of a moved program, carried by the wire it came by. */
#ifndef GODWIT_MIGRATE_RELAY_H
#define GODWIT_MIGRATE_RELAY_H

#include <sys/types.h>

#include "migrate/proto.h"

/* Pipes for a program: its ends to io, ours to relay. */
int relay_open(int io[3], int relay[3], struct err *err) __must_check;
/* Destination: carries until the program pid, a child, has ended; its status as
 * waitpid(2) gives it.  A wire that ends is no reason to stop: the program goes on. */
void relay_serve(struct wire *w, int relay[3], pid_t pid, int *ret_status);
/* Source: carries our own descriptors 0, 1, 2.  Returns the program's status. */
int relay_follow(struct wire *w, int *ret_status, struct err *err) __must_check;

#endif

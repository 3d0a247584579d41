/* Is there room for a program on this host: memory, and disk where it writes. */
#ifndef GODWIT_MIGRATE_ROOM_H
#define GODWIT_MIGRATE_ROOM_H

#include <stdint.h>

#include "base/err.h"
#include "state/process.h"

/* Bytes that may be filled before this host, or our own control group, has to swap or to kill. */
uint64_t room_memory(void);

/* May a file be appended to, or made, here, and is a page free for it?  Touches
 * nothing.  -ENOSPC, or what open(2) would say. */
int room_file(const char *path, struct err *err) __must_check;

/* Tells each file system without a free page to which p has a file open for writing. */
void room_files(const struct process *p, void (*notice)(void *arg, const char *text), void *arg);

/* Source: bytes of p that will have to be in memory over there.  known: per mapped
 * file, the destination has it. */
uint64_t room_needed(const struct process *p, const bool *known);

#endif

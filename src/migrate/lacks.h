/*
 * Programs on this host that lack pages (post-copy): what their pagers say when they are asked.
 */
#ifndef GODWIT_MIGRATE_LACKS_H
#define GODWIT_MIGRATE_LACKS_H

#include "migrate/journal.h"

/* The pager's answer; between processes of this host and its user alone. */
struct lacks {
	uint64_t missing, all; /* bytes */
	uint32_t is_connected; /* with the host that has them */
	uint32_t waiting;      /* threads of the program that need one now */
	uint32_t is_followed;  /* a pager is there; all else is 0 where none is */
	uint32_t reserved;
};

/* 1 and *r, *ret, if the migration's program is one of these; 0 if not, or the record is gone. */
int lacks_look(const struct migration_id *id, struct journal_record *r, struct lacks *ret,
	       struct err *err) __must_check;

/* In the pager: the socket on which it is asked; somebody does; pid is the program. */
int lacks_open(const struct migration_id *id);
void lacks_answer(int door, pid_t pid, struct lacks *what);

#endif

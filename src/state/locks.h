/*
 * Locks for writing, apart from the other state of files: of two copies of a program only one can
 * have them, so a migration gives them up here before they are taken there.
 */
#ifndef GODWIT_STATE_LOCKS_H
#define GODWIT_STATE_LOCKS_H

#include <fcntl.h>

#include "remote/program.h"
#include "state/files.h"

struct held_lock {
	const struct open_file *file;
	const struct file_lock *lock;
	int fd; /* one of the file's */
};

/* *ret: as many as are returned, malloc'ed; or a negative errno. */
ssize_t locks_for_writing(const struct file_table *t, struct held_lock **ret,
			  struct err *err) __must_check;

enum lock_how { LOCK_GIVE_UP, LOCK_TRY, LOCK_WAIT };

/* The argument of fcntl(2), of F_UNLCK for LOCK_GIVE_UP. */
struct flock locks_range(const struct file_lock *l, enum lock_how how);
/* The call, with that argument at addr.  Any result will do. */
struct call locks_call(const struct file_lock *l, int fd, enum lock_how how, uint64_t addr);

#endif

/* Leases (fcntl(2), F_SETLEASE): may the program have one again? */
#ifndef GODWIT_STATE_LEASE_H
#define GODWIT_STATE_LEASE_H

#include "state/file_kinds.h"

/* Has any descriptor of the process, whose /proc/PID procfd is, a lease? */
bool lease_is_any(int procfd);
/* Is there a lease for writing on the file of that inode, held by process pid?  Who opens the
 * file would break it.  Slow. */
bool lease_is_held(pid_t pid, uint64_t ino);
/* The one that the program holds by that open file, or NULL. */
const struct file_lock *lease_of(const struct open_file *f);
/* A restart.  Before the file is opened at all, since that would break a lease of somebody else's;
 * fd: the program's, for the message. */
int lease_check(const struct restore *r, const struct open_file *f, const struct stat *st, int fd,
		struct err *err) __must_check;
/* Takes it by our descriptor `ours` of the file, and gives it back. */
int lease_take(int ours, const struct open_file *f, const struct file_lock *l, int fd,
	       struct err *err) __must_check;

#endif

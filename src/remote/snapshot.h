/*
 * A snapshot: a copy of a stopped program's memory, as it is at that moment, which
 * the kernel makes page by page when the program writes (fork).  It is a process that
 * runs nothing of the program, is nobody's child whom the program could meet, and is
 * gone when we are.
 *
 * It has not: memory that is shared (it sees what is written later), and ranges that the
 * program excludes from forks (madvise: MADV_DONTFORK is missing, MADV_WIPEONFORK zeros).
 */
#ifndef GODWIT_REMOTE_SNAPSHOT_H
#define GODWIT_REMOTE_SNAPSHOT_H

#include "remote/remote.h"

/*
 * Makes one of a target that is prepared (remote_prepare), and opens it: *ret, which
 * must be zeroed, is like a remote of it, good for remote_read and remote_read_force.  Time:
 * that of a fork, some ms a GiB.  To be called by the thread that traces the target.
 * -ENOTSUP with *err saying why and a hint: no snapshot can be made here, the target is
 * as it was.  Anything else: what failed; release the target.
 */
int remote_snapshot(struct remote *r, struct remote *ret, struct err *err) __must_check;

/* Ends it, after which nothing of it is left but an exit status for the reaper of
 * orphans.  By the same thread.  Accepts a zeroed one. */
void remote_snapshot_end(struct remote *s);

#endif

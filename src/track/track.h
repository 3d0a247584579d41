/*
 * Which pages a running program writes to, seen from outside and without root.
 *
 * How to copy the memory of a program while it runs, and all of it right:
 *
 *	keeper_end(pid) (track/keeper.h): there is one tracker at a time
 *	stop it: remote_seize, remote_check, remote_prepare
 *		track_start(&remote, &t, &err)
 *	let it go: remote_release
 *	again and again:
 *		track_round(t, fn, arg, &bytes, &err): fn is told each range that was
 *			written to since the last round (first: all that exist)
 *		copy these ranges, in any way and order, after track_round returned
 *	stop it for good, and capture its state with capture.tracked = true
 *	(state/state.h): each run of process.runs that has the flag RUN_UNCHANGED
 *		is as it was when it was copied last; all other runs are to be copied
 *		now.  What was copied and is in no run does not exist any more: it
 *		reads as zeros, or is unmapped.
 *	track_stop(t)
 *
 * What may happen while the program runs, and why it does no harm:
 *   - a range is unmapped before it is copied: reading it fails (EFAULT, EIO).
 *     Leave it out; at the stop it is in no run, or in one that is to be copied.
 *   - a page changes while it is being copied: it was armed before, so that the
 *     next round, or the stop, tells it again.
 *   - memory is mapped, moved (mremap) or replaced: the kernel does not track
 *     the new range.  Everything in it counts as written until a round has
 *     seen it.
 *   - pages are dropped (MADV_DONTNEED) and touched again: they count as written.
 *
 * What is tracked: private anonymous memory, heap and stacks among it.  Shared memory
 * and changed pages of private file mappings never have the flag: they are to be
 * copied at the stop.  Not seen are writes by devices
 * to pages that were handed to them before (O_DIRECT reads): track_start and
 * track_check refuse a program that has a file open so.
 *
 * What it costs the program: the first stop (0.3 ms); a stop of 100 us for each round that
 * finds 1 MiB or more of new mappings; in each round one fault without a signal (0.7 us)
 * for each page written to since; huge pages are split at the first write.  What it has
 * mapped as one stays one, so that mremap() of it goes on to work.  While it is tracked its
 * mappings are not joined with new neighbours, and one mremap() of several mappings at
 * once (Linux 6.17) is refused by the kernel.  The tool's scan of 1 GiB takes 9 ms the
 * first time, later 0.3 to 0.9 ms.
 *
 * What it leaves: nothing.  The userfaultfd is ours alone (remote_take_new_fd);
 * when we end, however, the kernel ends the tracking.
 */
#ifndef GODWIT_TRACK_TRACK_H
#define GODWIT_TRACK_TRACK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct remote;
struct track;

/*
 * Begins to track a stopped and prepared target.  Nothing is armed yet: that is
 * for the first round.  -ENOTSUP (exit 3) where this kernel, container or program
 * does not allow it, with the reason and a remedy in *err: copy everything
 * while it is stopped, then, and tell the person why.
 */
int track_start(struct remote *r, struct track **ret, struct err *err) __must_check;

/*
 * Ends it, unless another process holds the userfaultfd and goes on.  The target may run;
 * the kernel takes the protection off, 26 ms a GiB, and what the target maps or
 * touches for the first time waits so long.  (In steps it would be no faster: the last
 * one goes over all pages again, and a mapping that grows between two steps is cut in
 * two.)  Accepts NULL.
 */
void track_stop(struct track *t);

/* Called for each written range, ascending, page-aligned; != 0 ends the round. */
typedef int (*track_fn)(void *arg, uint64_t start, uint64_t end);

/*
 * One round, beside the running target: takes up mappings that are new (for which it is
 * stopped for some 100 us, when they are of 1 MiB or more), tells fn (may be NULL) every range
 * of private anonymous pages that exist and were written to since the last round, and arms
 * them again.  *ret_bytes (may be NULL): their sum.
 * 0, fn's value, or a negative errno (-ESRCH: the target has ended).
 */
int track_round(struct track *t, track_fn fn, void *arg, uint64_t *ret_bytes,
		struct err *err) __must_check;

/* A round of a target that is stopped by who calls: of what is written from now on the
 * next one tells. */
int track_round_stopped(struct track *t, struct err *err) __must_check;

/* Can all writes of the target be seen, as far as its open files tell?  -ENOTSUP
 * with the reason when not.  For each round; the last time when it is stopped. */
int track_check(struct track *t, struct err *err) __must_check;

/* --- for who hands the tracking on to another process --- */

/* The userfaultfd; it stays track's. */
int track_uffd(const struct track *t);
/* Goes on with what another process has started; takes uffd over, also on failure. */
int track_adopt(pid_t pid, int uffd, struct track **ret, struct err *err) __must_check;

/* false: the program has executed another one since. */
bool track_is_alive(const struct track *t);

/* Does this kernel, for this user, have what it takes?  On our own memory.
 * 0, or -ENOTSUP with reason and remedy. */
int track_probe(struct err *err) __must_check;

#endif

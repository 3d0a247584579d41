/* Shared by the files of the engine. */
#ifndef GODWIT_REMOTE_INTERNAL_H
#define GODWIT_REMOTE_INTERNAL_H

#include "remote/remote.h"

/* --- borrow.c --- */

/* Address of a thread's unit in the scratch mapping. */
uint64_t remote_unit(const struct remote *r, size_t thread);
/* Lends the thread the registers, which stands on; see borrow.c for the order. */
int remote_lend(struct remote *r, struct tracee *t, const struct user_regs_struct *regs,
		struct err *err) __must_check;
/* The same, and lets it run. */
int remote_enter(struct remote *r, struct tracee *t, const struct user_regs_struct *regs,
		 struct err *err) __must_check;
/* Waits until the thread that runs in `unit` rings; *regs are as it stands there.  With
 * regs NULL any signal like the bell will do: remote_has_rung() tells. */
int remote_wait_bell(struct remote *r, struct tracee *t, uint64_t unit,
		     struct user_regs_struct *regs, struct err *err) __must_check;
/* Does the stopped thread stand behind the bell of that unit? */
bool remote_has_rung(const struct tracee *t, uint64_t unit);
/* Gives a borrowed thread its own mask and registers again.  0 or a negative errno. */
int remote_give_back(struct tracee *t);
/* The leader runs one call by registers alone, in the unit at that address. */
int remote_call_one(struct remote *r, uint64_t unit, long nr, const uint64_t arg[6], int64_t *ret,
		    struct err *err) __must_check;
/* The error for a target that is gone. */
int remote_died(struct remote *r, struct err *err);

/* --- guarded.c: processes with seccomp filters --- */

/* Before a process is stopped that has filters; and at the end. */
void remote_take_ballast(struct remote *r);
void remote_drop_ballast(struct remote *r);
/* In remote_check: looks for filters, suspends them, or refuses. */
int remote_guard_filtered(struct remote *r, struct err *err) __must_check;
/* When it is known where the units will be: do all filters let them heal? */
int remote_check_heal(const struct remote *r, struct err *err) __must_check;
/* Of a thread that has just stopped, whose registers were read: it must not go on by a
 * restart_syscall(2) that its filter forbids.  0 or a negative errno. */
int remote_spare_restart(struct tracee *t) __must_check;
/* A call of any thread, in the guarded unit at that address. */
int remote_guarded_call(struct remote *r, struct tracee *t, uint64_t unit, long nr,
			const uint64_t arg[6], int64_t *ret, struct err *err) __must_check;
/* The leader goes its way to exit_group(2).  Negative: it is gone. */
int remote_guarded_exit(struct remote *r, uint64_t unit, int status) __must_check;

/* --- seize.c --- */

/* Of a thread that may still run: is it asleep, and has it seccomp filters? */
void remote_look(const struct remote *r, struct tracee *t);

/* --- vector.c --- */

/* Of a thread that has just stopped: reads what remote_xstate and remote_rseq will want. */
void remote_read_early(struct remote *r, struct tracee *t);
/* When all have stopped: is what was read early still so? */
void remote_read_again(struct remote *r);

/* --- scratch.c --- */

/* Where the units of so many threads end in the scratch mapping: there is room for the
 * code that makes a snapshot. */
uint64_t remote_units_end(size_t max_threads);
/* Calls that the scratch mapping for so many threads holds. */
size_t remote_call_cap(size_t max_threads);

/* Unmaps the scratch mapping, gives the leader back, cleans the vdso. */
void remote_unmap_scratch(struct remote *r);
/* Writes all units again, of the kind that is wanted now. */
int remote_rewrite_units(struct remote *r, struct err *err) __must_check;
/* Writes the units of threads [from, n) to the scratch mapping. */
int remote_write_units(struct remote *r, size_t from, struct err *err) __must_check;

/* --- spread.c --- */

/* One per loop that wakes many threads; starts as zeros. */
struct remote_spread {
	size_t woken;
	long preempted;
};
/* To be called for each of them, before. */
void remote_spread(struct remote_spread *s);

/*
 * wait.c: waits until a thread of ours reports, as waitpid(2) does.  0 and *status; -ECHILD: it
 * has ended, or its process was killed.
 */
int remote_wait_thread(const struct remote *r, pid_t tid, int *status) __must_check;
/* Of a program that was killed, or told to exit: until all of it has ended. */
void remote_wait_end(const struct remote *r);
/* speaker.c: of a process whose leader has ended: do the others end as well? */
bool remote_all_are_ending(const struct remote *r);
/* speaker.c: the leader has ended, threads[0], stopped, speaks for the process from now on. */
int remote_take_speaker(struct remote *r, struct err *err) __must_check;

#endif

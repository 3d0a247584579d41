/* Shared by the steps of a restart. */
#ifndef GODWIT_RESTART_INTERNAL_H
#define GODWIT_RESTART_INTERNAL_H

#include "restart/restart.h"
#include "state/chain.h"
#include "state/memory_early.h"

struct held_lock;
struct stat;

/* Everything of one restart.  Made before the fork: guardian and program have it. */
struct rebuild {
	const struct restart_options *o;
	struct image *image;
	struct chain chain; /* the image, and those below an incremental one */
	int *chain_fd;      /* descriptors for the new process; [0] is restore.image_fd's */
	struct process proc;
	struct restore restore;
	struct remote remote;
	struct program prog;
	int model_fd;          /* where it is fed */
	struct proc_maps maps; /* of the new process, right after exec */
	struct buf maps_text;
	struct memory_early early; /* where restore.early points */
	pid_t *tids;               /* of the new threads, as they see themselves */
	bool same_ids;
	/* Fed: locks for writing, and what their files were when the other copy still had them. */
	struct held_lock *locks; /* [nlocks] */
	struct stat *locked;
	size_t nlocks;
};

/* build.c: in the guardian.  pid is the process, already past its exec and
 * stopped there.  On failure say why, then call rebuild_abort. */
int rebuild_run(struct rebuild *b, pid_t pid, struct err *err) __must_check;
/* late.c: a signal to tell by that calls are done: none that the model has pending, and none
 * of v[n]. */
int rebuild_choose_bell(const struct rebuild *b, const struct late_signal *v, size_t n);
/* late.c: makes these pending in the process that is built. */
int rebuild_queue_late(struct rebuild *b, const struct late_signal *v, size_t n,
		       struct err *err) __must_check;
/* locks.c, of a fed program: before the other copy gives its locks up; and when it has. */
int rebuild_look_at_locked(struct rebuild *b, struct err *err) __must_check;
int rebuild_take_locks(struct rebuild *b, struct err *err) __must_check;
void rebuild_forget_locks(struct rebuild *b);
/* fit.c: where the kernel's vdso ends up; a thread's vector registers; once the memory is
 * there, vdso and chosen functions are made to fit. */
uint64_t rebuild_vdso_place(const struct rebuild *b);
int rebuild_vector_registers(struct rebuild *b, size_t i, struct err *err) __must_check;
int rebuild_fit(struct rebuild *b, struct err *err) __must_check;
/* fit.c: does the program use what this CPU lacks?  Before anything is touched. */
int restart_check_code(struct rebuild *b, struct err *err) __must_check;
/* filters.c: the calls that set seccomp filters, and their run, as the last thing. */
int rebuild_third_program(struct rebuild *b, struct err *err) __must_check;
int rebuild_set_filters(struct rebuild *b, struct err *err) __must_check;
/* build.c: ends the half-built process: status 5 for a damaged image, else 6. */
void rebuild_abort(struct rebuild *b, const struct err *err);
/* build.c: prints what rebuild_run would make the process do. */
int rebuild_explain(struct rebuild *b, struct err *err) __must_check;

/* build.c: the calls that are added from now on. */
void rebuild_begin_program(struct rebuild *b, struct err *err);
/* threads.c: how many the new process has at most; the calls that make them, and, when these
 * were made, the threads; their ids where the C library keeps them. */
size_t rebuild_threads_ever(const struct process *p);
void rebuild_plan_threads(struct rebuild *b);
int rebuild_adopt_threads(struct rebuild *b, struct err *err) __must_check;
int rebuild_correct_ids(struct rebuild *b, struct err *err) __must_check;
/* threads.c, to be shown: what a leader does that had ended. */
void rebuild_plan_end_of_leader(struct rebuild *b, struct err *err);

/* restart.c: takes another image, fed as well, and looks again; fd is taken over. */
int restart_reload(struct rebuild *b, int fd, struct err *err) __must_check;
/* restart.c: what the restart changes outside of the process, as late as can be. */
int restart_act(struct rebuild *b, struct err *err) __must_check;
/* guard.c: says on stderr, and to whoever feeds the restart, why it failed. */
void restart_complain(const struct rebuild *b, const struct err *err);

/* ids.c: makes the child with the old ids and waits for it; see restart(). */
int restart_same_ids(struct rebuild *b, int *ret_status, struct err *err) __must_check;
/* ids.c: are threads or cached ids the reason to want the same ids? */
bool restart_wants_same_ids(const struct rebuild *b);

/* guard.c: forks the guardian of a process that is about to exec; returns when
 * the guardian has seized the caller.  In the caller. */
int guard_myself(struct rebuild *b, struct err *err) __must_check;
/* guard.c: executes the program file, in whose place the program will stand. */
int exec_program(struct rebuild *b, struct err *err) __must_check;

#endif

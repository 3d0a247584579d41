/*
 * Late signals: those that are sent to the program here after its state was read.
 * They wait for the stopped program, and nobody takes them from it; so they are told
 * by comparing what is pending with what was pending before.
 *
 * Three looks (docs/PROTOCOL.md, section 4): before the group stop and after it, for
 * COMMIT; and when the copy here is ended, for SIGNALS.
 *
 * What the kernel sends for the program's own timers and files is no signal to be carried:
 * these go on over there.
 */
#ifndef GODWIT_MIGRATE_LATE_H
#define GODWIT_MIGRATE_LATE_H

#include "image/codec.h"
#include "remote/remote.h"
#include "state/process.h"

/* Most that go by one frame; bytes of it. */
#define LATE_MAX 100000u
#define LATE_FRAME_MAX (4u + LATE_MAX * (4u + 128u))

struct late_queue {
	struct pending_signal *v;
	size_t n;
	bool is_ours; /* else the model's */
};

struct late {
	struct late_queue *seen; /* [0] of the process, [i + 1] of thread i */
	size_t nqueues;
	struct late_signal *v; /* new ones, in order */
	size_t n, cap;
};

/* What is pending in the model is known.  p stays, and must outlive it. */
int late_init(struct late *l, const struct process *p, struct err *err) __must_check;
/* Adds to v what is pending and was not seen before; taken may be NULL. */
int late_look(struct late *l, const struct remote *r, const struct remote_taken *taken,
	      struct err *err) __must_check;
/* The same for the signals of the process alone, of which one thread knows. */
int late_look_process(struct late *l, pid_t tid, struct err *err) __must_check;
void late_done(struct late *l);

/* A list as the frames have it.  The reader frees *v, also after a failure. */
void late_codec(struct codec *c, struct late_signal **v, size_t *n);
/* Are they signals that late_look could have found, of a program of so many threads? */
bool late_is_possible(const struct late_signal *v, size_t n, size_t nthreads);
/* Sends them to a program that runs: pidfd, and the ids of its threads. */
void late_send(const struct late_signal *v, size_t n, int pidfd, pid_t pid, const pid_t *tids);

#endif

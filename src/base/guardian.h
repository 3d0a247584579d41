/*
 * The guardian: a child process in a session of its own with every signal
 * blocked, in which the dangerous part of a command runs.  The command waits for
 * its answer and may be killed at any time; the guardian sees that, undoes its
 * work and leaves.
 */
#ifndef GODWIT_BASE_GUARDIAN_H
#define GODWIT_BASE_GUARDIAN_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Name of every guardian, as comm has it: who finds a program traced by one waits. */
#define GUARDIAN_COMM "godwit-guardian"

/* Runs in the guardian.  front is a socket that becomes readable when the
 * command has died or been interrupted; result is zeroed room. */
typedef int (*guardian_fn)(void *arg, int front, void *result, struct err *err);

/* What the command does with what the guardian says meanwhile; each may be NULL. */
struct guardian_listener {
	void (*notice)(void *arg, const char *text);
	/* At most ten times a second: bytes done of all. */
	void (*progress)(void *arg, uint64_t done, uint64_t all);
	/* What guardian_tell() was given. */
	void (*told)(void *arg, const void *p, size_t len);
	void *arg;
};

/*
 * Runs fn in a guardian and waits.  result (len bytes, at most 4096) and *err are
 * brought back.  SIGINT, SIGTERM, SIGHUP and SIGQUIT call the work off.
 * A guardian that was killed gives -EPIPE.
 */
int guardian_run(guardian_fn fn, void *arg, void *result, size_t len,
		 const struct guardian_listener *listener, struct err *err) __must_check;

/* From within the guardian: a line for the person at the terminal. */
void guardian_notice(int front, const char *text);
/* How far the work is, in bytes; cheap to call often, from one thread. */
void guardian_progress(int front, uint64_t done, uint64_t all);
/* Progress of another shape: len bytes (at most 4096) for told().  Lost where the command
 * does not read. */
void guardian_tell(int front, const void *p, size_t len);

#endif

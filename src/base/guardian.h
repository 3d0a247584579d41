/*
 * The guardian: a child process in a session of its own with every signal
 * blocked, in which the dangerous part of a command runs.  The command waits for
 * its answer and may be killed at any time; the guardian sees that, undoes its
 * work and leaves.
 */
#ifndef GODWIT_BASE_GUARDIAN_H
#define GODWIT_BASE_GUARDIAN_H

#include <stddef.h>

#include "base/err.h"

/* Runs in the guardian.  front is a socket that becomes readable when the
 * command has died or been interrupted; result is zeroed room. */
typedef int (*guardian_fn)(void *arg, int front, void *result, struct err *err);

/*
 * Runs fn in a guardian and waits.  result (len bytes, at most 4096) and *err are
 * brought back.  SIGINT, SIGTERM, SIGHUP and SIGQUIT call the work off.
 * A guardian that was killed gives -EPIPE.
 */
int guardian_run(guardian_fn fn, void *arg, void *result, size_t len,
		 void (*notice)(void *arg, const char *text), void *notice_arg,
		 struct err *err) __must_check;

/* From within the guardian: a line for the person at the terminal. */
void guardian_notice(int front, const char *text);

#endif

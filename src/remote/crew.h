/*
 * A crew of tracers.  ptrace(2) obeys only the thread that attached, so that the
 * threads of a large program are shared out: each worker attaches to its share,
 * and all later work on those is handed to that worker.
 */
#ifndef GODWIT_REMOTE_CREW_H
#define GODWIT_REMOTE_CREW_H

#include "base/err.h"

struct crew;

/* Starts `helpers` threads besides the caller.  0 or -ENOMEM, -EAGAIN. */
int crew_start(struct crew **ret, unsigned helpers) __must_check;
/* Ends them; what they still trace is let go by the kernel.  Accepts NULL. */
void crew_stop(struct crew *c);
/* Workers, the caller included; 1 for NULL. */
unsigned crew_size(const struct crew *c);
/* Runs fn in each worker at once (the caller is worker 0); returns when all are
 * done.  NULL: in the caller alone. */
void crew_run(struct crew *c, void (*fn)(void *arg, unsigned worker), void *arg);

#endif

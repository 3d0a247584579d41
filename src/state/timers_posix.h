/* POSIX timers (timer_create(2)): what a restart calls when the threads are there. */
#ifndef GODWIT_STATE_TIMERS_POSIX_H
#define GODWIT_STATE_TIMERS_POSIX_H

#include "state/state.h"

#define POSIX_TIMERS_MAX (1u << 20)

/* Adds the calls of the first thread; r->new_tids are known. */
int timers_posix_restore(struct restore *r, const struct process *p, struct err *err) __must_check;

#endif

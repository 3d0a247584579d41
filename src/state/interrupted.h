/* Interrupted system calls, as a restarted thread must find them. */
#ifndef GODWIT_STATE_INTERRUPTED_H
#define GODWIT_STATE_INTERRUPTED_H

#include "state/state.h"

/*
 * Where th's registers, as read from its stopped thread, say restart_syscall: makes
 * them say the call that is to be entered again.  The thread itself goes on
 * with its own.  Refuses a call that cannot be told.
 */
int interrupted_find(const struct remote *r, struct thread *th, struct err *err) __must_check;

#endif

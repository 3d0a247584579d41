/* Scheduling that is read before the program is stopped: see scheduling.c. */
#ifndef GODWIT_STATE_SCHEDULING_H
#define GODWIT_STATE_SCHEDULING_H

#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"
#include "state/process.h"

struct early_scheduling {
	struct early_thread {
		pid_t tid; /* in our pid namespace; rising */
		struct sched_state sched;
	} * v;
	size_t n, cap;
};

/* procfd is the target's /proc/PID, which need not be stopped.  Threads that end
 * meanwhile are left out. */
int scheduling_read_early(int procfd, struct early_scheduling *ret, struct err *err) __must_check;
void scheduling_early_done(struct early_scheduling *e);

#endif

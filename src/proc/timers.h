/* Parser of /proc/PID/timers: the POSIX timers of a process.  proc_pid_timers(5). */
#ifndef GODWIT_PROC_TIMERS_H
#define GODWIT_PROC_TIMERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct proc_timer {
	int32_t id;     /* the kernel's timer_t */
	int32_t clock;  /* CLOCK_*, or made of a process id */
	int32_t signal; /* sigev_signo */
	uint64_t value; /* sigev_value */
	bool is_silent; /* SIGEV_NONE */
	bool to_thread; /* SIGEV_THREAD_ID: target is a thread */
	pid_t target;   /* as the /proc that was read counts */
};

struct proc_timers {
	struct proc_timer *v; /* as the kernel shows them: the newest first */
	size_t n, cap;
};

/* On failure nothing is left to free. */
int proc_parse_timers(const char *text, struct proc_timers *ret, struct err *err) __must_check;
void proc_timers_done(struct proc_timers *t);

#endif

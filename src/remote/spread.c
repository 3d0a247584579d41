/*
 * Where we run beside the threads that we wake.
 *
 * Woken threads run best on another CPU while we wake the next.  But a kernel that finds
 * little idle time among CPUs that share a cache does not look for an idle one
 * (kernel/sched/fair.c, select_idle_cpu(), SIS_UTIL), and a program that computes with all its
 * might is that case: its threads are woken where they stopped, which is where we stopped them, and
 * we take turns. Then it is we who move.
 */
#include "remote/internal.h"

#include <sched.h>
#include <sys/resource.h>

/* So many threads are woken between two looks. */
#define A_FEW 8u

static long times_preempted(void)
{
	struct rusage u;

	return getrusage(RUSAGE_THREAD, &u) ? 0 : u.ru_nivcsw;
}

static void leave_cpu(void)
{
	cpu_set_t may, others;
	unsigned cpu;

	if (getcpu(&cpu, NULL) || sched_getaffinity(0, sizeof(may), &may))
		return;
	others = may;
	CPU_CLR(cpu, &others);
	/* EINVAL: there is no other.  We may go back when it suits the kernel. */
	if (!sched_setaffinity(0, sizeof(others), &others))
		(void)sched_setaffinity(0, sizeof(may), &may);
}

void remote_spread(struct remote_spread *s)
{
	long now;

	if (s->woken++ % A_FEW)
		return;
	now = times_preempted();
	if (s->woken > 1 && now - s->preempted >= (long)A_FEW - 2) {
		leave_cpu();
		now = times_preempted();
	}
	s->preempted = now;
}

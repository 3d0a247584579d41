/*
 * Waiting for a thread of a program that may be killed meanwhile.
 *
 * QUIRK: a first thread that has ended is reported only when all other threads have been
 * reaped (wait(2), kernel/exit.c: delay_group_leader), and those that are traced are reaped by
 * nobody but us.  So who waits for it alone, while all of them are killed, waits for
 * ever.  tests/e2e/run.t: fifty_kills_with_threads.
 */
#include <errno.h>
#include <sys/wait.h>
#include <time.h>

#include "remote/internal.h"

bool remote_were_killed(void)
{
	siginfo_t any = {0};

	return !waitid(P_ALL, 0, &any, WEXITED | WNOHANG | WNOWAIT | __WALL) && any.si_pid &&
	       (any.si_code == CLD_KILLED || any.si_code == CLD_DUMPED);
}

int remote_wait_thread(pid_t tid, int *status)
{
	for (;;) {
		struct timespec moment = {.tv_nsec = 1000 * 1000};
		siginfo_t any = {0};
		pid_t got = waitpid(tid, status, __WALL | WNOHANG);

		if (got == tid)
			return 0;
		if (got < 0 && errno != EINTR)
			return -ECHILD;
		if (got < 0 || waitid(P_ALL, 0, &any, WEXITED | WSTOPPED | WNOWAIT | __WALL) ||
		    any.si_pid == tid)
			continue;
		/* All end together: that of another thread stands for that of this one. */
		if (any.si_code == CLD_KILLED || any.si_code == CLD_DUMPED) {
			if (waitpid(tid, status, __WALL | WNOHANG) == tid)
				return 0;
			return -ECHILD;
		}
		/* Something else that nobody has asked for yet. */
		nanosleep(&moment, NULL);
	}
}

/*
 * A process that stays stopped when its tracer dies.
 *
 * A tracer that dies lets its tracees run, unless their process is in a group
 * stop: then the kernel leaves them stopped (kernel/ptrace.c, __ptrace_unlink).  A
 * group stop begins when one thread takes SIGSTOP:
 *   1. SIGSTOP is sent to the leader;
 *   2. the leader goes on, in the kernel alone: it stands before the exit to user
 *      mode, meets the signal there, and shows it to us;
 *   3. we let it have the signal: it stops for its group, and all others, who are
 *      in our stops, belong to that group stop from now on.
 * Signals that the leader takes before SIGSTOP are let through: it stands at the first
 * instruction of a handler then, and has not run it; or has ended, of a signal that
 * ends it.  (They cannot be put back: no other process may send as the kernel or
 * kill(2) do.)  Should SIGCONT come between 1 and 2, the leader would run: that shows,
 * since it does not stop.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/io.h"
#include "remote/remote.h"

#define PATIENCE_MS 2000

/* 1: it stopped, 0: it did not in time, negative: it ended. */
static int wait_some(pid_t tid, int *status)
{
	struct timespec step = {.tv_nsec = 1000 * 1000};

	for (int i = 0; i < PATIENCE_MS; i++) {
		pid_t got = waitpid(tid, status, __WALL | WNOHANG);

		if (got == tid)
			return WIFSTOPPED(*status) ? 1 : -ESRCH;
		if (got < 0)
			return -errno;
		if (i < 20)
			syscall(SYS_sched_yield);
		else
			nanosleep(&step, NULL);
	}
	return 0;
}

/* The leader is in a stop again, whatever it did meanwhile. */
static int give_up(const struct remote *r, struct err *err)
{
	int status;

	if (!ptrace(PTRACE_INTERRUPT, r->threads[0].tid, 0, 0))
		(void)wait_some(r->threads[0].tid, &status);
	return err_set(err, -EAGAIN, "process %d was continued by somebody meanwhile", r->pid);
}

/* 1: it stands, 0: go on, with *pass for the leader; negative: it ended. */
static int one_stop(pid_t tid, int status, struct remote_taken *taken, int *pass, struct err *err)
{
	int sig = WSTOPSIG(status);

	*pass = 0;
	if (status >> 16 == PTRACE_EVENT_STOP)
		return sig == SIGSTOP;
	if (status >> 16)
		return 0;
	*pass = sig;
	if (sig == SIGSTOP)
		return 0;
	if (taken->n == REMOTE_TAKEN_MAX)
		return err_set(err, -EAGAIN, "too many signals are on their way to thread %d", tid);
	if (!ptrace(PTRACE_GETSIGINFO, tid, 0, &taken->v[taken->n]))
		taken->n++;
	return 0;
}

int remote_hold(struct remote *r, struct remote_taken *taken, struct err *err)
{
	pid_t tid = r->threads[0].tid;
	int pass = 0;

	taken->n = 0;
	if (syscall(SYS_tgkill, r->pid, tid, SIGSTOP))
		return err_sys(err, -errno, "cannot stop process %d", r->pid);
	for (int i = 0; i < 2 * REMOTE_TAKEN_MAX; i++) {
		int status, ret;

		if (ptrace(PTRACE_CONT, tid, 0, pass))
			return err_set(err, -ESRCH, "process %d has ended", r->pid);
		ret = wait_some(tid, &status);
		if (ret < 0)
			return err_set(err, -ESRCH, "process %d has ended", r->pid);
		if (ret == 0)
			break;
		ret = one_stop(tid, status, taken, &pass, err);
		if (ret)
			return ret < 0 ? ret : 0;
	}
	return give_up(r, err);
}

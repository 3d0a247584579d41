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
 * Signals that are taken before SIGSTOP are put back behind it.  Should SIGCONT come
 * between 1 and 2, the leader would run: that shows, since it does not stop.
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

#define HELD_MAX 64
#define PATIENCE_MS 2000

struct held {
	siginfo_t v[HELD_MAX];
	size_t n;
};

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

static void put_back(const struct remote *r, struct held *h)
{
	for (size_t i = 0; i < h->n; i++)
		syscall(SYS_rt_tgsigqueueinfo, r->pid, r->threads[0].tid, h->v[i].si_signo,
			&h->v[i]);
	h->n = 0;
}

/* The leader is in a stop again, whatever it did meanwhile. */
static int give_up(const struct remote *r, struct err *err)
{
	int status;

	if (!ptrace(PTRACE_INTERRUPT, r->threads[0].tid, 0, 0))
		(void)wait_some(r->threads[0].tid, &status);
	return err_set(err, -EAGAIN, "process %d was continued by somebody meanwhile", r->pid);
}

int remote_hold(struct remote *r, struct err *err)
{
	pid_t tid = r->threads[0].tid;
	struct held h = {.n = 0};
	int pass = 0;

	if (syscall(SYS_tgkill, r->pid, tid, SIGSTOP))
		return err_sys(err, -errno, "cannot stop process %d", r->pid);
	for (int i = 0; i < 2 * HELD_MAX; i++) {
		int status, ret, sig;

		if (ptrace(PTRACE_CONT, tid, 0, pass))
			return err_set(err, -ESRCH, "process %d has ended", r->pid);
		ret = wait_some(tid, &status);
		if (ret < 0)
			return err_set(err, -ESRCH, "process %d has ended", r->pid);
		if (ret == 0)
			break;
		sig = WSTOPSIG(status);
		pass = 0;
		if (status >> 16 == PTRACE_EVENT_STOP && sig == SIGSTOP) {
			put_back(r, &h);
			return 0;
		}
		if (status >> 16 == 0 && sig == SIGSTOP)
			pass = SIGSTOP;
		else if (status >> 16 == 0 && h.n < HELD_MAX &&
			 !ptrace(PTRACE_GETSIGINFO, tid, 0, &h.v[h.n]))
			h.n++;
	}
	put_back(r, &h);
	return give_up(r, err);
}

/*
 * Borrowing a stopped thread.
 *
 * How a thread is borrowed and given back, and why in this order:
 *   1. PTRACE_SETREGS to a unit of ours;    killed here: the unit runs and heals
 *   2. PTRACE_SETSIGMASK, all but the bell; killed here: the same
 *   3. it runs; the bell stops it
 *   4. PTRACE_SETSIGMASK, the program's;    killed here: the unit heals
 *   5. PTRACE_SETREGS, the program's.
 * The other way round a death between two steps would leave the program with
 * every signal blocked.
 */
#include "remote/internal.h"

#include <errno.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "base/fault.h"

int remote_died(struct remote *r, struct err *err)
{
	return err_set(err, -ESRCH, "process %d ended while it was being worked on", r->pid);
}

uint64_t remote_unit(const struct remote *r, size_t thread)
{
	return r->scratch + thread * ARCH_UNIT_STRIDE;
}

int remote_lend(struct remote *r, struct tracee *t, const struct user_regs_struct *regs,
		struct err *err)
{
	uint64_t mask = r->guarded ? UINT64_MAX : ~(1ULL << (r->bell - 1));

	if (ptrace(PTRACE_SETREGS, t->tid, 0, regs))
		return errno == ESRCH ? remote_died(r, err)
				      : err_sys(err, -errno, "cannot set registers");
	if (!t->borrowed) {
		fault_point("registers lent");
		if (ptrace(PTRACE_SETSIGMASK, t->tid, sizeof(mask), &mask))
			return errno == ESRCH ? remote_died(r, err)
					      : err_sys(err, -errno, "cannot set signal mask");
		t->borrowed = true;
	}
	return 0;
}

int remote_enter(struct remote *r, struct tracee *t, const struct user_regs_struct *regs,
		 struct err *err)
{
	int ret = remote_lend(r, t, regs, err);

	if (ret)
		return ret;
	if (ptrace(PTRACE_CONT, t->tid, 0, 0))
		return errno == ESRCH ? remote_died(r, err)
				      : err_sys(err, -errno, "cannot continue thread");
	return 0;
}

static bool is_stop_signal(int sig)
{
	return sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU;
}

static uint64_t rung_at(uint64_t unit)
{
	return unit + (uint64_t)(arch_unit_rung - arch_unit_code);
}

bool remote_has_rung(const struct tracee *t, uint64_t unit)
{
	struct user_regs_struct regs;

	return !ptrace(PTRACE_GETREGS, t->tid, 0, &regs) && regs.rip == rung_at(unit);
}

/* Waits until the thread rings the bell; *regs are as it stands there. */
int remote_wait_bell(struct remote *r, struct tracee *t, uint64_t unit,
		     struct user_regs_struct *regs, struct err *err)
{
	for (;;) {
		int status, sig, pass = 0;

		if (remote_wait_thread(r, t->tid, &status) || WIFEXITED(status) ||
		    WIFSIGNALED(status))
			return remote_died(r, err);
		sig = WSTOPSIG(status);
		if (status >> 16 == 0) {
			if (sig == r->bell && !regs)
				return 0;
			if (regs && ptrace(PTRACE_GETREGS, t->tid, 0, regs))
				return remote_died(r, err);
			if (sig == r->bell && regs->rip == rung_at(unit))
				return 0;
			if (sig == SIGSEGV || sig == SIGBUS || sig == SIGILL || sig == SIGSYS)
				return err_set(err, -EFAULT,
					       "process %d: signal %d while running a call of ours",
					       r->pid, sig);
			if (is_stop_signal(sig))
				r->stop_held = true; /* given back by remote_release */
			else
				pass = sig;
		}
		/* Else a group stop or the like: the thread runs for us all the same. */
		if (ptrace(PTRACE_CONT, t->tid, 0, pass))
			return remote_died(r, err);
	}
}

int remote_give_back(struct tracee *t)
{
	if (!t->borrowed)
		return 0;
	if (ptrace(PTRACE_SETSIGMASK, t->tid, sizeof(t->sigmask), &t->sigmask))
		return -errno;
	fault_point("signal mask given back");
	if (ptrace(PTRACE_SETREGS, t->tid, 0, &t->regs))
		return -errno;
	t->borrowed = false;
	return 0;
}

/* One call by registers alone, in the unit at address `unit`. */
int remote_call_one(struct remote *r, uint64_t unit, long nr, const uint64_t arg[6], int64_t *ret,
		    struct err *err)
{
	struct tracee *t = &r->threads[0];
	struct user_regs_struct regs = t->regs;
	int e;

	if (r->guarded)
		return remote_guarded_call(r, t, unit, nr, arg, ret, err);
	arch_enter_call(&regs, unit, nr, arg);
	if ((e = remote_enter(r, t, &regs, err)) || (e = remote_wait_bell(r, t, unit, &regs, err)))
		return e;
	*ret = arch_call_result(&regs);
	return 0;
}

int remote_call_function(struct remote *r, uint64_t addr, uint64_t fs_base, uint64_t arg,
			 uint64_t *ret, struct err *err)
{
	struct tracee *t = &r->threads[0];
	struct user_regs_struct regs = t->regs;
	uint64_t unit = remote_unit(r, 0), back = arch_unit_take_result(unit);
	int e;

	arch_enter_function(&regs, addr, r->data + REMOTE_DATA_LEN, fs_base, arg);
	if ((e = remote_write(r, regs.rsp, &back, sizeof(back))))
		return err_sys(err, e, "cannot write to the scratch mapping");
	if ((e = remote_enter(r, t, &regs, err)) || (e = remote_wait_bell(r, t, unit, &regs, err)))
		return e;
	*ret = (uint64_t)arch_call_result(&regs);
	return 0;
}

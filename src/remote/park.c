/*
 * Parking: a process that stands still, for which something outside of it was undone, and that
 * must do it again before it goes on, whoever lets it go on and whether any of ours still
 * lives.  (Its file locks, which it gives up before another copy takes them.)
 *
 *   1. Every thread but the first is put at the beginning of the list `again`, and does not run.
 *      Killed here: each makes those calls, which change nothing, and is put right by its unit.
 *   2. The first one runs `undo`, and a tgkill() by which it rings in the middle of its
 *      list: there it stands, with `again` before it.
 * Let go on, by whoever it is, each of them makes the calls of `again`, and the program's own code
 * only then.  So these must be calls that any thread may make, and all of them, one beside the
 * other: a lock that the process has already is no harm.
 *
 * Meant for a process in a group stop (remote_hold): PTRACE_CONT lets a thread run all the same,
 * and one whose tracer dies stands still again (kernel/ptrace.c, __ptrace_unlink).
 */
#include <errno.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "base/fault.h"
#include "base/io.h"
#include "remote/internal.h"

static void to_wire(const struct remote *r, struct wire_call *w, const struct call *c)
{
	*w = (struct wire_call){.nr = c->nr, .expect = EXPECT_ANY};
	for (int a = 0; a < 6; a++)
		w->arg[a] = c->arg[a] + (c->pointers >> a & 1 ? r->data : 0);
}

static int write_lists(struct remote *r, struct wire_call *w, const struct remote_parking *p,
		       struct err *err)
{
	const struct call bell = {
		.nr = SYS_tgkill,
		.arg = {(uint64_t)r->ns_pid, (uint64_t)r->threads[0].ns_tid, (uint64_t)r->bell}};
	size_t n = 2 * p->n + 1;
	int ret;

	for (size_t i = 0; i < p->n; i++) {
		to_wire(r, &w[i], &p->undo[i]);
		to_wire(r, &w[p->n + 1 + i], &p->again[i]);
	}
	to_wire(r, &w[p->n], &bell);
	if ((ret = remote_write(r, r->data, p->data, p->data_len)) ||
	    (ret = remote_write(r, r->calls, w, n * sizeof(*w))))
		return err_sys(err, ret, "cannot write to the scratch mapping");
	return 0;
}

/* Whatever it took on its way into the group stop. */
static int read_leader(struct remote *r, struct err *err)
{
	struct tracee *t = &r->threads[0];

	if (ptrace(PTRACE_GETREGS, t->tid, 0, &t->regs) ||
	    ptrace(PTRACE_GETSIGMASK, t->tid, sizeof(t->sigmask), &t->sigmask))
		return remote_died(r, err);
	return 0;
}

static int stand_others(struct remote *r, const struct remote_parking *p, struct err *err)
{
	uint64_t again = r->calls + (p->n + 1) * sizeof(struct wire_call);

	for (size_t i = 1; i < r->n; i++) {
		struct user_regs_struct regs = r->threads[i].regs;
		int ret;

		arch_enter_list(&regs, remote_unit(r, i), again, p->n);
		if ((ret = remote_lend(r, &r->threads[i], &regs, err)))
			return ret;
	}
	return 0;
}

/* Until the first thread stands at the bell in the middle. */
static int undo(struct remote *r, size_t n, struct err *err)
{
	struct tracee *t = &r->threads[0];
	struct user_regs_struct regs = t->regs;
	int ret;

	arch_enter_list(&regs, remote_unit(r, 0), r->calls, 2 * n + 1);
	if ((ret = remote_enter(r, t, &regs, err)))
		return ret;
	for (;;) {
		if ((ret = remote_wait_bell(r, t, 0, NULL, err)))
			return ret;
		if (ptrace(PTRACE_GETREGS, t->tid, 0, &regs))
			return remote_died(r, err);
		if (arch_calls_left(&regs) <= n + 1)
			return 0;
		/* A signal like the bell, from elsewhere. */
		if (ptrace(PTRACE_CONT, t->tid, 0, 0))
			return remote_died(r, err);
	}
}

int remote_park(struct remote *r, const struct remote_parking *p, struct proc_maps *maps,
		struct err *err)
{
	__cleanup_free struct wire_call *w = io_alloc(2 * p->n + 1, sizeof(*w), err);
	int ret = w ? read_leader(r, err) : err->error;

	/* It may have to make those calls when nobody suspends its filter: guarded.c. */
	if (r->guarded) {
		err_refuse(err, "process %d holds locks for writing, and has a seccomp filter",
			   r->pid);
		return err_hint(err, "let it give them up before it moves");
	}

	if (ret || (ret = remote_prepare(r, maps, err)) || (ret = write_lists(r, w, p, err)))
		return ret;
	r->parked = true;
	fault_point("lists written");
	if ((ret = stand_others(r, p, err)) || (ret = undo(r, p->n, err)))
		return ret;
	if ((ret = remote_read(r, r->calls, w, p->n * sizeof(*w))))
		return err_sys(err, ret, "cannot read from the scratch mapping");
	for (size_t i = 0; i < p->n; i++)
		if (w[i].ret < 0)
			return err_sys(err, (int)w[i].ret, "%s", p->undo[i].why);
	return 0;
}

/* Has it calls before it that are not made?  (Where parking failed half-way some have none.) */
static bool has_calls(struct remote *r, size_t i)
{
	struct user_regs_struct regs;
	uint64_t unit = remote_unit(r, i);

	return r->threads[i].borrowed && !ptrace(PTRACE_GETREGS, r->threads[i].tid, 0, &regs) &&
	       regs.rip - unit < ARCH_UNIT_CODE && !remote_has_rung(&r->threads[i], unit);
}

/* 1: its list is done, and it stands behind its unit's own bell. */
static int look(struct remote *r, size_t i, struct err *err)
{
	struct tracee *t = &r->threads[i];
	int status, sig;
	pid_t got = waitpid(t->tid, &status, __WALL | WNOHANG);

	if (got == 0)
		return 0;
	if (got < 0 || !WIFSTOPPED(status))
		return remote_died(r, err);
	sig = status >> 16 ? 0 : WSTOPSIG(status);
	if (sig == r->bell && remote_has_rung(t, remote_unit(r, i))) {
		t->stopped = true;
		return 1;
	}
	if (ptrace(PTRACE_CONT, t->tid, 0, sig == r->bell || sig == SIGSTOP ? 0 : sig))
		return remote_died(r, err);
	return 0;
}

int remote_unpark(struct remote *r, int ms, struct err *err)
{
	struct timespec step = {.tv_nsec = 1000 * 1000};
	size_t left = 0;

	if (!r->parked)
		return 0;
	for (size_t i = 0; i < r->n; i++) {
		if (!has_calls(r, i))
			continue;
		if (ptrace(PTRACE_CONT, r->threads[i].tid, 0, 0))
			return remote_died(r, err);
		r->threads[i].stopped = false;
		left++;
	}
	for (; left && ms >= 0; ms--) {
		for (size_t i = 0; i < r->n; i++) {
			int ret = r->threads[i].stopped ? 0 : look(r, i, err);

			if (ret < 0)
				return ret;
			left -= (size_t)ret;
		}
		if (left)
			nanosleep(&step, NULL);
	}
	if (left)
		return err_set(err, -EAGAIN, "process %d still waits", r->pid);
	r->parked = false;
	return 0;
}

void remote_cover(struct remote *r, struct remote_covered *c)
{
	static const uint8_t zeros[ARCH_UNIT_STRIDE];

	c->is_covered = r->parked && r->vdso_unit &&
			!remote_read_force(r, r->vdso_unit, c->unit, sizeof(c->unit)) &&
			!remote_write_force(r, r->vdso_unit, zeros, sizeof(zeros));
}

int remote_uncover(struct remote *r, const struct remote_covered *c)
{
	return c->is_covered ? remote_write_force(r, r->vdso_unit, c->unit, sizeof(c->unit)) : 0;
}

/*
 * Threads with seccomp filters.
 *
 * A filter may kill for any call that the program does not make by itself, so for nearly each of
 * ours.  While we trace, PTRACE_O_SUSPEND_SECCOMP has the kernel pass over filters
 * (kernel/seccomp.c, __secure_computing); it ends with us.  The danger:
 *   1. a thread is made to go to a call of ours;
 *   2. we are killed, and the kernel detaches it, with its filter;
 *   3. it makes the call, and is killed.
 * (At 2 it may as well be in a syscall-enter-stop: the filter is asked after that.)  So such a
 * thread runs another unit (arch/x86_64/unit.S, arch_guarded_code), which
 *   - makes one call only, and only within a moment of which we have told it the end, by the
 *     time-stamp counter; it turns until it may, or until that would take too long;
 *   - rings by rt_sigprocmask(), which unblocks a signal that we have sent to it, and heals by the
 *     same: that its filter must allow, else it is refused.
 * From SIGKILL on, a tracer takes longer to let go of its tracees (kernel/exit.c, do_exit: its
 * memory, its files, and only then exit_notify) than that moment lasts: for that we have memory
 * of no other use, which takes 2.7 ms to free where the moment is 1.2 ms.  What is left is a thread
 * that is suspended between its last look at the clock and the next instructions, just when its
 * tracer is killed.
 *
 * A thread that is in its own call, and would go on in it by restart_syscall(), which a filter
 * sees as a call like any other (seccomp(2), "Caveats"), is made to enter the call again where its
 * filter has nothing for that, as soon as it stands.  SIGSTOP and SIGCONT would kill it; and so
 * would our own end, between its stop and that.
 */
#include "remote/internal.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/io.h"
#include "base/refusal.h"

#ifndef PTRACE_O_SUSPEND_SECCOMP
#define PTRACE_O_SUSPEND_SECCOMP (1 << 21)
#endif
#define PTRACE_GET_FILTER ((enum __ptrace_request)0x420c)
#define PTRACE_GET_METADATA ((enum __ptrace_request)0x420d)

/* Ticks of the time-stamp counter, 1 to 5 in a nanosecond. */
#define MOMENT 3000000u
#define SHORT_MOMENT 60000u
#define BALLAST (32u << 20)
#define PATIENCE 1000000000u
/* So often the tracer looks at once, and so long it sleeps then. */
#define YIELDS 8
#define STEP_NS 5000
#define GIVE_UP_NS (10ull * 1000 * 1000 * 1000)

/* --- the time that our death takes --- */

void remote_take_ballast(struct remote *r)
{
	char *p = r->ballast ? MAP_FAILED
			     : mmap(NULL, BALLAST, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return;
	/* Huge ones would be freed at once. */
	madvise(p, BALLAST, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < BALLAST; i += PAGE_SIZE_4K)
		p[i] = 1;
	r->ballast = p;
}

void remote_drop_ballast(struct remote *r)
{
	if (r->ballast)
		munmap(r->ballast, BALLAST);
	r->ballast = NULL;
}

/* --- filters --- */

void remote_free_filters(struct seccomp_filter *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(v[i].insns);
	free(v);
}

/* 0: there are no more; negative: an errno. */
static long read_filter(pid_t tid, size_t i, struct seccomp_filter *f)
{
	struct sock_filter insns[BPF_MAXINSNS];
	struct {
		uint64_t number, flags;
	} more = {.number = i};
	long n = ptrace(PTRACE_GET_FILTER, tid, i, insns);

	if (n <= 0 || n > BPF_MAXINSNS)
		return n < 0 && errno != ENOENT ? -errno : 0;
	/* Linux 4.16; before that a filter has no flags that could be asked for. */
	if (ptrace(PTRACE_GET_METADATA, tid, sizeof(more), &more) < 0)
		more.flags = 0;
	f->flags = (uint32_t)more.flags;
	f->n = (size_t)n;
	f->insns = malloc(f->n * sizeof(*insns));
	if (!f->insns)
		return -ENOMEM;
	memcpy(f->insns, insns, f->n * sizeof(*insns));
	return 1;
}

int remote_filters(const struct tracee *t, struct seccomp_filter **ret, size_t *ret_n,
		   struct err *err)
{
	struct seccomp_filter *v = NULL, f;
	size_t n = 0, cap = 0;
	long got = 0;

	while (t->seccomp == REMOTE_FILTERED && (got = read_filter(t->tid, n, &f)) > 0) {
		void *grown = io_grow(v, &cap, n + 1, sizeof(*v), err);

		if (!grown) {
			free(f.insns);
			remote_free_filters(v, n);
			return err->error;
		}
		v = grown;
		v[n++] = f;
	}
	if (got < 0) {
		remote_free_filters(v, n);
		return err_sys(err, (int)got, "cannot read the seccomp filter of thread %d",
			       t->tid);
	}
	*ret = v;
	*ret_n = n;
	return 0;
}

/* --- may it be worked on? --- */

static void look_for_filter(const struct remote *r, struct tracee *t)
{
	if (!t->knows_seccomp)
		remote_look(r, t);
	/* It may have set one since then; only root can ask. */
	if (!t->seccomp && !geteuid() && ptrace(PTRACE_GET_FILTER, t->tid, 0, 0) > 0)
		remote_look(r, t);
}

/* May the filter be read, and does it let pass? */
static bool lets_restart(const struct tracee *t)
{
	const uint64_t none[6] = {0};
	struct seccomp_data d = bpf_call(SYS_restart_syscall, none, t->regs.rip);
	struct seccomp_filter *v = NULL;
	struct err ignored = ERR_INIT;
	bool passes;
	size_t n = 0;

	passes = !remote_filters(t, &v, &n, &ignored) && bpf_lets_pass(v, n, &d);
	remote_free_filters(v, n);
	return passes;
}

int remote_spare_restart(struct tracee *t)
{
	struct user_regs_struct again = t->regs;

	if (!t->seccomp || !arch_restarts_by_number(&t->regs))
		return 0;
	arch_enter_again(&again);
	if (ptrace(PTRACE_SETREGS, t->tid, 0, &again))
		return -errno;
	if (lets_restart(t))
		return ptrace(PTRACE_SETREGS, t->tid, 0, &t->regs) ? -errno : 0;
	t->regs = again;
	return 0;
}

static int refuse_listener(const struct tracee *t, const struct seccomp_filter *v, size_t n,
			   struct err *err)
{
	for (size_t i = 0; i < n; i++)
		if (bpf_asks_a_listener(&v[i]))
			return err_refuse_as(err, REFUSED_SECCOMP_ASKS,
					     "a seccomp filter of thread %d asks another process "
					     "(SECCOMP_RET_USER_NOTIF)",
					     t->tid);
	return 0;
}

static int guard_thread(struct remote *r, struct tracee *t, struct err *err)
{
	struct seccomp_filter *v = NULL;
	struct err why = ERR_INIT;
	size_t n = 0;
	int ret;

	if (t->seccomp != REMOTE_FILTERED)
		return err_refuse_as(err, REFUSED_SECCOMP_STRICT,
				     "thread %d is in the strict mode of seccomp", t->tid);
	if (remote_filters(t, &v, &n, &why) ||
	    ptrace(PTRACE_SETOPTIONS, t->tid, 0, r->options | PTRACE_O_SUSPEND_SECCOMP)) {
		remote_free_filters(v, n);
		return err_refuse_as(err, REFUSED_SECCOMP,
				     "thread %d has a seccomp filter, which only root may read",
				     t->tid);
	}
	ret = refuse_listener(t, v, n, err);
	remote_free_filters(v, n);
	return ret;
}

int remote_guard_filtered(struct remote *r, struct err *err)
{
	int ret = 0;

	for (size_t i = 0; i < r->n; i++)
		look_for_filter(r, &r->threads[i]);
	for (size_t i = 0; i < r->n && !r->guarded; i++)
		r->guarded = r->threads[i].seccomp;
	if (!r->guarded)
		return 0;
	for (size_t i = 0; i < r->n && !ret; i++)
		if (r->threads[i].seccomp)
			ret = guard_thread(r, &r->threads[i], err);
	return ret;
}

int remote_guard_new(struct remote *r, struct err *err)
{
	bool suspended = true;

	/* Only root may. */
	for (size_t i = 0; i < r->n && suspended; i++)
		suspended = !ptrace(PTRACE_SETOPTIONS, r->threads[i].tid, 0,
				    r->options | PTRACE_O_SUSPEND_SECCOMP);
	r->guarded = true;
	remote_take_ballast(r);
	return remote_rewrite_units(r, err);
}

static int check_heal(const struct remote *r, const struct tracee *t, uint64_t unit,
		      const struct seccomp_filter *v, size_t n, struct err *err)
{
	for (int i = 0; i < 2; i++) {
		uint64_t arg[6], ip = arch_guarded_own_call(unit, i, arg);
		struct seccomp_data d = bpf_call(SYS_rt_sigprocmask, arg, ip);

		if (!bpf_lets_pass(v, n, &d))
			return err_refuse_as(err, REFUSED_SECCOMP_HEAL,
					     "the seccomp filter of thread %d forbids "
					     "rt_sigprocmask(), by which process %d is put right "
					     "if godwit dies",
					     t->tid, r->pid);
	}
	return 0;
}

int remote_check_heal(const struct remote *r, struct err *err)
{
	for (size_t i = 0; r->guarded && i < r->n; i++) {
		const struct tracee *t = &r->threads[i];
		struct seccomp_filter *v;
		size_t n;
		int ret;

		if (!t->seccomp)
			continue;
		if ((ret = remote_filters(t, &v, &n, err)))
			return ret;
		ret = check_heal(r, t, r->scratch_at + i * ARCH_UNIT_STRIDE, v, n, err);
		if (!ret && i == 0)
			ret = check_heal(r, t, r->vdso_room, v, n, err);
		remote_free_filters(v, n);
		if (ret)
			return ret;
	}
	return 0;
}

/* --- a call --- */

struct calling {
	struct remote *r;
	struct tracee *t;
	uint64_t unit;
	struct user_regs_struct regs; /* to begin with */
};

/* It may make its call from now on, for a moment. */
static int grant(const struct calling *c)
{
	uint64_t now = arch_ticks();
	uint64_t v[2] = {now + (c->r->ballast ? MOMENT : SHORT_MOMENT), now + PATIENCE};

	return remote_write_force(
		c->r, c->unit + ARCH_GUARDED_CODE + offsetof(struct arch_unit_data, until), v,
		sizeof(v));
}

/* Sends it the signal by which it rings, blocked until then, and lets it go. */
static int begin(const struct calling *c, struct err *err)
{
	uint64_t all = UINT64_MAX;
	int ret = remote_lend(c->r, c->t, &c->regs, err);

	if (ret)
		return ret;
	if (ptrace(PTRACE_SETSIGMASK, c->t->tid, sizeof(all), &all) ||
	    syscall(SYS_tgkill, c->r->pid, c->t->tid, c->r->bell) || grant(c) ||
	    ptrace(PTRACE_CONT, c->t->tid, 0, 0))
		return remote_died(c->r, err);
	fault_point("call granted");
	return 0;
}

/*
 * Until it has stopped.  Where it is not on a processor just when it may go on it misses that, and
 * is told again.
 */
static int wait_granting(const struct calling *c, int *status, struct err *err)
{
	struct timespec step = {.tv_nsec = STEP_NS};

	for (unsigned i = 1;; i++) {
		pid_t got = waitpid(c->t->tid, status, __WALL | WNOHANG);

		if (got == c->t->tid)
			return WIFSTOPPED(*status) ? 0 : remote_died(c->r, err);
		if (got < 0 || (i % 1024 == 0 && remote_has_ended(c->t->tid)))
			return remote_died(c->r, err);
		if (i < YIELDS) {
			sched_yield();
			continue;
		}
		if (grant(c))
			return remote_died(c->r, err);
		nanosleep(&step, NULL);
	}
}

static bool is_stop_signal(int sig)
{
	return sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU;
}

/* Until it has rung; *regs are as it stands there. */
static int wait_rung(const struct calling *c, struct user_regs_struct *regs, struct err *err)
{
	for (;;) {
		int status, sig, pass = 0, ret = wait_granting(c, &status, err);

		if (ret)
			return ret;
		if (ptrace(PTRACE_GETREGS, c->t->tid, 0, regs))
			return remote_died(c->r, err);
		sig = status >> 16 ? 0 : WSTOPSIG(status);
		if (sig == c->r->bell && arch_guarded_has_rung(regs, c->unit))
			return 0;
		if (sig == SIGSEGV || sig == SIGBUS || sig == SIGILL || sig == SIGSYS)
			return err_set(err, -EFAULT,
				       "process %d: signal %d while running a call of ours",
				       c->r->pid, sig);
		if (is_stop_signal(sig))
			c->r->stop_held = true; /* given back by remote_release */
		else
			pass = sig;
		if (ptrace(PTRACE_CONT, c->t->tid, 0, pass))
			return remote_died(c->r, err);
	}
}

int remote_guarded_call(struct remote *r, struct tracee *t, uint64_t unit, long nr,
			const uint64_t arg[6], int64_t *ret, struct err *err)
{
	struct calling c = {r, t, unit, t->regs};
	uint64_t begun = io_now_ns();

	prctl(PR_SET_TIMERSLACK, 1); /* sleeps are as short as they can be */
	arch_enter_guarded(&c.regs, unit, nr, arg);
	for (;;) {
		struct user_regs_struct regs;
		int e = begin(&c, err);

		if (e || (e = wait_rung(&c, &regs, err)))
			return e;
		fault_point("call made");
		if (arch_guarded_result(&regs, ret))
			return 0;
		if (io_now_ns() - begun > GIVE_UP_NS)
			return err_set(err, -EBUSY, "thread %d makes no call for us in time",
				       t->tid);
	}
}

int remote_guarded_exit(struct remote *r, uint64_t unit, int status)
{
	struct calling c = {r, &r->threads[0], unit, r->threads[0].regs};
	uint64_t arg[6] = {(uint64_t)status};

	arch_enter_guarded(&c.regs, unit, SYS_exit_group, arg);
	if (grant(&c) || ptrace(PTRACE_SETREGS, c.t->tid, 0, &c.regs) ||
	    ptrace(PTRACE_CONT, c.t->tid, 0, 0))
		return -ESRCH;
	return 0;
}

/*
 * Signals that came to the program while it was away, and the one that must be none of
 * them.  They are made pending like those of
 * the model (state/signals.c, state/threads.c), by the program itself, which alone
 * may say who sent them.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>

#include "restart/internal.h"

static siginfo_t info_of(const struct late_signal *s)
{
	siginfo_t si;

	memcpy(&si, s->signal.info, sizeof(si));
	return si;
}

static bool is_late(const struct late_signal *v, size_t n, int sig)
{
	for (size_t i = 0; i < n; i++)
		if (info_of(&v[i]).si_signo == sig)
			return true;
	return false;
}

static bool has_pending(const struct pending_signal *v, size_t n, int sig)
{
	for (size_t i = 0; i < n; i++)
		if (((const siginfo_t *)(const void *)v[i].info)->si_signo == sig)
			return true;
	return false;
}

/* Its timers may expire while the program is being made. */
static bool is_timed(const struct process *p, int sig)
{
	for (size_t i = 0; i < p->nposix_timers; i++)
		if (p->posix_timers[i].signal == sig)
			return true;
	return false;
}

/*
 * The signal by which a thread tells that its calls are done is the only one that
 * is not blocked meanwhile: were it among those that are made pending again, the
 * program's handler would run, half restored.  (Go has SIGURG pending at most times.)
 */
int rebuild_choose_bell(const struct rebuild *b, const struct late_signal *v, size_t n)
{
	const struct process *p = &b->proc;

	for (int sig = SIGURG;; sig = sig == SIGURG ? 64 : sig - 1) {
		bool pending = has_pending(p->pending, p->npending, sig) || is_timed(p, sig) ||
			       is_late(v, n, sig);

		for (size_t i = 0; i < p->nthreads && !pending; i++)
			pending = has_pending(p->threads[i].pending, p->threads[i].npending, sig);
		if (!pending || sig == 33)
			return sig;
	}
}

static void queue(struct rebuild *b, const struct late_signal *s)
{
	const struct restore *r = &b->restore;
	struct program *g = &b->prog;
	uint64_t pid = (uint64_t)r->new_pid, sig = (uint64_t)info_of(s).si_signo;

	program_reserve(g, PROGRAM_PIECE(sizeof(s->signal)));
	if (s->thread) {
		program_thread(g, s->thread - 1);
		program_call(g, "late signal of the thread", SYS_rt_tgsigqueueinfo, pid,
			     (uint64_t)r->new_tids[s->thread - 1], sig,
			     program_data(g, &s->signal, sizeof(s->signal)), 0, 0);
		return;
	}
	program_thread(g, 0);
	program_call(g, "late signal", SYS_rt_sigqueueinfo, pid, sig,
		     program_data(g, &s->signal, sizeof(s->signal)), 0, 0, 0);
}

int rebuild_queue_late(struct rebuild *b, const struct late_signal *v, size_t n, struct err *err)
{
	const struct restore *r = &b->restore;
	int ret;

	if (!n)
		return 0;
	b->remote.bell = rebuild_choose_bell(b, v, n);
	program_init(&b->prog, r->scratch + r->scratch_len - REMOTE_DATA_LEN, REMOTE_DATA_LEN,
		     REMOTE_CALL_CAP, err);
	for (size_t i = 0; i < n; i++)
		if (v[i].thread > b->proc.nthreads)
			program_fail(&b->prog, -EPROTO, "a late signal is for no thread");
		else if (info_of(&v[i]).si_signo == SIGSTOP)
			b->remote.stop_held = true; /* it cannot be pending in who runs calls */
		else
			queue(b, &v[i]);
	ret = remote_run(&b->remote, &b->prog, err);
	program_done(&b->prog);
	return ret;
}

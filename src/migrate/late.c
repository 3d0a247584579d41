/* Late signals: see late.h. */
#include "migrate/late.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "state/state.h"

static siginfo_t info_of(const struct pending_signal *s)
{
	siginfo_t si;

	memcpy(&si, s->info, sizeof(si));
	return si;
}

static bool is_same(const struct pending_signal *a, const struct pending_signal *b)
{
	return !memcmp(a->info, b->info, sizeof(a->info));
}

/*
 * Sent by somebody, or by a terminal; not by the kernel for what the program itself has
 * set up.  An alarm of the program's, say, expires here while it stands, and goes
 * on over there with the time that was left.
 */
static bool travels(const siginfo_t *si)
{
	switch (si->si_code) {
	case SI_TIMER:
	case SI_MESGQ:
		return false;
	case SI_KERNEL:
		return si->si_signo == SIGHUP || si->si_signo == SIGINT ||
		       si->si_signo == SIGQUIT || si->si_signo == SIGTSTP ||
		       si->si_signo == SIGWINCH;
	default:
		return si->si_code <= 0;
	}
}

static int add(struct late *l, uint32_t thread, const struct pending_signal *s, struct err *err)
{
	siginfo_t si = info_of(s);
	void *v;

	if (!travels(&si))
		return 0;
	if (l->n == LATE_MAX)
		return err_set(err, -EAGAIN, "the program gets more signals than can be carried");
	if (!(v = io_grow(l->v, &l->cap, l->n + 1, sizeof(*l->v), err)))
		return err->error;
	l->v = v;
	l->v[l->n++] = (struct late_signal){.thread = thread, .signal = *s};
	return 0;
}

int late_init(struct late *l, const struct process *p, struct err *err)
{
	*l = (struct late){.nqueues = p->nthreads + 1};
	l->seen = io_alloc(l->nqueues, sizeof(*l->seen), err);
	if (!l->seen)
		return err->error;
	l->seen[0] = (struct late_queue){p->pending, p->npending, false};
	for (size_t i = 0; i < p->nthreads; i++)
		l->seen[i + 1] =
			(struct late_queue){p->threads[i].pending, p->threads[i].npending, false};
	return 0;
}

static void replace(struct late_queue *q, struct pending_signal *v, size_t n)
{
	if (q->is_ours)
		free(q->v);
	*q = (struct late_queue){v, n, true};
}

static bool holds(const struct pending_signal *v, size_t n, const struct pending_signal *s)
{
	for (size_t i = 0; i < n; i++)
		if (is_same(&v[i], s))
			return true;
	return false;
}

static bool was_taken(const struct remote_taken *t, const struct pending_signal *s)
{
	return t && holds((const struct pending_signal *)(const void *)t->v, t->n, s);
}

/*
 * A queue only grows at its end, but for what the group stop took out of it.  So the
 * old ones come first, in their order.
 */
static int look(struct late *l, size_t queue, pid_t tid, const struct remote_taken *taken,
		struct err *err)
{
	struct late_queue *q = &l->seen[queue];
	struct pending_signal *v = NULL;
	size_t n = 0, k = 0;
	int ret = state_peek_pending(tid, queue == 0, &v, &n, err);

	for (size_t i = 0; i < n && !ret; i++) {
		while (k < q->n && !is_same(&q->v[k], &v[i]) && was_taken(taken, &q->v[k]))
			k++;
		if (k < q->n && is_same(&q->v[k], &v[i]))
			k++;
		else
			ret = add(l, (uint32_t)queue, &v[i], err);
	}
	if (ret)
		free(v);
	else
		replace(q, v, n);
	return ret;
}

/* The leader has taken these; from which queue cannot be told, but by their sender. */
static int look_taken(struct late *l, const struct remote_taken *t, struct err *err)
{
	int ret = 0;

	for (size_t i = 0; t && i < t->n && !ret; i++) {
		const struct pending_signal *s = (const void *)&t->v[i];

		if (!holds(l->seen[0].v, l->seen[0].n, s) && !holds(l->seen[1].v, l->seen[1].n, s))
			ret = add(l, t->v[i].si_code == SI_TKILL ? 1 : 0, s, err);
	}
	return ret;
}

int late_look(struct late *l, const struct remote *r, const struct remote_taken *taken,
	      struct err *err)
{
	int ret = look_taken(l, taken, err);

	if (!ret)
		ret = look(l, 0, r->threads[0].tid, taken, err);
	for (size_t i = 0; i + 1 < l->nqueues && i < r->n && !ret; i++)
		ret = look(l, i + 1, r->threads[i].tid, i ? NULL : taken, err);
	return ret;
}

int late_look_process(struct late *l, pid_t tid, struct err *err)
{
	return look(l, 0, tid, NULL, err);
}

void late_done(struct late *l)
{
	for (size_t i = 0; l->seen && i < l->nqueues; i++)
		if (l->seen[i].is_ours)
			free(l->seen[i].v);
	free(l->seen);
	free(l->v);
	*l = (struct late){0};
}

void late_codec(struct codec *c, struct late_signal **v, size_t *n)
{
	codec_array(c, v, n, sizeof(**v), 4 + sizeof((*v)->signal.info), LATE_MAX);
	for (size_t i = 0; i < *n && !c->bad; i++) {
		codec_u32(c, &(*v)[i].thread);
		codec_bytes(c, (*v)[i].signal.info, sizeof((*v)[i].signal.info));
	}
}

bool late_is_possible(const struct late_signal *v, size_t n, size_t nthreads)
{
	for (size_t i = 0; i < n; i++) {
		siginfo_t si = info_of(&v[i].signal);

		if (si.si_signo < 1 || si.si_signo > 64 || si.si_signo == SIGKILL ||
		    v[i].thread > nthreads || !travels(&si))
			return false;
	}
	return true;
}

/* As another process: the kernel lets nobody say that he is the kernel, or kill(2). */
void late_send(const struct late_signal *v, size_t n, int pidfd, pid_t pid, const pid_t *tids)
{
	for (size_t i = 0; i < n; i++) {
		siginfo_t si = info_of(&v[i].signal);
		bool plain = si.si_code >= 0 || si.si_code == SI_TKILL;
		int sig = si.si_signo;
		long ret;

		if (!v[i].thread)
			ret = syscall(SYS_pidfd_send_signal, pidfd, sig, plain ? NULL : &si, 0);
		else if (plain)
			ret = syscall(SYS_tgkill, pid, tids[v[i].thread - 1], sig);
		else
			ret = syscall(SYS_rt_tgsigqueueinfo, pid, tids[v[i].thread - 1], sig, &si);
		if (ret && errno == ESRCH)
			return; /* it has ended */
	}
}

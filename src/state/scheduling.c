/*
 * Scheduling: policy, nice value, priority and CPUs of each thread; and what the
 * process asked the kernel for by prctl(2) and keeps: timer slack, child
 * subreaper, no transparent huge pages.
 *
 * Read from outside, but for the last three, and before the stop where the thread was
 * there already: who changes it in those milliseconds restarts with what was before.
 * Restored by each thread itself.
 * What needs a right that the restarting user lacks is left out, with a notice:
 * it changes how fast the program runs, not what it computes.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/io.h"
#include "base/report.h"
#include "state/scheduling.h"
#include "state/state.h"

#ifndef SCHED_DEADLINE
#define SCHED_DEADLINE 6
#endif
#define FLAG_RESET_ON_FORK 1u

/* sched_setattr(2); <linux/sched/types.h> cannot stand beside <sched.h>. */
struct attr {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

#define CPUS_MAX 8192u /* bytes of a CPU mask: 65536 CPUs */

static int read_thread(pid_t tid, struct sched_state *s, struct err *err)
{
	struct attr a = {.size = sizeof(a)};
	uint8_t mask[CPUS_MAX];
	long n;

	if (syscall(SYS_sched_getattr, tid, &a, sizeof(a), 0))
		return err_sys(err, -errno, "cannot read the scheduling of thread %d", tid);
	if (a.policy == SCHED_DEADLINE) {
		return err_refuse_as(err, REFUSED_DEADLINE,
				     "cannot save thread %d: it runs under SCHED_DEADLINE", tid);
	}
	s->policy = a.policy;
	s->flags = (uint32_t)a.flags & FLAG_RESET_ON_FORK;
	s->nice = a.nice;
	s->priority = a.priority;
	n = syscall(SYS_sched_getaffinity, tid, sizeof(mask), mask);
	if (n < 0)
		return err_sys(err, -errno, "cannot read the CPUs of thread %d", tid);
	s->cpus = malloc((size_t)n);
	if (!s->cpus)
		return err_set(err, -ENOMEM, "out of memory");
	memcpy(s->cpus, mask, (size_t)n);
	s->cpus_len = (size_t)n;
	return 0;
}

static int ask(struct capture *c, struct process *p, struct err *err)
{
	struct program prog;
	uint64_t out;
	int ret;

	program_init(&prog, c->remote->data, REMOTE_DATA_LEN, REMOTE_CALL_CAP, err);
	program_call(&prog, "read the timer slack", SYS_prctl, PR_GET_TIMERSLACK, 0, 0, 0, 0, 0);
	program_call(&prog, "read the THP flag", SYS_prctl, PR_GET_THP_DISABLE, 0, 0, 0, 0, 0);
	out = program_data(&prog, NULL, sizeof(p->subreaper));
	program_call(&prog, "read the subreaper flag", SYS_prctl, PR_GET_CHILD_SUBREAPER, out, 0, 0,
		     0, 0);
	ret = remote_run(c->remote, &prog, err);
	if (!ret && (ret = remote_read(c->remote, out, &p->subreaper, sizeof(p->subreaper))))
		err_sys(err, ret, "cannot read the subreaper flag");
	if (!ret) {
		p->timerslack_ns = (uint64_t)prog.batches[0].calls[0].ret;
		p->thp_disable = (uint32_t)prog.batches[0].calls[1].ret;
	}
	program_done(&prog);
	return ret;
}

static int add_early(struct early_scheduling *e, pid_t tid, struct err *err)
{
	struct err ended = ERR_INIT;
	struct early_thread *v = io_grow(e->v, &e->cap, e->n + 1, sizeof(*v), err);

	if (!v)
		return err->error;
	e->v = v;
	v[e->n] = (struct early_thread){.tid = tid};
	/* Whatever is wrong with it is said when it is stopped. */
	if (!read_thread(tid, &v[e->n].sched, &ended))
		e->n++;
	return 0;
}

int scheduling_read_early(int procfd, struct early_scheduling *ret, struct err *err)
{
	int fd = openat(procfd, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC), error = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;

	if (!dir) {
		io_close_fd(&fd);
		return err_set(err, -ESRCH, "the process has ended");
	}
	while (!error && (d = readdir(dir)))
		if (atoi(d->d_name) > 0)
			error = add_early(ret, (pid_t)atoi(d->d_name), err);
	closedir(dir);
	return error;
}

void scheduling_early_done(struct early_scheduling *e)
{
	for (size_t i = 0; i < e->n; i++)
		free(e->v[i].sched.cpus);
	free(e->v);
	*e = (struct early_scheduling){0};
}

/* Takes it out of the list; *at is where the thread before was found. */
static bool take_early(struct early_scheduling *e, size_t *at, pid_t tid, struct sched_state *ret)
{
	for (size_t k = 0, i = *at; e && k < e->n; k++, i = i + 1 < e->n ? i + 1 : 0)
		if (e->v[i].tid == tid) {
			*at = i + 1 < e->n ? i + 1 : 0;
			*ret = e->v[i].sched;
			e->v[i].sched.cpus = NULL;
			return true;
		}
	return false;
}

static int capture(struct capture *c, struct process *p, struct err *err)
{
	size_t at = 0;

	p->sched = io_alloc(c->remote->n, sizeof(*p->sched), err);
	if (!p->sched)
		return err->error;
	p->nsched = c->remote->n;
	for (size_t i = 0; i < p->nsched; i++) {
		pid_t tid = c->remote->threads[i].tid;
		int ret = 0;

		if (!take_early(c->early_scheduling, &at, tid, &p->sched[i]))
			ret = read_thread(tid, &p->sched[i], err);
		if (ret)
			return ret;
	}
	return ask(c, p, err);
}

static void codec(struct codec *c, struct process *p)
{
	codec_u64(c, &p->timerslack_ns);
	codec_u32(c, &p->subreaper);
	codec_u32(c, &p->thp_disable);
	codec_array(c, &p->sched, &p->nsched, sizeof(*p->sched), 20, 1u << 22);
	for (size_t i = 0; i < p->nsched; i++) {
		struct sched_state *s = &p->sched[i];

		codec_u32(c, &s->policy);
		codec_u32(c, &s->flags);
		codec_i32(c, &s->nice);
		codec_u32(c, &s->priority);
		codec_blob(c, &s->cpus, &s->cpus_len);
	}
}

static int validate(const struct process *p, struct err *err)
{
	if (p->nsched && p->nsched != p->nthreads)
		return err_image(err, "the note on scheduling is of %zu threads, not of %zu",
				 p->nsched, p->nthreads);
	for (size_t i = 0; i < p->nsched; i++)
		if (p->sched[i].cpus_len > CPUS_MAX || p->sched[i].policy > 127)
			return err_image(err, "the note on scheduling is malformed");
	return 0;
}

static bool is_real_time(const struct sched_state *s)
{
	return s->policy == SCHED_FIFO || s->policy == SCHED_RR;
}

static bool same_cpus(const struct sched_state *a, const struct sched_state *b)
{
	return a->cpus_len == b->cpus_len && !memcmp(a->cpus, b->cpus, a->cpus_len);
}

/* What the restarting shell has is inherited; say what cannot be changed back. */
static int check(struct restore *r, const struct process *p, struct err *err)
{
	struct rlimit rt;
	int here = getpriority(PRIO_PROCESS, 0);

	(void)err;
	if (!geteuid() || !p->nsched)
		return 0;
	if (p->sched[0].nice < here)
		restore_notice(r, "it runs with nice value %d, not %d: only root may lower it",
			       here, p->sched[0].nice);
	if (is_real_time(&p->sched[0]) && !getrlimit(RLIMIT_RTPRIO, &rt) && !rt.rlim_cur)
		restore_notice(r, "it runs without real-time priority: RLIMIT_RTPRIO is 0 here");
	return 0;
}

static void set_cpus(struct program *g, const struct sched_state *s)
{
	if (!s->cpus_len)
		return;
	program_reserve(g, s->cpus_len + 16);
	uint64_t a = program_data(g, s->cpus, s->cpus_len);

	/* Fails where none of them is there: then any will do. */
	program_call(g, "CPUs", SYS_sched_setaffinity, 0, s->cpus_len, a, 0, 0, 0)->expect =
		EXPECT_ANY;
}

static void set_policy(struct program *g, const struct sched_state *s)
{
	struct attr a = {
		.size = sizeof(a),
		.policy = s->policy,
		.flags = s->flags,
		.nice = s->nice,
		.priority = s->priority,
	};

	program_reserve(g, sizeof(a) + 16);
	uint64_t at = program_data(g, &a, sizeof(a));

	program_call(g, "policy, nice value, priority", SYS_sched_setattr, 0, at, 0, 0, 0, 0)
		->expect = EXPECT_ANY;
}

/* The first thread's timer slack is inherited by those it makes. */
static int restore(struct restore *r, const struct process *p, struct err *err)
{
	struct program *g = r->prog;

	(void)err;
	if (!p->nsched)
		return 0;
	program_call(g, "timer slack", SYS_prctl, PR_SET_TIMERSLACK, p->timerslack_ns, 0, 0, 0, 0);
	program_call(g, "transparent huge pages", SYS_prctl, PR_SET_THP_DISABLE, p->thp_disable, 0,
		     0, 0, 0);
	program_call(g, "child subreaper", SYS_prctl, PR_SET_CHILD_SUBREAPER, p->subreaper, 0, 0, 0,
		     0);
	return 0;
}

void scheduling_restore_thread(struct program *g, const struct process *p, size_t thread)
{
	const struct sched_state *s;

	if (thread >= p->nsched)
		return;
	s = &p->sched[thread];
	set_cpus(g, s);
	set_policy(g, s);
}

static void show(const struct process *p, struct report *rep)
{
	static const char *const policies[] = {"other", "fifo", "rr", "batch", "?", "idle"};

	report_section(rep, "scheduling", "Scheduling");
	report_u64(rep, "timerslack_ns", NULL, p->timerslack_ns);
	report_bool(rep, "subreaper", NULL, p->subreaper);
	report_bool(rep, "thp_disable", NULL, p->thp_disable);
	report_list(rep, "groups", NULL);
	/* Neighbours that are alike are shown once. */
	for (size_t i = 0, n; i < p->nsched; i += n) {
		const struct sched_state *s = &p->sched[i];

		for (n = 1; i + n < p->nsched; n++) {
			const struct sched_state *t = &p->sched[i + n];

			if (t->policy != s->policy || t->nice != s->nice ||
			    t->priority != s->priority || !same_cpus(s, t))
				break;
		}
		report_item(rep);
		report_u64(rep, "threads", NULL, n);
		report_str(rep, "policy", NULL, "%s",
			   s->policy < ARRAY_SIZE(policies) ? policies[s->policy] : "?");
		report_i64(rep, "nice", NULL, s->nice);
		report_u64(rep, "priority", NULL, s->priority);
		report_line(rep, "%zu thread%s: policy %s, nice value %d", n, n == 1 ? "" : "s",
			    s->policy < ARRAY_SIZE(policies) ? policies[s->policy] : "?", s->nice);
		report_end(rep);
	}
	report_end(rep);
	report_end(rep);
}

static void done(struct process *p)
{
	for (size_t i = 0; p->sched && i < p->nsched; i++)
		free(p->sched[i].cpus);
	free(p->sched);
}

const struct state_ops state_scheduling = {
	.name = "scheduling",
	.note = NOTE_SCHEDULING,
	.optional = true,
	.capture = capture,
	.codec = codec,
	.validate = validate,
	.check = check,
	.restore = restore,
	.show = show,
	.done = done,
};

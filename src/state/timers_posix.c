/*
 * POSIX timers (timer_create(2)), with their ids: the program has them as numbers.
 *
 * /proc/PID/timers shows what they are; what is left of each is asked by the program
 * itself, by a call.  An absolute timer is armed by what is left of it, as the kernel
 * does not tell that it was one.  An expiry that nobody has taken yet is a pending
 * signal, saved as such; overruns are counted anew.
 *
 * They are made when the threads are there, since one may signal a thread.
 */
#include "state/timers_posix.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>

#include "base/io.h"
#include "base/report.h"
#include "proc/timers.h"

#ifndef PR_TIMER_CREATE_RESTORE_IDS
#define PR_TIMER_CREATE_RESTORE_IDS 77 /* Linux 6.15 */
#define PR_TIMER_CREATE_RESTORE_IDS_OFF 0
#define PR_TIMER_CREATE_RESTORE_IDS_ON 1
#define PR_TIMER_CREATE_RESTORE_IDS_GET 2
#endif

/* Without that call an id is reached by making and deleting timers. */
#define IDS_REACHED_MAX 20000

#define NO_THREAD UINT32_MAX
#define NS_PER_S 1000000000LL
#define BATCH 64u /* timers asked at once */

/* --- capture --- */

static int refuse(struct capture *c, const struct proc_timer *t, const char *why, struct err *err)
{
	return err_refuse_as(err, REFUSED_POSIX_TIMER,
			     "cannot save the POSIX timer %d (clock %d) of process %d: %s", t->id,
			     t->clock, c->remote->pid, why);
}

/* And never had another that matters: a leader that has ended may have made it. */
static bool has_one_thread(const struct capture *c)
{
	return c->remote->n == 1 && !remote_leader_has_ended(c->remote);
}

static bool is_known_clock(const struct capture *c, int32_t clock)
{
	switch (clock) {
	case CLOCK_REALTIME:
	case CLOCK_MONOTONIC:
	case CLOCK_BOOTTIME:
	case CLOCK_TAI:
	case CLOCK_PROCESS_CPUTIME_ID:
		return true;
	case CLOCK_THREAD_CPUTIME_ID: /* of whoever made it: not shown */
		return has_one_thread(c);
	default:
		/* Made of the process id 0, which means the caller's, a bit for threads, and
		 * which time (include/linux/posix-timers_types.h): glibc asks so. */
		return clock >= -8 && clock < 0 && (!(clock & 4) || has_one_thread(c));
	}
}

static int add(struct capture *c, struct process *p, const struct proc_timer *t, struct err *err)
{
	struct posix_timer *pt = &p->posix_timers[p->nposix_timers];

	if (!is_known_clock(c, t->clock))
		return refuse(c, t, "its clock is not supported", err);
	*pt = (struct posix_timer){.id = t->id,
				   .clock = t->clock,
				   .signal = t->signal,
				   .value = t->value,
				   .is_silent = t->is_silent,
				   .thread = NO_THREAD};
	for (size_t i = 0; t->to_thread && i < c->remote->n; i++)
		if (c->remote->threads[i].tid == t->target)
			pt->thread = (uint32_t)i;
	if (t->to_thread && pt->thread == NO_THREAD)
		return refuse(c, t, "the thread that it signals has ended", err);
	p->nposix_timers++;
	return 0;
}

static int64_t ns_of(const struct timespec *t)
{
	return t->tv_sec * NS_PER_S + t->tv_nsec;
}

/* What is left of n of them. */
static int ask(struct capture *c, struct posix_timer *t, size_t n, struct err *err)
{
	struct itimerspec v[BATCH];
	struct program prog;
	uint64_t out;
	int ret;

	program_init(&prog, c->remote->data, REMOTE_DATA_LEN, REMOTE_CALL_CAP, err);
	out = program_data(&prog, NULL, n * sizeof(v[0]));
	for (size_t i = 0; i < n; i++)
		program_call(&prog, "read a POSIX timer", SYS_timer_gettime, (unsigned)t[i].id,
			     out + i * sizeof(v[0]), 0, 0, 0, 0);
	ret = remote_run(c->remote, &prog, err);
	program_done(&prog);
	if (!ret && (ret = remote_read(c->remote, out, v, n * sizeof(v[0]))))
		err_sys(err, ret, "cannot read the POSIX timers");
	for (size_t i = 0; i < n && !ret; i++) {
		t[i].left_ns = ns_of(&v[i].it_value);
		t[i].interval_ns = ns_of(&v[i].it_interval);
	}
	return ret;
}

static int by_id(const void *a, const void *b)
{
	const struct proc_timer *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

static int capture(struct capture *c, struct process *p, struct err *err)
{
	__cleanup_buf struct buf b = {0};
	struct proc_timers all = {0};
	int ret;

	/* CONFIG_CHECKPOINT_RESTORE shows them; without it there is nothing to read. */
	if (io_read_file(c->remote->procfd, "timers", &b) || !b.len)
		return 0;
	if ((ret = proc_parse_timers(b.p, &all, err)))
		return ret;
	p->posix_timers = all.n ? io_alloc(all.n, sizeof(*p->posix_timers), err) : NULL;
	if (all.n && !p->posix_timers)
		ret = err->error;
	if (all.n > POSIX_TIMERS_MAX)
		ret = err_refuse(err, "process %d has %zu POSIX timers", c->remote->pid, all.n);
	if (all.n)
		qsort(all.v, all.n, sizeof(*all.v), by_id);
	for (size_t i = 0; i < all.n && !ret; i++)
		ret = add(c, p, &all.v[i], err);
	proc_timers_done(&all);
	for (size_t i = 0; i < p->nposix_timers && !ret; i += BATCH)
		ret = ask(c, p->posix_timers + i,
			  p->nposix_timers - i < BATCH ? p->nposix_timers - i : BATCH, err);
	return ret;
}

/* --- image --- */

static bool is_needed(const struct process *p)
{
	return p->nposix_timers > 0;
}

static void codec(struct codec *c, struct process *p)
{
	codec_array(c, &p->posix_timers, &p->nposix_timers, sizeof(*p->posix_timers), 41,
		    POSIX_TIMERS_MAX);
	for (size_t i = 0; i < p->nposix_timers && !c->bad; i++) {
		struct posix_timer *t = &p->posix_timers[i];

		codec_i32(c, &t->id);
		codec_i32(c, &t->clock);
		codec_i32(c, &t->signal);
		codec_u64(c, &t->value);
		codec_bool(c, &t->is_silent);
		codec_u32(c, &t->thread);
		codec_i64(c, &t->left_ns);
		codec_i64(c, &t->interval_ns);
	}
}

static int validate(const struct process *p, struct err *err)
{
	for (size_t i = 0; i < p->nposix_timers; i++) {
		const struct posix_timer *t = &p->posix_timers[i];

		if (t->id < 0 || t->left_ns < 0 || t->interval_ns < 0 || t->signal < 0 ||
		    t->signal > 64 || (!t->is_silent && !t->signal) ||
		    (t->thread != NO_THREAD && t->thread >= p->nthreads))
			return err_image(err, "POSIX timer %d is impossible", t->id);
		if (i && t->id <= p->posix_timers[i - 1].id)
			return err_image(err, "the POSIX timers are out of order");
	}
	return 0;
}

/* --- restart --- */

static bool has_restore_ids(void)
{
	return prctl(PR_TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS_GET, 0, 0, 0) >= 0;
}

static int check(struct restore *r, const struct process *p, struct err *err)
{
	int32_t last = p->nposix_timers ? p->posix_timers[p->nposix_timers - 1].id : 0;

	(void)r;
	if (last < IDS_REACHED_MAX || has_restore_ids())
		return 0;
	err_refuse(err, "the program has a POSIX timer of the number %d", last);
	return err_hint(err, "restart it on Linux 6.15 or later, which gives timers their numbers "
			     "back");
}

static const char *why_of(struct restore *r, const struct posix_timer *t, const char *what)
{
	return program_why(r->prog, "POSIX timer %d: %s", t->id, what);
}

/* The id goes in where the result comes out, with PR_TIMER_CREATE_RESTORE_IDS. */
static void create(struct restore *r, const struct posix_timer *t, int32_t id, const char *why)
{
	struct sigevent ev = {.sigev_signo = t->signal, .sigev_notify = SIGEV_SIGNAL};
	uint64_t at, event;

	ev.sigev_value.sival_ptr = (void *)(uintptr_t)t->value;
	if (t->is_silent)
		ev.sigev_notify = SIGEV_NONE;
	if (t->thread != NO_THREAD) {
		ev.sigev_notify |= SIGEV_THREAD_ID;
		ev._sigev_un._tid = r->new_tids[t->thread];
	}
	program_reserve(r->prog, PROGRAM_PIECE(sizeof(ev)) + PROGRAM_PIECE(sizeof(id)));
	event = program_data(r->prog, &ev, sizeof(ev));
	at = program_data(r->prog, &id, sizeof(id));
	program_call_want(r->prog, 0, why, SYS_timer_create, (uint64_t)(int64_t)t->clock, event, at,
			  0, 0, 0);
}

static void restore_one(struct restore *r, const struct posix_timer *t, bool keeps_ids,
			int32_t *next)
{
	struct itimerspec v = {
		.it_value = {t->left_ns / NS_PER_S, t->left_ns % NS_PER_S},
		.it_interval = {t->interval_ns / NS_PER_S, t->interval_ns % NS_PER_S},
	};

	for (; !keeps_ids && *next < t->id; (*next)++) {
		create(r, t, 0, why_of(r, t, "one of a lower number, to pass it over"));
		program_call_want(r->prog, 0, why_of(r, t, "passed over"), SYS_timer_delete,
				  (unsigned)*next, 0, 0, 0, 0, 0);
	}
	create(r, t, t->id, why_of(r, t, "as the program made it"));
	*next = t->id + 1;
	if (t->left_ns)
		program_call_want(r->prog, 0, why_of(r, t, "what was left of it"),
				  SYS_timer_settime, (unsigned)t->id, 0,
				  program_data(r->prog, &v, sizeof(v)), 0, 0, 0);
}

int timers_posix_restore(struct restore *r, const struct process *p, struct err *err)
{
	bool keeps_ids = p->nposix_timers && has_restore_ids();
	int32_t next = 0;

	if (!p->nposix_timers)
		return 0;
	program_thread(r->prog, 0);
	if (keeps_ids)
		program_call_want(r->prog, 0, "POSIX timers get their numbers back", SYS_prctl,
				  PR_TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS_ON, 0, 0,
				  0, 0);
	for (size_t i = 0; i < p->nposix_timers; i++)
		restore_one(r, &p->posix_timers[i], keeps_ids, &next);
	if (keeps_ids)
		program_call_want(r->prog, 0, "as it was", SYS_prctl, PR_TIMER_CREATE_RESTORE_IDS,
				  PR_TIMER_CREATE_RESTORE_IDS_OFF, 0, 0, 0, 0);
	return r->prog->failed ? err->error : 0;
}

static void show(const struct process *p, struct report *rep)
{
	if (!p->nposix_timers)
		return;
	report_list(rep, "posix_timers", NULL);
	for (size_t i = 0; i < p->nposix_timers; i++) {
		const struct posix_timer *t = &p->posix_timers[i];

		report_item(rep);
		report_u64(rep, "id", NULL, (uint64_t)t->id);
		report_u64(rep, "clock", NULL, (uint64_t)t->clock);
		report_u64(rep, "signal", NULL, (uint64_t)t->signal);
		report_u64(rep, "left_ns", NULL, (uint64_t)t->left_ns);
		report_u64(rep, "interval_ns", NULL, (uint64_t)t->interval_ns);
		report_line(rep, "POSIX timer %d  %.3f s left, again every %.3f s, signal %d",
			    t->id, (double)t->left_ns / 1e9, (double)t->interval_ns / 1e9,
			    t->signal);
		report_end(rep);
	}
	report_end(rep);
}

static void done(struct process *p)
{
	free(p->posix_timers);
}

const struct state_ops state_timers_posix = {
	.name = "POSIX timers",
	.note = NOTE_POSIX_TIMERS,
	.optional = true,
	.capture = capture,
	.is_needed = is_needed,
	.codec = codec,
	.validate = validate,
	.check = check,
	.show = show,
	.done = done,
};

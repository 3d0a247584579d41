/* The three interval timers of setitimer(2), and with them alarm(2). */
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include "base/io.h"
#include "base/report.h"
#include "state/state.h"

static const char *const names[] = {"ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF"};

static int capture(struct capture *c, struct process *p, struct err *err)
{
	struct itimerval v[3];
	struct program prog;
	uint64_t out;
	int ret;

	program_init(&prog, c->remote->data, REMOTE_DATA_LEN, REMOTE_CALL_CAP, err);
	program_reserve(&prog, sizeof(v) + 64);
	out = program_data(&prog, NULL, sizeof(v));
	for (unsigned i = 0; i < 3; i++)
		program_call(&prog, "read interval timers", SYS_getitimer, i,
			     out + i * sizeof(v[0]), 0, 0, 0, 0);
	ret = remote_run(c->remote, &prog, err);
	program_done(&prog);
	if (!ret && (ret = remote_read(c->remote, out, v, sizeof(v))))
		err_sys(err, ret, "cannot read the interval timers");
	for (int i = 0; i < 3 && !ret; i++) {
		p->itimers[i].value_us =
			(uint64_t)v[i].it_value.tv_sec * 1000000 + (uint64_t)v[i].it_value.tv_usec;
		p->itimers[i].interval_us = (uint64_t)v[i].it_interval.tv_sec * 1000000 +
					    (uint64_t)v[i].it_interval.tv_usec;
	}
	return ret;
}

static void codec(struct codec *c, struct process *p)
{
	for (int i = 0; i < 3; i++) {
		codec_u64(c, &p->itimers[i].value_us);
		codec_u64(c, &p->itimers[i].interval_us);
	}
}

static int restore(struct restore *r, const struct process *p, struct err *err)
{
	(void)err;
	for (unsigned i = 0; i < 3; i++) {
		struct itimerval v = {
			.it_value = {(time_t)(p->itimers[i].value_us / 1000000),
				     (suseconds_t)(p->itimers[i].value_us % 1000000)},
			.it_interval = {(time_t)(p->itimers[i].interval_us / 1000000),
					(suseconds_t)(p->itimers[i].interval_us % 1000000)},
		};

		if (!p->itimers[i].value_us)
			continue;
		program_reserve(r->prog, sizeof(v) + 16);
		uint64_t a = program_data(r->prog, &v, sizeof(v));

		program_call(r->prog, names[i], SYS_setitimer, i, a, 0, 0, 0, 0);
	}
	return 0;
}

static void show(const struct process *p, struct report *rep)
{
	report_list(rep, "timers", NULL);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const struct itimer_state *t = &p->itimers[i];

		if (!t->value_us)
			continue;
		report_item(rep);
		report_str(rep, "name", NULL, "%s", names[i]);
		report_u64(rep, "left_us", NULL, t->value_us);
		report_u64(rep, "interval_us", NULL, t->interval_us);
		report_line(rep, "%-14s %.3f s left, again every %.3f s", names[i],
			    (double)t->value_us / 1e6, (double)t->interval_us / 1e6);
		report_end(rep);
	}
	report_end(rep);
}

const struct state_ops state_timers = {
	.name = "timers",
	.note = NOTE_TIMERS,
	.capture = capture,
	.codec = codec,
	.restore = restore,
	.show = show,
};

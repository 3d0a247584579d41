/* /proc/PID/timers: see timers.h. */
#include "proc/timers.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"

static const char *next_line(const char *p)
{
	p = strchr(p, '\n');
	return p ? p + 1 : NULL;
}

/*
 * Four lines each:
 *	ID: 1
 *	signal: 60/00007fff86e452a8
 *	notify: signal/pid.2634
 *	ClockID: 0
 */
static int parse_one(const char **text, struct proc_timer *t, struct err *err)
{
	const char *lines[4] = {*text};
	char kind[16], whom[8];

	for (int i = 1; i < 4; i++)
		if (!(lines[i] = lines[i - 1] ? next_line(lines[i - 1]) : NULL))
			return err_set(err, -EPROTO, "/proc/PID/timers ends within a timer");
	*t = (struct proc_timer){0};
	if (sscanf(lines[0], "ID: %" SCNd32, &t->id) != 1 ||
	    sscanf(lines[1], "signal: %" SCNd32 "/%" SCNx64, &t->signal, &t->value) != 2 ||
	    sscanf(lines[2], "notify: %15[^/\n]/%7[^.\n].%d", kind, whom, &t->target) != 3 ||
	    sscanf(lines[3], "ClockID: %" SCNd32, &t->clock) != 1)
		return err_set(err, -EPROTO, "/proc/PID/timers is not of the known form");
	if ((strcmp(kind, "none") && strcmp(kind, "signal")) ||
	    (strcmp(whom, "pid") && strcmp(whom, "tid")))
		return err_set(err, -EPROTO, "/proc/PID/timers: timer %d notifies '%s' '%s'", t->id,
			       kind, whom);
	t->is_silent = !strcmp(kind, "none");
	t->to_thread = !strcmp(whom, "tid");
	*text = next_line(lines[3]);
	return 0;
}

int proc_parse_timers(const char *text, struct proc_timers *ret, struct err *err)
{
	struct proc_timers t = {0};

	while (text && *text) {
		struct proc_timer *v = io_grow(t.v, &t.cap, t.n + 1, sizeof(*v), err);

		if (v)
			t.v = v;
		if (!v || parse_one(&text, &v[t.n], err)) {
			free(t.v);
			return err->error;
		}
		t.n++;
	}
	*ret = t;
	return 0;
}

void proc_timers_done(struct proc_timers *t)
{
	free(t->v);
	*t = (struct proc_timers){0};
}

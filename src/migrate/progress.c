/* How far a migration is: see progress.h. */
#include "migrate/progress.h"

#include "base/guardian.h"
#include "base/io.h"

#define EVERY_NS UINT64_C(100000000)
/* A rate that was measured for less says nothing. */
#define RATE_NS UINT64_C(20000000)

/* What is written until the round ends, at the rate of the wire. */
static uint64_t estimated_pause(const struct migrate_progress *m)
{
	double rate = (double)m->rate, round;

	if (!m->rate || !m->dirty_rate)
		return 0;
	round = (double)m->all / rate;
	return (uint64_t)((double)m->dirty_rate * round / rate * 1e9);
}

static void tell(struct progress *p, uint64_t now)
{
	p->last_ns = now;
	guardian_tell(p->front, &p->now, sizeof(p->now));
}

void progress_stage(struct progress *p, enum migrate_stage stage, uint64_t all, uint64_t dirty_rate)
{
	uint64_t now = io_now_ns();

	p->begun_ns = now;
	p->now.round = stage == STAGE_ROUND ? p->now.round + 1 : 0;
	p->now.stage = stage;
	p->now.done = 0;
	p->now.all = all;
	p->now.dirty_rate = dirty_rate;
	p->now.pause_ns = estimated_pause(&p->now);
	tell(p, now);
}

void progress_done(struct progress *p, uint64_t done)
{
	uint64_t now = io_now_ns(), took = now - p->begun_ns;

	p->now.done = done < p->now.all ? done : p->now.all;
	if (took >= RATE_NS && done)
		p->now.rate = (uint64_t)((double)done * 1e9 / (double)took);
	if (now - p->last_ns < EVERY_NS)
		return;
	p->now.pause_ns = estimated_pause(&p->now);
	tell(p, now);
}

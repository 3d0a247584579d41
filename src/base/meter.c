/* How far long work is: see meter.h. */
#include "base/meter.h"

#include <stddef.h>

#include "base/io.h"

#define BETWEEN_NS (100ULL * 1000 * 1000)

void meter_begin(struct meter *m, uint64_t all)
{
	if (!m)
		return;
	m->done = 0;
	m->all = all;
	m->told_ns = io_now_ns();
	m->tell(m->arg, 0, all);
}

void meter_set(struct meter *m, uint64_t done)
{
	uint64_t now;

	if (!m)
		return;
	m->done = done;
	now = io_now_ns();
	if (now - m->told_ns < BETWEEN_NS || done >= m->all)
		return;
	m->told_ns = now;
	m->tell(m->arg, done, m->all);
}

void meter_add(struct meter *m, uint64_t bytes)
{
	if (m)
		meter_set(m, m->done + bytes);
}

void meter_end(struct meter *m)
{
	if (m)
		m->tell(m->arg, m->all, m->all);
}

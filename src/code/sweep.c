/* What each function needs, and what it refers to: see code.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86_64/insn.h"
#include "base/io.h"
#include "code/internal.h"

#define STRAY_MAX 4096u
#define ROUNDS 4 /* of code outside of the functions that leads to more of it */

struct sweep {
	struct code *c;
	struct err *err;
	uint32_t recent[4]; /* targets of this function: most refer to the same few */
	/* Targets in code that is in no function. */
	uint64_t *stray;
	size_t nstray, stray_cap;
};

static int add_edge(struct sweep *s, uint32_t from, uint32_t to, bool by_address)
{
	struct code *c = s->c;
	struct code_edge *v;

	if (from == to)
		return 0;
	for (size_t i = 0; i < 4; i++)
		if (s->recent[i] == to * 2 + by_address)
			return 0;
	memmove(s->recent + 1, s->recent, 3 * sizeof(*s->recent));
	s->recent[0] = to * 2 + by_address;
	if (c->nedges >= CODE_EDGES_MAX)
		return err_set(s->err, -EFBIG, "its code has too many references");
	v = io_grow(c->edges, &c->edges_cap, c->nedges + 1, sizeof(*v), s->err);
	if (!v)
		return s->err->error;
	c->edges = v;
	v[c->nedges++] = (struct code_edge){from, to, by_address};
	return 0;
}

static int add_stray(struct sweep *s, uint64_t at)
{
	uint64_t *v;

	if (s->nstray >= CODE_FNS_MAX || (s->nstray && s->stray[s->nstray - 1] == at))
		return 0;
	v = io_grow(s->stray, &s->stray_cap, s->nstray + 1, sizeof(*v), s->err);
	if (!v)
		return s->err->error;
	s->stray = v;
	v[s->nstray++] = at;
	return 0;
}

static int refer(struct sweep *s, uint32_t from, uint64_t to, bool by_address)
{
	const struct code_fn *f;

	if (to >= s->c->fns[from].start && to < s->c->fns[from].end)
		return 0;
	f = code_fn_at(s->c, to);
	if (f)
		return add_edge(s, from, (uint32_t)(f - s->c->fns), by_address);
	/* Addresses are of data among the code, too; what is jumped to is code. */
	return !by_address && code_range_at(s->c, to) ? add_stray(s, to) : 0;
}

static int sweep_fn(struct sweep *s, uint32_t index)
{
	struct code_fn *f = &s->c->fns[index];
	const struct code_range *r = &s->c->ranges[f->range];
	uint64_t reach = f->start; /* of jumps forward, in a stray one */
	int ret = 0;

	memset(s->recent, 0xff, sizeof(s->recent));
	for (uint64_t at = f->start; at < f->end && !ret;) {
		struct insn in;

		arch_insn(r->bytes + (at - r->start), f->end - at, at, &in);
		at += in.len;
		for (size_t i = 0; i < sizeof(in.feature); i++)
			arch_feature_add(&f->needs, in.feature[i]);
		f->syscalls += in.kind == INSN_SYSCALL;
		f->cpuids += in.kind == INSN_CPUID;
		if (in.has_target)
			ret = refer(s, index, in.target, false);
		if (!ret && in.has_address)
			ret = refer(s, index, in.address, true);
		if (!(f->flags & FN_STRAY))
			continue;
		if ((in.kind == INSN_BRANCH || in.kind == INSN_JUMP) && in.target > reach &&
		    in.target - at < STRAY_MAX)
			reach = in.target;
		if (at > reach && (in.kind == INSN_JUMP || in.kind == INSN_FAR_WAY ||
				   in.kind == INSN_TRAP || in.kind == INSN_BAD))
			f->end = at;
	}
	return ret;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int by_start(const void *a, const void *b)
{
	const struct code_fn *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

/* What follows the functions in c->fns from `first` on, each to the next function. */
static int add_stray_fns(struct sweep *s)
{
	struct code *c = s->c;
	size_t before = c->nfns;

	qsort(s->stray, s->nstray, sizeof(*s->stray), by_value);
	for (size_t i = 0, k = 0; i < s->nstray; i++) {
		uint64_t at = s->stray[i], end;
		const struct code_range *r = code_range_at(c, at);
		struct code_fn *v;

		if (!r || (i && s->stray[i - 1] == at))
			continue;
		while (k < before && c->fns[k].start <= at)
			k++;
		end = r->start + r->len;
		if (k < before && c->fns[k].start < end)
			end = c->fns[k].start;
		for (size_t j = i + 1; j < s->nstray; j++)
			if (s->stray[j] > at) {
				end = s->stray[j] < end ? s->stray[j] : end;
				break;
			}
		v = io_grow(c->fns, &c->fns_cap, c->nfns + 1, sizeof(*v), s->err);
		if (!v)
			return s->err->error;
		c->fns = v;
		v[c->nfns++] = (struct code_fn){.start = at,
						.end = end,
						.module = r->module,
						.range = (uint32_t)(r - c->ranges),
						.flags = FN_STRAY};
	}
	s->nstray = 0;
	qsort(c->fns, c->nfns, sizeof(*c->fns), by_start);
	return c->nfns > before;
}

/* Indexes change when functions are added: then all is swept again, which is rare and
 * ends after a few rounds. */
int code_sweep(struct code *c, struct err *err)
{
	struct sweep s = {.c = c, .err = err};
	int ret = 0;

	for (int round = 0; round < ROUNDS && ret >= 0; round++) {
		c->nedges = 0;
		ret = 0;
		for (uint32_t i = 0; i < c->nfns && !ret; i++) {
			c->fns[i].needs = (struct arch_features){{0}};
			c->fns[i].syscalls = c->fns[i].cpuids = 0;
			ret = sweep_fn(&s, i);
		}
		if (!ret && s.nstray)
			ret = add_stray_fns(&s);
		if (ret <= 0)
			break;
	}
	free(s.stray);
	return ret < 0 ? ret : 0;
}

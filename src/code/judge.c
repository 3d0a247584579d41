/* Variants, and which of them were chosen: see code.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86_64/insn.h"
#include "base/io.h"
#include "code/internal.h"
#include "state/process.h"

#define STACK_MAX (1u << 20) /* of a thread: return addresses further up are not looked for */

static int by_from(const void *a, const void *b)
{
	const struct code_edge *x = a, *y = b;

	return x->from < y->from ? -1 : x->from > y->from;
}

/*
 * The loader has a function for each kind of CPU that saves registers around the first
 * call of a function by name.  It takes their addresses when it sets up a module, and
 * calls none: there is no resolver, but it is the same.
 */
bool code_is_trampoline(const struct code *c, const struct code_fn *f)
{
	static const uint8_t features[] = {FEATURE_xsave, FEATURE_xsavec, FEATURE_avx,
					   FEATURE_avx512f};
	bool any = false;

	for (size_t i = 0; i < sizeof(features); i++)
		any = any || arch_feature_in(&f->needs, features[i]);
	return any && c->modules[f->module].is_loader && !f->cpuids;
}

static bool counts(const struct code *c, const struct code_edge *e)
{
	return !(c->fns[e->from].flags & (FN_RESOLVER | FN_LIST)) &&
	       !(e->by_address && code_is_trampoline(c, &c->fns[e->to]));
}

struct walk {
	struct code *c;
	uint32_t *queue;
	size_t n;
	size_t *first; /* per function: its first edge; [nfns] is the end */
	bool *in;      /* the set */
};

/* Adds what the resolvers lead to, step by step. */
static void fill_from_resolvers(struct walk *w)
{
	struct code *c = w->c;

	for (uint32_t i = 0; i < c->nfns; i++)
		if (c->fns[i].flags & (FN_RESOLVER | FN_LIST))
			w->queue[w->n++] = i;
	for (size_t k = 0; k < w->n; k++)
		for (size_t e = w->first[w->queue[k]]; e < w->first[w->queue[k] + 1]; e++) {
			uint32_t to = c->edges[e].to;

			if (w->in[to] || c->fns[to].flags & (FN_RESOLVER | FN_LIST))
				continue;
			w->in[to] = true;
			w->queue[w->n++] = to;
		}
	for (uint32_t i = 0; i < c->nfns; i++)
		if (code_is_trampoline(c, &c->fns[i]))
			w->in[i] = true;
}

/* Takes out what has one of the flags, or is referenced from outside of the set. */
static void take_out(struct walk *w, uint32_t flags)
{
	struct code *c = w->c;

	w->n = 0;
	for (uint32_t i = 0; i < c->nfns; i++) {
		if (c->fns[i].flags & flags)
			w->in[i] = false;
		if (!w->in[i])
			w->queue[w->n++] = i;
	}
	for (size_t k = 0; k < w->n; k++)
		for (size_t e = w->first[w->queue[k]]; e < w->first[w->queue[k] + 1]; e++) {
			uint32_t to = c->edges[e].to;

			if (!w->in[to] || !counts(c, &c->edges[e]))
				continue;
			w->in[to] = false;
			w->queue[w->n++] = to;
		}
}

/* --- threads --- */

/* Does a call end right before the address? */
static bool follows_call(const struct code_range *r, uint64_t addr)
{
	uint64_t have = addr - r->start;

	for (unsigned n = 2; n <= 8 && n <= have; n++) {
		struct insn in;

		arch_insn(r->bytes + (have - n), n, addr - n, &in);
		if (in.len == n && (in.kind == INSN_CALL || in.kind == INSN_CALL_AWAY))
			return true;
	}
	return false;
}

static void enter(struct code *c, uint64_t addr, bool returns)
{
	const struct code_range *r = code_range_at(c, addr);
	struct code_fn *f = r ? code_fn_at(c, addr) : NULL;

	if (f && (!returns || follows_call(r, addr)))
		f->flags |= FN_ENTERED;
}

static int enter_stack(struct code *c, const struct thread *t, struct err *err)
{
	const struct process *p = c->memory->p;
	uint64_t at = (t->regs.rsp + 7) & ~(uint64_t)7;
	__cleanup_free uint64_t *v = NULL;
	size_t n = 0;

	for (size_t i = 0; i < p->nmappings; i++)
		if (at >= p->mappings[i].start && at < p->mappings[i].end)
			n = p->mappings[i].end - at;
	if (n > STACK_MAX)
		n = STACK_MAX;
	if (!n)
		return 0;
	if (!(v = io_alloc(1, n, err)))
		return err->error;
	if (c->memory->read(c->memory->arg, at, v, n))
		return 0;
	for (size_t i = 0; i < n / 8; i++)
		enter(c, v[i], true);
	return 0;
}

static int enter_all(struct code *c, struct err *err)
{
	const struct process *p = c->memory->p;
	int ret = 0;

	for (size_t i = 0; i < p->nthreads && !ret; i++) {
		enter(c, p->threads[i].regs.rip, false);
		ret = enter_stack(c, &p->threads[i], err);
	}
	return ret;
}

/* --- all of it --- */

static void index_edges(struct walk *w)
{
	struct code *c = w->c;
	size_t e = 0;

	if (c->nedges)
		qsort(c->edges, c->nedges, sizeof(*c->edges), by_from);
	for (uint32_t i = 0; i <= c->nfns; i++) {
		while (e < c->nedges && c->edges[e].from < i)
			e++;
		w->first[i] = e;
	}
}

static void note_set(struct walk *w, uint32_t flag)
{
	for (uint32_t i = 0; i < w->c->nfns; i++)
		if (w->in[i])
			w->c->fns[i].flags |= flag;
}

int code_judge(struct code *c, struct err *err)
{
	struct walk w = {.c = c};
	int ret;

	for (size_t i = 0; i < c->nfns; i++)
		c->fns[i].flags &=
			~(uint32_t)(FN_ROOT | FN_SLOT | FN_VARIANT | FN_OUT | FN_ENTERED);
	code_forget_windows(c);
	if ((ret = code_read_words(c, err)) || (ret = enter_all(c, err)))
		return ret;
	w.queue = io_alloc(c->nfns + 1, sizeof(*w.queue), err);
	w.first = io_alloc(c->nfns + 2, sizeof(*w.first), err);
	w.in = io_alloc(c->nfns + 1, sizeof(*w.in), err);
	if (w.queue && w.first && w.in) {
		index_edges(&w);
		fill_from_resolvers(&w);
		take_out(&w, FN_EXPORT | FN_ROOT | FN_WHOLE);
		note_set(&w, FN_VARIANT);
		take_out(&w, FN_SLOT | FN_ENTERED);
		note_set(&w, FN_OUT);
	} else {
		ret = err->error;
	}
	free(w.queue);
	free(w.first);
	free(w.in);
	return ret;
}

int code_read(const struct code_memory *m, struct code *c, struct err *err)
{
	int ret;

	*c = (struct code){.memory = m, .libc = UINT32_MAX};
	if ((ret = code_find_modules(c, err)) || (ret = code_find_functions(c, err)) ||
	    (ret = code_sweep(c, err)) || (ret = code_read_tables(c, err)) ||
	    (ret = code_judge(c, err)))
		code_done(c);
	return ret;
}

void code_done(struct code *c)
{
	for (size_t i = 0; i < c->nmodules; i++)
		free(c->modules[i].name);
	for (size_t i = 0; i < c->nranges; i++)
		free(c->ranges[i].bytes);
	free(c->modules);
	free(c->ranges);
	free(c->fns);
	free(c->edges);
	free(c->slots);
	free(c->resolvers);
	for (size_t i = 0; i < CODE_WINDOWS; i++)
		free(c->window[i].bytes);
	*c = (struct code){0};
}

void code_sum(const struct code *c, struct code_summary *ret)
{
	*ret = (struct code_summary){.nfns = c->nfns};
	for (size_t i = 0; i < c->nfns; i++) {
		const struct code_fn *f = &c->fns[i];

		if (c->modules[f->module].is_vdso)
			ret->nfns--;
		else if (f->flags & FN_OUT)
			arch_features_join(&ret->variants, &f->needs);
		else if (f->flags & FN_VARIANT)
			arch_features_join(&ret->chosen, &f->needs);
		else
			arch_features_join(&ret->used, &f->needs);
		ret->nvariants += !!(f->flags & FN_VARIANT);
		ret->nchosen += (f->flags & (FN_VARIANT | FN_OUT)) == FN_VARIANT;
		ret->nsyscalls += f->syscalls;
		ret->ncpuids += f->cpuids;
	}
	for (size_t i = 0; i < c->nranges; i++) {
		ret->bytes += c->ranges[i].len;
		if (!c->modules[c->ranges[i].module].name)
			ret->run_time_bytes += c->ranges[i].len;
	}
}

uint64_t code_first_site(const struct code *c, const struct code_fn *f,
			 const struct arch_features *of)
{
	const struct code_range *r = &c->ranges[f->range];

	for (uint64_t at = f->start; at < f->end;) {
		struct insn in;

		arch_insn(r->bytes + (at - r->start), f->end - at, at, &in);
		for (size_t i = 0; i < sizeof(in.feature); i++)
			if (in.feature[i] < FEATURES && arch_feature_in(of, in.feature[i]))
				return at;
		at += in.len;
	}
	return 0;
}

void code_place(const struct code *c, uint64_t addr, char *out, size_t cap)
{
	state_symbol(c->memory->p, addr, out, cap);
}

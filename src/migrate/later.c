/*
 * Which pages of a program come later: those of its large private anonymous mappings,
 * but for the few that every thread will touch at once, or that are read and written over
 * there while it is built (registers' neighbours, thread control blocks).
 *
 * Not of memory that is locked (it must be there), that a child is to find empty
 * (MADV_WIPEONFORK), or that grows downwards.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "base/fault.h"
#include "migrate/postcopy.h"
#include "state/advice.h"

/* Bytes of a mapping below which it goes at once: more than the rest of a small program. */
#define LATER_MIN (256u << 10)

struct hot {
	uint64_t *page; /* addresses, sorted */
	size_t n;
};

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Pages from `before` below the address to `after` above. */
static void add_hot(struct hot *h, uint64_t at, int before, int after)
{
	at = ALIGN_DOWN(at, PAGE_SIZE_4K);
	for (int i = -before; i <= after && at; i++)
		h->page[h->n++] = at + (uint64_t)(int64_t)i * PAGE_SIZE_4K;
}

#define HOT_EACH 24 /* pages of a thread, at most */

static int find_hot(const struct process *p, struct hot *h, struct err *err)
{
	h->page = io_alloc(p->nthreads * HOT_EACH + 1, sizeof(*h->page), err);
	if (!h->page)
		return err->error;
	for (size_t i = 0; i < p->nthreads; i++) {
		const struct thread *t = &p->threads[i];

		add_hot(h, t->regs.rsp, 1, 3);
		add_hot(h, t->regs.rip, 0, 0);
		add_hot(h, t->regs.fs_base, 1, 1);
		add_hot(h, t->regs.gs_base, 0, 1);
		add_hot(h, t->robust_list, 0, 1);
		add_hot(h, t->tid_address, 0, 1);
		add_hot(h, t->rseq_addr, 0, 1);
	}
	qsort(h->page, h->n, sizeof(*h->page), by_value);
	return 0;
}

static bool may_wait(const struct process *p, const struct mapping *m)
{
	/* Machine code is looked at over there before it runs. */
	return m->kind == MAPPING_ANON && !(m->prot & PROT_EXEC) &&
	       !(m->flags & (MAPPING_GROWSDOWN | MAPPING_STACK | MAPPING_DELETED)) &&
	       advice_may_be_missing(p, m->start, m->end);
}

/* [start, end) without its hot pages. */
static int add_cold(struct source *s, const struct hot *h, uint64_t start, uint64_t end,
		    struct err *err)
{
	size_t lo = 0, hi = h->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (h->page[mid] < start)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; start < end; lo++) {
		uint64_t to = lo < h->n && h->page[lo] < end ? h->page[lo] : end;
		int ret = start < to ? lazy_ranges_add(&s->later, start, to, err) : 0;

		if (ret)
			return ret;
		/* The same page may be hot for several reasons. */
		if (to == end)
			start = end;
		else if (to + PAGE_SIZE_4K > start)
			start = to + PAGE_SIZE_4K;
	}
	return 0;
}

static int choose(struct source *s, const struct hot *h, struct err *err)
{
	const struct process *p = s->job.proc;
	__cleanup_free uint64_t *bytes = io_alloc(p->nmappings + 1, sizeof(*bytes), err);
	int ret = 0;

	if (!bytes)
		return err->error;
	for (size_t i = 0; i < p->nruns; i++)
		bytes[p->runs[i].mapping] += p->runs[i].len;
	for (size_t i = 0; i < p->nruns && !ret; i++) {
		const struct run *r = &p->runs[i];

		if (r->flags & RUN_CLEAN)
			break; /* the others stand behind them */
		if (bytes[r->mapping] >= LATER_MIN && may_wait(p, &p->mappings[r->mapping]))
			ret = add_cold(s, h, r->start, r->start + r->len, err);
	}
	return ret;
}

int source_choose_later(struct source *s, struct err *err)
{
	struct hot h = {0};
	int ret = find_hot(s->job.proc, &h, err);

	if (!ret)
		ret = choose(s, &h, err);
	free(h.page);
	if (ret || !s->later.n)
		return ret;
	wire_deadline(s->w, s->o->timeout_ms);
	ret = proto_send_ranges(s->w, FRAME_LATER, &s->later, err);
	fault_point("later said");
	return ret;
}

uint64_t later_bytes(const struct lazy_ranges *later)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < later->n; i++)
		sum += later->v[i].end - later->v[i].start;
	return sum;
}

struct lazy_range later_next(const struct lazy_ranges *later, uint64_t at, uint64_t end)
{
	size_t lo = 0, hi = later->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (later->v[mid].end <= at)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == later->n || later->v[lo].start >= end)
		return (struct lazy_range){end, end};
	return (struct lazy_range){later->v[lo].start > at ? later->v[lo].start : at,
				   later->v[lo].end < end ? later->v[lo].end : end};
}

/*
 * Which pages of the memory are stored.
 *
 * What is stored of a mapping:
 *   private anonymous    pages that were ever written (not the zero page)
 *   private of a file    pages the program changed, and apart from them
 *                        ("clean") the file's own, so that the image is enough
 *                        on a machine that lacks the file
 *   shared anonymous     pages that exist
 *   huge pages           those that exist; all, where some shared one is not mapped
 *   shared of a file     nothing: the file has it
 *   vdso, vvar           nothing: the kernel gives its own
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/io.h"
#include "proc/pagemap.h"
#include "state/memory.h"
#include "state/memory_huge.h"

struct run_walk {
	struct process *p;
	uint32_t mapping;
	struct err *err;
};

static int add_run(struct run_walk *w, uint64_t start, uint64_t end, uint32_t flags)
{
	struct process *p = w->p;
	void *v = io_grow(p->runs, &p->runs_cap, p->nruns + 1, sizeof(*p->runs), w->err);

	if (!v)
		return w->err->error;
	p->runs = v;
	p->runs[p->nruns++] = (struct run){start, end - start, w->mapping, flags, 0};
	p->mappings[w->mapping].stored += end - start;
	return 0;
}

/* How far the file reaches into the mapping: accesses beyond give SIGBUS. */
static uint64_t file_end(const struct process *p, const struct mapping *m)
{
	uint64_t len = m->end - m->start, size;

	if (!m->file)
		return m->end;
	size = ALIGN_UP(p->mapped_files[m->file - 1].size, PAGE_SIZE_4K);
	if (size <= m->offset)
		return m->start;
	return size - m->offset < len ? m->start + size - m->offset : m->end;
}

static bool swap_in_use(void)
{
	__cleanup_buf struct buf b = {0};
	const char *p;

	/* One line of heading, then a line for each swap device. */
	return !io_read_file(-1, "/proc/swaps", &b) && (p = strchr(b.p, '\n')) && p[1];
}

/*
 * Pages of a shared object need not be in this process's page tables: mincore(2),
 * asked by the program itself, sees the object.  It does not see what is
 * swapped out: where there is swap, the whole mapping is stored.
 */
static int find_shmem(struct capture *c, struct run_walk *w, const struct mapping *m)
{
	__cleanup_free uint8_t *vec = NULL;
	uint64_t chunk = (REMOTE_DATA_LEN / 2) * PAGE_SIZE_4K, begin = 0, end = 0;

	if (swap_in_use())
		return add_run(w, m->start, m->end, 0);
	if (!(vec = io_alloc(1, REMOTE_DATA_LEN / 2, w->err)))
		return w->err->error;
	for (uint64_t at = m->start; at < m->end; at += chunk) {
		uint64_t len = m->end - at < chunk ? m->end - at : chunk, out;
		struct program prog;
		int ret;

		program_init(&prog, c->remote->data, REMOTE_DATA_LEN, REMOTE_CALL_CAP, w->err);
		program_reserve(&prog, REMOTE_DATA_LEN / 2 + 64);
		out = program_data(&prog, NULL, REMOTE_DATA_LEN / 2);
		program_call(&prog, "look for shared pages", SYS_mincore, at, len, out, 0, 0, 0);
		ret = remote_run(c->remote, &prog, w->err);
		program_done(&prog);
		if (!ret && (ret = remote_read(c->remote, out, vec, len / PAGE_SIZE_4K)))
			err_sys(w->err, ret, "cannot read what mincore says");
		if (ret)
			return ret;
		for (uint64_t i = 0; i < len / PAGE_SIZE_4K; i++) {
			uint64_t page = at + i * PAGE_SIZE_4K;

			if (!(vec[i] & 1))
				continue;
			if (page != end && end && (ret = add_run(w, begin, end, 0)))
				return ret;
			if (page != end)
				begin = page;
			end = page + PAGE_SIZE_4K;
		}
	}
	return end ? add_run(w, begin, end, 0) : 0;
}

/* Are the pages to be found in the page map? */
static bool is_scanned(const struct mapping *m)
{
	return (m->kind == MAPPING_ANON || m->kind == MAPPING_FILE || m->kind == MAPPING_HUGE) &&
	       !(m->flags & (MAPPING_DELETED | MAPPING_HUGE_SHARED));
}

static enum pagemap_want want_of(const struct capture *c, const struct mapping *m)
{
	if (m->kind == MAPPING_FILE)
		return PAGEMAP_PRIVATE;
	if (m->kind == MAPPING_HUGE)
		return PAGEMAP_ANON; /* nobody tracks them */
	return c->tracked ? PAGEMAP_TRACKED : PAGEMAP_ANON;
}

static int found_huge(void *arg, uint64_t start, uint64_t end)
{
	return add_run(arg, start, end, 0);
}

static int find_other(struct capture *c, struct process *p, size_t i, struct err *err)
{
	struct mapping *m = &p->mappings[i];
	struct run_walk w = {.p = p, .mapping = (uint32_t)i, .err = err};

	if (m->flags & MAPPING_OF_CONTENT)
		return 0;
	if (m->kind == MAPPING_SHMEM)
		return find_shmem(c, &w, m);
	if (m->kind == MAPPING_HUGE)
		return memory_huge_find_shared(c, m, found_huge, &w, err);
	/* The vdso is stored for debuggers alone: backtraces pass through it. */
	if ((m->flags & MAPPING_DELETED) || m->kind == MAPPING_VDSO)
		return add_run(&w, m->start, m->end, 0);
	return 0;
}

/* Several mappings in one walk: the page tables know of pages, not of mappings. */
struct group {
	struct run_walk w; /* w.mapping: the one that the walk has reached */
	size_t *first;     /* per mapping: its first run */
	size_t end;
};

static int split_run(void *arg, uint64_t start, uint64_t end, bool unchanged)
{
	struct group *g = arg;

	while (start < end) {
		const struct mapping *m;
		uint64_t stop;
		int ret;

		while (g->w.mapping < g->end && g->w.p->mappings[g->w.mapping].end <= start)
			g->first[++g->w.mapping] = g->w.p->nruns;
		if (g->w.mapping == g->end)
			return 0;
		m = &g->w.p->mappings[g->w.mapping];
		if (start < m->start)
			start = m->start; /* between mappings: our scratch area */
		stop = end < m->end ? end : m->end;
		if (start < stop &&
		    (ret = add_run(&g->w, start, stop, unchanged ? RUN_UNCHANGED : 0)))
			return ret;
		start = stop > start ? stop : end;
	}
	return 0;
}

/* Of less than this one thread is the faster one. */
#define ONE_THREAD (UINT64_C(512) << 20)

/* Below it lies half of the mappings [i, end); 0: that is little. */
static uint64_t middle_of(const struct process *p, size_t i, size_t end)
{
	uint64_t all = 0;

	for (size_t k = i; k < end; k++)
		all += p->mappings[k].end - p->mappings[k].start;
	if (all < ONE_THREAD)
		return 0;
	all /= 2;
	for (size_t k = i; k < end; all -= p->mappings[k].end - p->mappings[k].start, k++)
		if (all <= p->mappings[k].end - p->mappings[k].start)
			return p->mappings[k].start + ALIGN_DOWN(all, PAGE_SIZE_4K);
	return 0;
}

/* Runs of mappings [i, end), all of them scanned. */
static int find_group(struct process *p, int pagemap, enum pagemap_want want, size_t i, size_t end,
		      size_t *first, struct err *err)
{
	struct group g = {
		.w = {.p = p, .mapping = (uint32_t)i, .err = err}, .first = first, .end = end};
	uint64_t from = p->mappings[i].start, to = p->mappings[end - 1].end;
	uint64_t middle = middle_of(p, i, end);
	int ret = middle ? pagemap_walk_halves(pagemap, from, middle, to, want, split_run, &g, err)
			 : pagemap_walk(pagemap, from, to, want, split_run, &g, err);

	while (g.w.mapping < end)
		first[++g.w.mapping] = p->nruns;
	return ret;
}

/* Fills first[0 .. nmappings]: where each mapping's runs begin. */
static int find_dirty(struct capture *c, struct process *p, int pagemap, size_t *first,
		      struct err *err)
{
	/* Entry by entry, a walk over the room between mappings would not end. */
	bool joined = pagemap_has_scan(pagemap);

	for (size_t i = 0; i < p->nmappings;) {
		size_t end = i + 1;
		int ret;

		first[i] = p->nruns;
		if (!is_scanned(&p->mappings[i])) {
			ret = find_other(c, p, i, err);
		} else {
			while (joined && end < p->nmappings && is_scanned(&p->mappings[end]) &&
			       p->mappings[end].kind == p->mappings[i].kind &&
			       p->mappings[i].kind != MAPPING_HUGE)
				end++;
			ret = find_group(p, pagemap, want_of(c, &p->mappings[i]), i, end, first,
					 err);
		}
		if (ret)
			return ret;
		i = end;
		first[i] = p->nruns;
	}
	return 0;
}

/* The rest of a private file mapping, up to the end of the file. */
static int find_clean(struct process *p, size_t i, size_t first_run, size_t end_run,
		      struct err *err)
{
	struct mapping *m = &p->mappings[i];
	struct run_walk w = {.p = p, .mapping = (uint32_t)i, .err = err};
	uint64_t at = m->start, end = file_end(p, m);
	int ret;

	if (m->kind != MAPPING_FILE || (m->flags & MAPPING_DELETED) ||
	    p->mapped_files[m->file - 1].size > MEMORY_CLEAN_LIMIT)
		return 0;
	for (size_t k = first_run; k < end_run; k++) {
		if (p->runs[k].start > at && at < end &&
		    (ret = add_run(&w, at, p->runs[k].start < end ? p->runs[k].start : end,
				   RUN_CLEAN)))
			return ret;
		at = p->runs[k].start + p->runs[k].len;
	}
	return at < end ? add_run(&w, at, end, RUN_CLEAN) : 0;
}

/* What is left of a run without the excluded ranges from the k-th on. */
static int add_without(const struct capture *c, struct run_walk *w, struct run r, size_t k)
{
	uint64_t end = r.start + r.len;
	int ret;

	for (; k < c->nexcluded; k++) {
		const struct memory_range *x = &c->excluded[k];
		struct run before = r;

		if (x->end <= r.start || x->start >= end || x->end <= x->start)
			continue;
		before.len = x->start > r.start ? x->start - r.start : 0;
		if (before.len && (ret = add_without(c, w, before, k + 1)))
			return ret;
		if (x->end >= end)
			return 0;
		r.len = end - x->end;
		r.start = x->end;
	}
	return add_run(w, r.start, r.start + r.len, r.flags);
}

/* The runs once more, without what the program wants to be left out. */
static int leave_out(struct capture *c, struct process *p, struct err *err)
{
	__cleanup_free struct run *old = p->runs;
	size_t n = p->nruns;
	int ret = 0;

	p->runs = NULL;
	p->nruns = p->runs_cap = 0;
	for (size_t i = 0; i < p->nmappings; i++)
		p->mappings[i].stored = 0;
	for (size_t i = 0; i < n && !ret; i++) {
		struct run_walk w = {.p = p, .mapping = old[i].mapping, .err = err};
		bool is_anon = p->mappings[old[i].mapping].kind == MAPPING_ANON;

		ret = add_without(c, &w, old[i], is_anon ? 0 : c->nexcluded);
	}
	return ret;
}

/* Dirty runs of all mappings first, then the clean ones: the clean part is
 * copied after the program has been let go. */
static int capture(struct capture *c, struct process *p, struct err *err)
{
	__cleanup_fd int pagemap = openat(c->remote->procfd, "pagemap", O_RDONLY | O_CLOEXEC);
	__cleanup_free size_t *first = io_alloc(p->nmappings + 1, sizeof(*first), err);
	int ret;

	if (!first)
		return err->error;
	if (pagemap < 0)
		return err_sys(err, -errno, "cannot open /proc/%d/pagemap", c->remote->pid);
	if ((ret = find_dirty(c, p, pagemap, first, err)))
		return ret;
	for (size_t i = 0; i < p->nmappings; i++)
		if ((ret = find_clean(p, i, first[i], first[i + 1], err)))
			return ret;
	return c->nexcluded ? leave_out(c, p, err) : 0;
}

static void codec(struct codec *c, struct process *p)
{
	codec_array(c, &p->runs, &p->nruns, sizeof(*p->runs), 24, 1u << 30);
	for (size_t i = 0; i < p->nruns; i++) {
		codec_u64(c, &p->runs[i].start);
		codec_u64(c, &p->runs[i].len);
		codec_u32(c, &p->runs[i].mapping);
		codec_u32(c, &p->runs[i].flags);
	}
	/* A note on the places may follow. */
	if (!c->writing)
		memory_place_runs(p);
}

static int validate(const struct process *p, struct err *err)
{
	bool clean = false;
	uint64_t at = 0;

	for (size_t i = 0; i < p->nruns; i++) {
		const struct run *r = &p->runs[i];
		const struct mapping *m =
			r->mapping < p->nmappings ? &p->mappings[r->mapping] : NULL;

		if ((r->flags & RUN_CLEAN) && !clean) {
			clean = true; /* the second part begins, from the lowest address again */
			at = 0;
		}
		if (!m || !r->len || r->start % PAGE_SIZE_4K || r->len % PAGE_SIZE_4K ||
		    r->start < at || r->start < m->start || r->len > m->end - m->start ||
		    r->start > m->end - r->len || clean != !!(r->flags & RUN_CLEAN) ||
		    (r->flags & ~(uint32_t)(RUN_CLEAN | RUN_PARENT)) || m->kind == MAPPING_VVAR ||
		    m->kind == MAPPING_SHARED)
			return err_image(err, "stored range %zu (%#llx) is impossible", i,
					 (unsigned long long)r->start);
		at = r->start + r->len;
	}
	return 0;
}

uint64_t memory_stored_bytes(const struct process *p)
{
	uint64_t n = 0;

	for (size_t i = 0; i < p->nruns; i++)
		if (!(p->runs[i].flags & RUN_PARENT))
			n += p->runs[i].len;
	return n;
}

uint64_t memory_dirty_bytes(const struct process *p)
{
	uint64_t n = 0;

	for (size_t i = 0; i < p->nruns && !(p->runs[i].flags & RUN_CLEAN); i++)
		if (!(p->runs[i].flags & RUN_PARENT))
			n += p->runs[i].len;
	return n;
}

static void done(struct process *p)
{
	free(p->runs);
}

const struct state_ops state_runs = {
	.name = "the stored ranges",
	.note = NOTE_RUNS,
	.capture = capture,
	.codec = codec,
	.validate = validate,
	.done = done,
};

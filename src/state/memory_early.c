/* Memory that comes before its state: see memory_early.h. */
#include "state/memory_early.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "base/io.h"
#include "proc/pagemap.h"
#include "state/memory.h"

#define LOWEST 0x10000ULL
#define HIGHEST 0x7ffffffff000ULL

void memory_early_done(struct memory_early *e)
{
	free(e->v);
	free(e->there);
	*e = (struct memory_early){0};
}

/* Index of the first range that ends after `at`. */
static size_t find(const struct memory_early *e, uint64_t at)
{
	size_t lo = 0, hi = e->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (e->v[mid].end <= at)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

int memory_early_add(struct memory_early *e, uint64_t start, uint64_t end, bool grows,
		     struct err *err)
{
	size_t i = find(e, start);
	void *v;

	/* Neighbours that a program maps piece by piece are one. */
	if (i && e->v[i - 1].end == start && e->v[i - 1].grows == grows) {
		e->v[i - 1].end = end;
		e->is_surveyed = false;
		return 0;
	}
	v = io_grow(e->v, &e->cap, e->n + 1, sizeof(*e->v), err);
	if (!v)
		return err->error;
	e->v = v;
	memmove(&e->v[i + 1], &e->v[i], (e->n - i) * sizeof(*e->v));
	e->v[i] = (struct early_range){start, end, grows};
	e->n++;
	e->is_surveyed = false;
	return 0;
}

bool memory_early_next(const struct memory_early *e, uint64_t at, uint64_t end, uint64_t *ret_start,
		       uint64_t *ret_end)
{
	size_t i = find(e, at);

	if (at >= end || i == e->n || e->v[i].start >= end)
		return false;
	*ret_start = e->v[i].start > at ? e->v[i].start : at;
	*ret_end = e->v[i].end < end ? e->v[i].end : end;
	return true;
}

static int map_gap(const struct restore *r, struct remote *remote, uint64_t start, uint64_t end,
		   struct err *err)
{
	struct memory_early *e = r->early;
	size_t next = find(e, start);
	/* A stack that grew: its new pages come right below the old ones. */
	bool grows = next < e->n && e->v[next].start == end && e->v[next].grows;
	struct program prog;
	struct call *c;
	int ret;

	if (start < LOWEST || end > HIGHEST)
		return err_image(err, "pages came for %#llx, where there can be no memory",
				 (unsigned long long)start);
	program_init(&prog, r->scratch + r->scratch_len - REMOTE_DATA_LEN, REMOTE_DATA_LEN,
		     REMOTE_CALL_CAP, err);
	c = program_call(&prog, "memory that is new", SYS_mmap, start, end - start,
			 PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE |
				 (end - start > MEMORY_RESERVE_LIMIT ? MAP_NORESERVE : 0) |
				 (grows ? MAP_GROWSDOWN : 0),
			 (uint64_t)-1, 0);
	if (c) {
		c->expect = EXPECT_VALUE;
		c->want = (int64_t)start;
	}
	ret = c ? remote_run(remote, &prog, err) : err_set(err, -ENOMEM, "out of memory");
	program_done(&prog);
	return ret ? ret : memory_early_add(e, start, end, grows, err);
}

int memory_early_extend(const struct restore *r, struct remote *remote, uint64_t start,
			uint64_t end, struct err *err)
{
	uint64_t from, to;
	int ret;

	while (start < end) {
		if (!memory_early_next(r->early, start, end, &from, &to))
			from = to = end;
		if (start < from && (ret = map_gap(r, remote, start, from, err)))
			return ret;
		start = to;
	}
	return 0;
}

/* --- which pages exist --- */

struct survey {
	struct memory_early *e;
	struct err *err;
};

static int note_run(void *arg, uint64_t start, uint64_t end, bool unchanged)
{
	struct survey *s = arg;
	struct memory_early *e = s->e;
	void *v = io_grow(e->there, &e->there_cap, e->nthere + 1, sizeof(*e->there), s->err);

	(void)unchanged;
	if (!v)
		return s->err->error;
	e->there = v;
	e->there[e->nthere++] = (struct page_run){start, end};
	return 0;
}

int memory_early_survey(const struct restore *r, const struct remote *remote, struct err *err)
{
	__cleanup_fd int pagemap = openat(remote->procfd, "pagemap", O_RDONLY | O_CLOEXEC);
	struct memory_early *e = r->early;
	struct survey s = {e, err};
	int ret = 0;

	if (pagemap < 0)
		return err_sys(err, -errno, "cannot open the page map of the new process");
	e->nthere = 0;
	for (size_t i = 0; i < e->n && !ret; i++)
		ret = pagemap_walk(pagemap, e->v[i].start, e->v[i].end, PAGEMAP_ANON, note_run, &s,
				   err);
	e->is_surveyed = !ret;
	return ret;
}

void memory_early_touch(const struct restore *r)
{
	r->early->is_surveyed = false;
}

/* --- the state is there --- */

static int refuse_layout(struct err *err, uint64_t addr)
{
	err_set(err, -EAGAIN,
		"the program changed its memory in a way that cannot be followed "
		"(at %#llx)",
		(unsigned long long)addr);
	return err_hint(err, "try again, or with --mode=total");
}

int memory_early_check(struct restore *r, const struct process *p, struct err *err)
{
	uint64_t taken = r->scratch, end = r->hole + r->hole_len, from, to;

	for (size_t i = 0; i < p->nmappings; i++) {
		const struct mapping *m = &p->mappings[i];

		if (m->start < end && m->end > taken)
			return refuse_layout(err, m->start);
		if (m->kind != MAPPING_ANON || !(m->flags & MAPPING_GROWSDOWN))
			continue;
		for (uint64_t at = m->start; memory_early_next(r->early, at, m->end, &from, &to);
		     at = to)
			if (!r->early->v[find(r->early, from)].grows)
				return refuse_layout(err, from);
	}
	return memory_hole_needed(r, p) > r->hole_len ? refuse_layout(err, r->hole) : 0;
}

static void unmap(struct restore *r, uint64_t start, uint64_t end)
{
	program_call(r->prog, "memory that is no more", SYS_munmap, start, end - start, 0, 0, 0, 0);
}

/* Takes away of one range what no anonymous mapping has; *next is the first mapping
 * that may be in it. */
static int keep_common(struct restore *r, const struct process *p, const struct early_range *e,
		       size_t *next, struct memory_early *kept, struct err *err)
{
	uint64_t at = e->start;

	while (*next < p->nmappings && p->mappings[*next].end <= at)
		(*next)++;
	for (size_t i = *next; i < p->nmappings && p->mappings[i].start < e->end; i++) {
		const struct mapping *m = &p->mappings[i];
		uint64_t start = m->start > at ? m->start : at;
		uint64_t end = m->end < e->end ? m->end : e->end;
		int ret;

		if (m->kind != MAPPING_ANON || start >= end)
			continue;
		if (at < start)
			unmap(r, at, start);
		if ((ret = memory_early_add(kept, start, end, e->grows, err)))
			return ret;
		at = end;
	}
	if (at < e->end)
		unmap(r, at, e->end);
	return 0;
}

struct stale {
	struct restore *r;
	const struct process *p;
	size_t run; /* the first that may be ahead */
};

/* [start, end) exists here: what no run has of it was dropped by the program. */
static void drop_stale(struct stale *s, uint64_t start, uint64_t end)
{
	const struct process *p = s->p;

	while (s->run < p->nruns && p->runs[s->run].start + p->runs[s->run].len <= start)
		s->run++;
	for (size_t i = s->run; start < end; i++) {
		bool clean = i == p->nruns || p->runs[i].flags & RUN_CLEAN;
		uint64_t from = clean || p->runs[i].start > end ? end : p->runs[i].start;

		if (start < from)
			program_call(s->r->prog, "pages that the program dropped", SYS_madvise,
				     start, from - start, MADV_DONTNEED, 0, 0, 0);
		if (clean)
			break;
		start = p->runs[i].start + p->runs[i].len > start
				? p->runs[i].start + p->runs[i].len
				: start;
	}
}

/* What was surveyed of the ranges that are kept. */
static void drop_stale_of(struct stale *s, const struct memory_early *e,
			  const struct memory_early *kept)
{
	size_t k = 0;

	for (size_t i = 0; i < e->nthere; i++) {
		uint64_t at = e->there[i].start, end = e->there[i].end;

		while (k < kept->n && kept->v[k].end <= at)
			k++;
		for (size_t j = k; j < kept->n && kept->v[j].start < end; j++) {
			uint64_t from = kept->v[j].start > at ? kept->v[j].start : at;
			uint64_t to = kept->v[j].end < end ? kept->v[j].end : end;

			if (from < to)
				drop_stale(s, from, to);
		}
	}
}

int memory_early_trim(struct restore *r, const struct process *p, const struct remote *remote,
		      struct err *err)
{
	struct stale s = {.r = r, .p = p};
	struct memory_early kept = {0};
	size_t next = 0;
	int ret = r->early->is_surveyed ? 0 : memory_early_survey(r, remote, err);

	for (size_t i = 0; i < r->early->n && !ret; i++)
		ret = keep_common(r, p, &r->early->v[i], &next, &kept, err);
	if (!ret)
		drop_stale_of(&s, r->early, &kept);
	memory_early_done(r->early);
	*r->early = kept;
	return ret;
}

void memory_early_map_rest(struct restore *r, const struct mapping *m)
{
	struct mapping part = *m;
	uint64_t at = m->start, start, end;

	while (memory_early_next(r->early, at, m->end, &start, &end)) {
		part.start = at;
		part.end = start;
		if (at < start)
			memory_map_anon(r, &part);
		at = end;
	}
	part.start = at;
	part.end = m->end;
	if (at < m->end)
		memory_map_anon(r, &part);
}

/* --- joining --- */

/* Beyond this a copy would cost more than it is worth: such an area stays in parts. */
#define JOIN_MAX (256ULL << 20)

struct kept_pages {
	struct buf bytes;
	struct iovec *v; /* where they belong */
	size_t n, cap;
	const struct remote *remote;
	struct err *err;
};

static int keep_pages(void *arg, uint64_t start, uint64_t end, bool unchanged)
{
	struct kept_pages *k = arg;
	size_t len = end - start, at = k->bytes.len;
	struct iovec *v;
	uint8_t *room;

	(void)unchanged;
	v = io_grow(k->v, &k->cap, k->n + 1, sizeof(*v), k->err);
	room = v ? io_alloc(1, len, k->err) : NULL;
	if (v)
		k->v = v;
	if (!room)
		return k->err->error;
	if (remote_read(k->remote, start, room, len)) {
		free(room);
		return err_set(k->err, -EFAULT, "cannot read memory that came early");
	}
	buf_add(&k->bytes, room, len);
	free(room);
	if (k->bytes.len != at + len)
		return err_set(k->err, -ENOMEM, "out of memory");
	k->v[k->n++] = (struct iovec){(void *)(uintptr_t)start, len};
	return 0;
}

static int map_whole(struct restore *r, const struct mapping *m, struct remote *remote,
		     struct err *err)
{
	struct program prog, *before = r->prog;
	int ret;

	program_init(&prog, r->scratch + r->scratch_len - REMOTE_DATA_LEN, REMOTE_DATA_LEN,
		     REMOTE_CALL_CAP, err);
	r->prog = &prog;
	unmap(r, m->start, m->end);
	memory_map_anon(r, m);
	ret = remote_run(remote, &prog, err);
	program_done(&prog);
	r->prog = before;
	return ret;
}

static int join(struct restore *r, const struct mapping *m, struct remote *remote, struct err *err)
{
	__cleanup_fd int pagemap = openat(remote->procfd, "pagemap", O_RDONLY | O_CLOEXEC);
	struct kept_pages k = {.remote = remote, .err = err};
	size_t at = 0;
	int ret = pagemap < 0 ? err_sys(err, -errno, "cannot open the page map")
			      : pagemap_walk(pagemap, m->start, m->end, PAGEMAP_ANON, keep_pages,
					     &k, err);

	if (!ret)
		ret = map_whole(r, m, remote, err);
	for (size_t i = 0; i < k.n && !ret; i++) {
		ret = remote_write(remote, (uintptr_t)k.v[i].iov_base, k.bytes.p + at,
				   k.v[i].iov_len);
		if (ret)
			err_sys(err, ret, "cannot write memory that came early");
		at += k.v[i].iov_len;
	}
	buf_done(&k.bytes);
	free(k.v);
	return ret;
}

int memory_early_join(struct restore *r, const struct process *p, struct remote *remote,
		      struct err *err)
{
	__cleanup_buf struct buf text = {0};
	struct proc_maps maps = {0};
	size_t k = 0;
	int ret = io_read_file(remote->procfd, "maps", &text);

	if (ret)
		return err_sys(err, ret, "cannot read the maps of the new process");
	ret = proc_parse_maps(text.p, &maps, err);
	for (size_t i = 0; i < p->nmappings && !ret; i++) {
		const struct mapping *m = &p->mappings[i];
		size_t areas = 0;

		while (k < maps.n && maps.v[k].end <= m->start)
			k++;
		for (size_t j = k; j < maps.n && maps.v[j].start < m->end; j++)
			areas++;
		if (m->kind == MAPPING_ANON && areas > 1 && m->end - m->start <= JOIN_MAX)
			ret = join(r, m, remote, err);
	}
	proc_maps_done(&maps);
	return ret;
}

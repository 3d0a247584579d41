/* Which pages exist: see pagemap.h. */
#include "proc/pagemap.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/io.h"

#define REGIONS 512

/* Joins runs that touch, so that the callback sees each run once. */
struct joiner {
	pagemap_fn fn;
	void *arg;
	uint64_t start, end;
	bool unchanged;
	bool is_tracked; /* the caller wants to know of unchanged */
};

static int join(struct joiner *j, uint64_t start, uint64_t end, bool unchanged)
{
	int ret = 0;

	if (j->end == start && j->end != j->start && j->unchanged == unchanged) {
		j->end = end;
		return 0;
	}
	if (j->end > j->start)
		ret = j->fn(j->arg, j->start, j->end, j->unchanged);
	j->start = start;
	j->unchanged = unchanged;
	j->end = end;
	return ret;
}

/* One scan, by a; told is called for what comes out, and skipped for what does not. */
static int scan(int fd, struct pm_scan_arg *a, struct joiner *j,
		int (*told)(struct joiner *, const struct page_region *),
		int (*skipped)(struct joiner *, uint64_t start, uint64_t end))
{
	struct page_region v[REGIONS];

	a->size = sizeof(*a);
	a->vec = (uintptr_t)v;
	a->vec_len = REGIONS;
	while (a->start < a->end) {
		int n = ioctl(fd, PAGEMAP_SCAN, a), ret;

		if (n < 0)
			return -errno;
		for (int i = 0; i < n; i++) {
			if ((skipped && (ret = skipped(j, a->start, v[i].start))) ||
			    (ret = told(j, &v[i])))
				return ret;
			a->start = v[i].end;
		}
		if (a->walk_end < a->start || (!n && a->walk_end == a->start))
			return -EPROTO;
		if (skipped && (ret = skipped(j, a->start, a->walk_end)))
			return ret;
		a->start = a->walk_end;
	}
	return 0;
}

static int told_existing(struct joiner *j, const struct page_region *v)
{
	return join(j, v->start, v->end, false);
}

static int scan_existing(int fd, uint64_t start, uint64_t end, uint64_t without, struct joiner *j)
{
	struct pm_scan_arg a = {
		.start = start,
		.end = end,
		.category_mask = without,
		.category_inverted = without,
		.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
		.return_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
	};

	return scan(fd, &a, j, told_existing, NULL);
}

/*
 * The other way round: each page that comes out of a scan costs 12 ns, each that does
 * not 3 ns.  So what is asked for is what is rare: pages that do not exist, and, of
 * tracked memory, those that have changed.  What does not come out exists, and is
 * unchanged; between mappings nothing comes out either.
 */
static int told_rare(struct joiner *j, const struct page_region *v)
{
	bool exists = (v->categories & (PAGE_IS_PRESENT | PAGE_IS_SWAPPED)) &&
		      !(v->categories & PAGE_IS_PFNZERO);
	/* Memory that is not tracked, or not any more, has changed. */
	bool unchanged = (v->categories & PAGE_IS_WPALLOWED) && !(v->categories & PAGE_IS_WRITTEN);

	return exists ? join(j, v->start, v->end, j->is_tracked && unchanged) : 0;
}

static int skipped_usual(struct joiner *j, uint64_t start, uint64_t end)
{
	return start < end ? join(j, start, end, j->is_tracked) : 0;
}

static int scan_rare(int fd, uint64_t start, uint64_t end, bool is_tracked, struct joiner *j)
{
	struct pm_scan_arg a = {
		.start = start,
		.end = end,
		.category_inverted = PAGE_IS_PRESENT,
		.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_PFNZERO,
		.return_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED | PAGE_IS_PFNZERO,
	};

	j->is_tracked = is_tracked;
	if (is_tracked) {
		a.category_inverted |= PAGE_IS_WPALLOWED;
		a.category_anyof_mask |= PAGE_IS_WPALLOWED | PAGE_IS_WRITTEN;
		a.return_mask |= PAGE_IS_WPALLOWED | PAGE_IS_WRITTEN;
	}
	return scan(fd, &a, j, told_rare, skipped_usual);
}

static int scan_for(int fd, uint64_t start, uint64_t end, enum pagemap_want want, struct joiner *j)
{
	switch (want) {
	case PAGEMAP_PRESENT:
		return scan_existing(fd, start, end, 0, j);
	case PAGEMAP_PRIVATE:
		return scan_existing(fd, start, end, PAGE_IS_PFNZERO | PAGE_IS_FILE, j);
	default:
		return scan_rare(fd, start, end, want == PAGEMAP_TRACKED, j);
	}
}

/*
 * Without PAGEMAP_SCAN.  Bits of an entry: 63 present, 62 swapped, 61 file page
 * or shared anonymous (Documentation/admin-guide/mm/pagemap.rst).  The zero
 * page cannot be told from others without its frame number, so it is stored.
 */
static int entries(int fd, uint64_t start, uint64_t end, enum pagemap_want want, struct joiner *j)
{
	uint64_t v[4096];

	while (start < end) {
		uint64_t pages = (end - start) / PAGE_SIZE_4K;
		size_t n = pages < ARRAY_SIZE(v) ? (size_t)pages : ARRAY_SIZE(v);
		int ret = io_pread_all(fd, v, n * 8, start / PAGE_SIZE_4K * 8);

		if (ret)
			return ret;
		for (size_t i = 0; i < n; i++, start += PAGE_SIZE_4K) {
			if (!(v[i] >> 62) || (want != PAGEMAP_PRESENT && (v[i] >> 61 & 1)))
				continue;
			if ((ret = join(j, start, start + PAGE_SIZE_4K, false)))
				return ret;
		}
	}
	return 0;
}

bool pagemap_has_scan(int fd)
{
	struct pm_scan_arg a = {.size = sizeof(a), .return_mask = PAGE_IS_PRESENT};

	return ioctl(fd, PAGEMAP_SCAN, &a) >= 0;
}

static int explain(int ret, uint64_t start, uint64_t end, struct err *err)
{
	if (ret < 0)
		return err_sys(err, ret, "cannot read the page map of %#llx-%#llx",
			       (unsigned long long)start, (unsigned long long)end);
	return ret;
}

/* Tells the last run, too. */
static int finish(struct joiner *j, int ret)
{
	return !ret && j->end > j->start ? j->fn(j->arg, j->start, j->end, j->unchanged) : ret;
}

int pagemap_walk(int fd, uint64_t start, uint64_t end, enum pagemap_want want, pagemap_fn fn,
		 void *arg, struct err *err)
{
	struct joiner j = {.fn = fn, .arg = arg};
	int ret = scan_for(fd, start, end, want, &j);

	if (ret == -ENOTTY || ret == -EINVAL) {
		j.start = j.end = 0;
		ret = entries(fd, start, end, want, &j);
	}
	return explain(finish(&j, ret), start, end, err);
}

struct kept_run {
	uint64_t start, end;
	bool unchanged;
};

/* The part that the other thread walks. */
struct half {
	int fd;
	uint64_t start, end;
	enum pagemap_want want;
	struct kept_run *v;
	size_t n, cap;
	int ret;
};

static int keep_run(void *arg, uint64_t start, uint64_t end, bool unchanged)
{
	struct half *h = arg;
	struct err ignored = ERR_INIT;
	struct kept_run *v = io_grow(h->v, &h->cap, h->n + 1, sizeof(*v), &ignored);

	if (!v)
		return -ENOMEM;
	h->v = v;
	v[h->n++] = (struct kept_run){start, end, unchanged};
	return 0;
}

static void *walk_half(void *arg)
{
	struct half *h = arg;
	struct joiner j = {.fn = keep_run, .arg = h};

	h->ret = finish(&j, scan_for(h->fd, h->start, h->end, h->want, &j));
	return NULL;
}

int pagemap_walk_halves(int fd, uint64_t start, uint64_t middle, uint64_t end,
			enum pagemap_want want, pagemap_fn fn, void *arg, struct err *err)
{
	struct half other = {.fd = fd, .start = middle, .end = end, .want = want};
	struct joiner j = {.fn = fn, .arg = arg};
	pthread_t thread;
	int ret;

	if (middle <= start || middle >= end || !pagemap_has_scan(fd) ||
	    pthread_create(&thread, NULL, walk_half, &other))
		return pagemap_walk(fd, start, end, want, fn, arg, err);
	ret = scan_for(fd, start, middle, want, &j);
	pthread_join(thread, NULL);
	if (!ret)
		ret = other.ret;
	for (size_t i = 0; i < other.n && !ret; i++)
		ret = join(&j, other.v[i].start, other.v[i].end, other.v[i].unchanged);
	free(other.v);
	return explain(finish(&j, ret), start, end, err);
}
